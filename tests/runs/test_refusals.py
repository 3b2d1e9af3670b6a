"""Full disks, paths that cannot be written, bytes that changed: an error that says so, and nothing lost."""

import errno
import os
import random
import resource
import shutil
import sqlite3
import struct
import tempfile
from pathlib import Path

import polars as pl
import pytest
import torch

from netassay.errors import RunDamaged, RunFailed, StoreError
from netassay.runs import Run, State, Store, ledger
from netassay.training import Checkpoint

BIG = Checkpoint(9, {"w": torch.zeros(100_000)})


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_a_refused_tensor_file_leaves_the_last_checkpoint(new_run, state_at, monkeypatch, number):
    run = new_run()
    sync = os.fsync

    def refuse(handle):
        if os.fstat(handle).st_size > 100_000:
            raise OSError(number, os.strerror(number))
        sync(handle)

    with (
        pytest.raises(RunFailed, match=rf"{run.id}.*checkpoint at step 4 is intact.*free space.*resume"),
        run.writer({}) as writer,
    ):
        writer.record(0, {"loss": 1.0})
        writer.commit(state_at(4))
        monkeypatch.setattr(os, "fsync", refuse)
        writer.commit(BIG)
    assert (run.state, run.step, run.checkpoints()) == (State.FAILED, 4, (4,))
    assert os.strerror(number) in run.message
    assert run.verify() == []
    monkeypatch.undo()
    with run.writer({}) as writer:
        writer.commit(BIG)


def test_a_full_database_leaves_the_last_checkpoint(new_run, state_at):
    run = new_run()
    with (
        pytest.raises(RunFailed, match=r"database or disk is full.*checkpoint at step 4 is intact"),
        run.writer({}) as writer,
    ):
        writer.commit(state_at(4))
        writer._connection.execute("PRAGMA max_page_count = 30")
        for step in range(4, 1000):
            writer.record(step, {f"metric {number}": 0.1 for number in range(50)})
        writer.commit(state_at(1000))
    # what was measured did not fit, the word that it failed did
    assert (run.state, run.step) == (State.FAILED, 4)
    assert run.metrics().is_empty()
    assert run.verify() == []


def test_a_refused_replacement_leaves_the_old_file(new_run, state_at):
    run = new_run()
    with run.writer({}) as writer:
        writer.commit(state_at(1))
        writer.write_table("numbers", pl.DataFrame({"a": [1]}))
        writer._connection.execute("PRAGMA query_only = ON")
        with pytest.raises(StoreError):
            writer.write_table("numbers", pl.DataFrame({"a": [2]}))
        with pytest.raises(StoreError):
            writer.commit(Checkpoint(1, {"other": torch.ones(1)}))
        assert run.verify() == []
        assert run.table("numbers").rows() == [(1,)]
        assert run.checkpoint().tensors.keys() == state_at(1).tensors.keys()
        writer._connection.execute("PRAGMA query_only = OFF")
    assert run.verify() == []


@pytest.mark.parametrize("what", ["tensors", "metrics"])
def test_a_limit_on_file_size(new_run, state_at, child, what):
    run = new_run()

    def work():
        with run.writer({}) as writer:
            writer.commit(state_at(4))
            resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, 250_000))
            if what == "metrics":
                for step in range(4, 400):
                    writer.record(step, {f"metric {number}": 0.1 for number in range(50)})
                writer.commit(state_at(400))
            writer.commit(BIG)

    said = child(work).said()
    assert said.startswith("RunFailed: run edge-")
    assert "the checkpoint at step 4 is intact" in said
    assert run.checkpoints() == (4,)
    assert run.state in (State.FAILED, State.KILLED)
    assert run.verify() == []


def as_nobody(work):
    def run():
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        return work()

    return run


