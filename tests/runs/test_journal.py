"""Runs on file systems that several machines see: no write-ahead log, no shared memory, and nothing lost by a kill."""

import os
import signal
import sqlite3
from pathlib import Path

import pytest

from netassay.config import Config
from netassay.errors import RunDamaged, StoreError
from netassay.runs import Run, State, disk, ledger
from netassay.runs.disk import Flock, kind_of, lives_here_alone
from netassay.training import Checkpoint


class Toy(Config):
    study = "toy"


def new_run(store):
    return Run.create(store, study="toy", config=Toy().mapping(), digest=Toy().digest)


@pytest.fixture
def shared(monkeypatch):
    """Every folder lies on a file system that other machines see."""
    monkeypatch.setattr(ledger, "lives_here_alone", lambda folder: False)


def files(run):
    return {path.name: path.read_bytes() for path in run.folder.iterdir() if path.name.startswith(ledger.NAME)}


def advance(writer, step):
    writer.record(step, {"loss": 1.0 / (step + 1)})
    writer.commit(Checkpoint(step + 1, {}, {}))


def test_a_shared_file_system_gets_a_rollback_journal_and_no_shared_memory(tmp_path, shared):
    run = new_run(tmp_path)
    with run.writer({}) as writer:
        for step in range(3):
            advance(writer, step)
            assert set(files(run)) == {"run.sqlite"}
            assert (run.state, run.step) == (State.RUNNING, step + 1)
            assert run.metrics("loss")["value"].to_list() == [1.0 / (step + 1) for step in range(step + 1)]
        writer.finish("finished", step=3)
    assert files(run)["run.sqlite"][18:20] == b"\x01\x01"
    assert set(files(run)) == {"run.sqlite", "run.sqlite.sha256"}
    assert run.verify() == []


def test_a_local_file_system_keeps_its_write_ahead_log(tmp_path):
    run = new_run(tmp_path)
    with run.writer({}) as writer:
        advance(writer, 0)
        assert "run.sqlite-wal" in files(run)
    assert files(run)["run.sqlite"][18:20] == b"\x02\x02"


def test_a_run_begun_with_a_log_goes_on_with_a_journal_where_it_was_copied_to(tmp_path, monkeypatch):
    run = new_run(tmp_path)
    if not (victim := os.fork()):
        writer = run.writer({})
        advance(writer, 0)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(victim, 0)
    assert "run.sqlite-wal" in files(run)
    monkeypatch.setattr(ledger, "lives_here_alone", lambda folder: False)
    with run.writer({}) as writer:
        assert not {"run.sqlite-wal", "run.sqlite-shm"} & set(files(run))
        assert run.step == 1
        advance(writer, 1)
        writer.finish("finished", step=2)
    assert files(run)["run.sqlite"][18:20] == b"\x01\x01"
    assert run.metrics("loss").height == 2
    assert run.verify() == []


@pytest.fixture
def torn(tmp_path, shared):
    """A run whose writer was killed within a transaction that had reached the disk in part, and its last state."""
    run = new_run(tmp_path)
    with run.writer({}) as writer:
        for step in range(200):
            writer.record(step, {f"metric{number}": 0.5 for number in range(20)})
        writer.commit(Checkpoint(200, {}, {}))
    before = run.metrics()
    if not (victim := os.fork()):
        connection = ledger.open_for_writing(run.folder)
        connection.execute("PRAGMA cache_size = 2")  # pages reach the disk before the transaction ends
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE metrics SET value = 99.0")
        connection.execute("UPDATE status SET step = 77")
        connection.execute("DELETE FROM events")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(victim, 0)
    assert len(files(run)["run.sqlite-journal"]) > 10_000
    with sqlite3.connect(f"file:{run.folder}/run.sqlite?immutable=1", uri=True) as raw:
        assert raw.execute("SELECT count(*) FROM metrics WHERE value = 99.0").fetchone()[0] > 1000
    raw.close()
    return run, before


def test_a_reader_of_a_torn_run_sees_the_last_commit_and_changes_nothing(torn):
    run, before = torn
    left = files(run)
    assert run.metrics().equals(before)
    assert (run.state, run.step) == (State.INTERRUPTED, 200)
    assert files(run) == left
    with run.writer({}) as writer:
        assert writer.latest().step == 200
        assert "run.sqlite-journal" not in files(run)
        writer.finish("finished", step=200)
    assert run.metrics().equals(before)
    assert run.verify() == []


def test_a_journal_that_names_other_files_is_refused_and_they_stay(torn):
    run, _ = torn
    victim = run.folder.parent / "precious"
    victim.write_bytes(b"")
    name = str(victim).encode()
    super_record = (
        b"\0\0\0\0" + name + len(name).to_bytes(4, "big") + (sum(name) % 2**32).to_bytes(4, "big") + ledger._SUPER
    )
    with (run.folder / "run.sqlite-journal").open("ab") as file:
        file.write(super_record)
    with pytest.raises(RunDamaged, match="names another journal"):
        Run.open(run.folder)
    assert victim.exists()


def rows_and_step(connection):
    connection.execute("BEGIN")
    return connection.execute("SELECT count(*) FROM metrics").fetchone()[0], ledger.status(connection).step


def test_a_reader_never_meets_a_writer_in_the_middle(tmp_path, shared):
    run = new_run(tmp_path)
    # each new step that is read is a permit for ten more, so that no machine writes them all between two readings
    permits, permit = os.pipe()
    if not (writing := os.fork()):
        os.close(permit)
        with run.writer({}) as writer:
            for step in range(60):
                if step % 10 == 0:
                    os.read(permits, 1)
                advance(writer, step)
            writer.finish("finished", step=60)
        os._exit(0)
    steps = []
    for _ in range(20_000):
        if (step := run.step) not in steps[-1:]:
            steps.append(step)
            os.write(permit, b".")
        # the rows of a metric and the step of the checkpoint are of one commit
        rows, checkpoint = ledger.read(run.folder, rows_and_step)
        assert rows == checkpoint
        if step == 60:
            break
    assert os.waitstatus_to_exitcode(os.waitpid(writing, 0)[1]) == 0
    assert steps == sorted(steps)
    assert steps[-1] == 60
    assert len(steps) > 5


def test_the_kind_is_that_of_the_longest_and_last_mount(tmp_path, monkeypatch):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "2 1 0:2 / /scratch rw shared:1 - lustre server:/a rw\n"
        "3 1 0:3 / /home\\040of/all rw - nfs4 server:/b rw\n"
        "4 1 0:4 / /scratch/local rw - ext3 /dev/sdb rw\n"
        "5 1 0:5 / /scratch/local rw - xfs /dev/sdc rw\n"
        "6 1 0:6 / /new rw - beyondfs x rw\n"
    )
    monkeypatch.setattr(disk, "_MOUNTS", mounts)
    kinds = {
        "/": ("ext4", True),
        "/scratch/runs": ("lustre", False),
        "/scratchy": ("ext4", True),
        "/scratch/local/runs": ("xfs", True),
        "/home of/all/me": ("nfs4", False),
        "/new/runs": ("beyondfs", False),
    }
    assert {folder: (kind_of(Path(folder)), lives_here_alone(Path(folder))) for folder in kinds} == kinds


def test_a_file_system_without_locks_is_refused():
    class Refusing:
        LOCK_EX = LOCK_SH = LOCK_NB = 1

        def flock(self, handle, kind):
            raise OSError(38, "Function not implemented")

    with pytest.raises(StoreError, match=r"Function not implemented.*flock"):
        Flock(Refusing()).take(0, Path("lock"))