@pytest.fixture
def open_folder():
    """A folder that every user can reach."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_read_only_run_is_read_and_not_written(new_run, state_at, child, open_folder):
    run = new_run(store=open_folder / "store")
    with run.writer({}) as writer:
        writer.record(0, {"loss": 2.0})
        writer.commit(state_at(1))
    for path in [run.folder, *run.folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    (open_folder / "store").chmod(0o555)

    def read():
        opened = Run.open(run.folder)
        rows = ledger.read(run.folder, lambda connection: list(ledger.metric_rows(connection)))
        return opened.state, rows, opened.verify()

    assert child(as_nobody(read)).said() == str((State.INTERRUPTED, [(0, "loss", "", 2.0)], []))
    assert "StoreError" in (said := child(as_nobody(lambda: run.writer({}))).said())
    assert "read-only path" in said
    said = child(as_nobody(lambda: new_run(store=open_folder / "store", other=1))).said()
    assert said.startswith("StoreError: store")
    assert "cannot be written" in said
    assert child(as_nobody(lambda: new_run(store=open_folder / "store").id)).said() == run.id
    assert "cannot be written" in child(as_nobody(lambda: Store(open_folder / "store").delete([run.id]))).said()
    (open_folder / "store").chmod(0o755)


def test_unmerged_changes_on_a_read_only_path_say_to_copy(new_run, state_at, child, open_folder):
    run = new_run(store=open_folder)
    copy = open_folder / "copy"
    with run.writer({}) as writer:
        writer.commit(state_at(1))
        shutil.copytree(run.folder, copy)
    (copy / "run.sqlite-shm").unlink()
    copy.chmod(0o555)
    said = child(as_nobody(lambda: Run.open(copy).step)).said()
    assert said.startswith("StoreError")
    assert "copy the folder" in said
    copy.chmod(0o755)
    assert Run.open(copy).step == 1


def test_looking_leaves_no_trace(finished):
    def listing():
        return {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*")}

    before = listing()
    run = Run.open(finished.folder)
    run.metrics(), run.events(), run.state, run.checkpoint(), run.table("phases"), run.verify()
    assert listing() == before


@pytest.mark.parametrize(
    "file", ["run.sqlite", "run.sqlite.sha256", "tensors/step-2.safetensors", "tables/phases.parquet"]
)
def test_every_flipped_byte_is_found(finished, file):
    path = finished.folder / file
    whole = path.read_bytes()
    places = range(len(whole)) if len(whole) < 100 else random.Random(4).sample(range(len(whole)), 60)
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        found = finished.verify()
        assert [problem.file for problem in found] == [file.removesuffix(".sha256")]
        assert found[0].run == finished.id
    path.write_bytes(whole)
    assert finished.verify() == []


def test_a_flipped_metric_is_found_in_a_killed_run_too(finished):
    (finished.folder / ledger.DIGEST).unlink()
    path = finished.folder / "run.sqlite"
    value = struct.pack(">d", 1.25 / 2)
    changed = struct.pack(">d", 1.25 / 4)
    assert path.read_bytes().count(value) == 1
    path.write_bytes(path.read_bytes().replace(value, changed))
    assert finished.metrics("loss")["value"].to_list() == [1.25, 0.3125, 0.1]
    assert "not those that were written" in finished.verify()[0].what
    with pytest.raises(RunDamaged, match="restore it from a copy"):
        finished.writer({})


@pytest.mark.parametrize(
    "damage", [lambda b: b"", lambda b: b[: len(b) // 2], lambda b: random.Random(5).randbytes(len(b))]
)
def test_a_damaged_ledger_is_refused_by_all(finished, damage):
    path = finished.folder / "run.sqlite"
    path.write_bytes(damage(path.read_bytes()))
    store = Store(finished.folder.parent)
    with pytest.raises(RunDamaged, match=r"run\.sqlite.*restore"):
        Run.open(finished.folder).metrics()
    with pytest.raises(RunDamaged, match="restore"):
        finished.writer({})
    assert store.verify()[0].run == finished.id
    assert store.delete([finished.id]) == [finished.id]


def test_a_missing_tensor_file(finished):
    (finished.folder / "tensors" / "step-2.safetensors").unlink()
    with pytest.raises(RunDamaged, match=r"step-2.safetensors: cannot be read \(No such file.*from_step=0"):
        finished.checkpoint()
    assert [problem.file for problem in finished.verify()] == ["tensors/step-2.safetensors"]
    assert finished.checkpoint(0).step == 0


def test_a_link_in_place_of_a_file(finished, tmp_path):
    path = finished.folder / "tables" / "phases.parquet"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert "symbolic link" in finished.verify()[0].what


def test_extra_files_are_found(finished):
    (finished.folder / "notes.txt").write_text("mine")
    (finished.folder / "tensors" / "step-7.safetensors").write_bytes(b"")
    assert [problem.file for problem in finished.verify()] == ["notes.txt", "tensors/step-7.safetensors"]


def test_a_newer_schema_is_refused(finished):
    with sqlite3.connect(finished.folder / "run.sqlite") as connection:
        connection.execute("UPDATE facts SET value = '2' WHERE key = 'schema'")
    connection.close()
    with pytest.raises(StoreError, match=r"schema 2 .* reads schema 1: upgrade"):
        Run.open(finished.folder)


def test_folders_that_are_no_run(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(StoreError, match="is not a run"):
            Run.open(folder)
