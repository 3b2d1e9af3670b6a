"""What is remembered of a store for its next listing never differs from what its runs say."""

import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from hostile_stores import HOSTILE

from netassay.runs import Run, Store, index, ledger


@pytest.fixture
def remembering(tmp_path, monkeypatch):
    """Small stores are remembered too, and runs that have just been written."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setattr(index, "SMALLEST", 1)
    monkeypatch.setattr(index, "_SETTLED", -(10**12))
    return tmp_path / "caches" / "netassay" / "stores"


@pytest.fixture
def store(remembering, new_run, tmp_path):
    for width in range(4):
        with new_run(width=width).writer({}) as writer:
            writer.record(0, {"loss": 1.0})
            writer.finish("finished", step=0)
    return Store(tmp_path / "store")


def unremembered(store, monkeypatch):
    with monkeypatch.context() as context:
        context.setattr(index, "SMALLEST", 10**9)
        return store.table().rows()


def opened(store, monkeypatch):
    """Ids of the runs that a listing opens."""
    ids, look = [], Run.look.__func__
    with monkeypatch.context() as context:
        context.setattr(Run, "look", classmethod(lambda cls, folder: ids.append(folder.name) or look(cls, folder)))
        store.table()
    return ids


def test_a_second_listing_opens_nothing_and_says_the_same(store, monkeypatch):
    first = store.table().rows()
    assert first == unremembered(store, monkeypatch)
    assert opened(store, monkeypatch) == []
    assert store.table().rows() == first
    assert store.table({"width": 2}).rows() == [row for row in first if row[-1] == 2]


def test_a_first_listing_of_hostile_runs_says_what_one_without_memory_says(remembering, finished, monkeypatch):
    for i, damage in enumerate(HOSTILE.values()):
        damage(Path(shutil.copytree(finished.folder, finished.folder.with_name(f"edge-{i:012}"))))
    store = Store(finished.folder.parent)
    first = store.table().rows()
    assert first == store.table().rows() == unremembered(store, monkeypatch)
    assert len(first) == len(HOSTILE) + 1
    assert {row[2] for row in first} == {"finished", "damaged"}


def test_a_first_listing_opens_no_run_at_rest(store, monkeypatch):
    assert opened(store, monkeypatch) == []


def test_a_run_that_is_deleted_while_it_is_read_is_one_that_cannot_be_read(store, monkeypatch):
    gone, read = store.runs()[1], index.btree.read

    def removed(path, size):
        tables = read(path, size)
        if gone.id in path:
            shutil.rmtree(gone.folder)
        return tables

    monkeypatch.setattr(index.btree, "read", removed)
    for file in index._caches().rglob("*.sqlite"):
        file.unlink()
    assert [row[2] for row in store.table().rows()].count("damaged") == 1


def change_status(run):
    with run.writer({}, from_step=0) as writer:
        writer.finish("failed", step=0, message="another end")


def leave_open(run):
    # a writer that is killed: its last rows are in run.sqlite-wal
    connection = ledger.open_for_writing(run.folder)
    with ledger.transaction(connection, ledger.hashlib.sha256()):
        ledger.set_status(connection, "interrupted", 7, "stopped", 1.0)
    pages = [path.read_bytes() for path in (run.folder / "run.sqlite", run.folder / "run.sqlite-wal")]
    connection.close()
    for path, data in zip((run.folder / "run.sqlite", run.folder / "run.sqlite-wal"), pages, strict=True):
        path.write_bytes(data)


def write_in_place(run):
    connection = sqlite3.connect(run.folder / "run.sqlite")
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("UPDATE status SET message = 'by another hand'")
    connection.commit()
    connection.close()


def flip_bytes_and_set_the_time_back(run):
    path = run.folder / "run.sqlite"
    before, data = path.stat(), path.read_bytes()
    with path.open("r+b") as file:
        file.write(data.replace(b"finished", b"diverged"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_by_a_link(run):
    shutil.move(run.folder, run.folder.with_name("elsewhere"))
    run.folder.symlink_to(run.folder.with_name("elsewhere"))


def put_a_link_beside(run):
    (run.folder / "run.sqlite-shm").symlink_to("/dev/null")


def cut(run):
    os.truncate(run.folder / "run.sqlite", 4096)


CHANGES = (
    change_status,
    leave_open,
    write_in_place,
    flip_bytes_and_set_the_time_back,
    replace_by_a_link,
    put_a_link_beside,
    cut,
    lambda run: shutil.rmtree(run.folder),
    lambda run: (run.folder / "run.sqlite").unlink(),
)


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_is_listed_as_it_is(store, monkeypatch, change):
    before = store.table().rows()
    change(store.runs()[1])
    after = store.table().rows()
    assert after == unremembered(store, monkeypatch)
    assert after != before
    assert store.table().rows() == after


def test_a_run_at_work_is_listed_as_it_is(store, new_run, state_at, monkeypatch):
    with new_run(width=9).writer({}) as writer:
        for step in range(3):
            writer.record(step, {"loss": 1.0})
            writer.commit(state_at(step + 1))
            assert store.table().rows() == unremembered(store, monkeypatch)
        writer.finish("finished", step=2)
    assert store.table().rows() == unremembered(store, monkeypatch)


def test_what_has_just_changed_is_not_remembered(store, monkeypatch):
    monkeypatch.setattr(index, "_SETTLED", 2_000_000_000)
    store.table()
    assert len(opened(store, monkeypatch)) == 4


@pytest.mark.parametrize("damage", [b"", b"no database", None])
def test_a_damaged_or_foreign_index_is_made_again(store, remembering, monkeypatch, damage):
    first = store.table().rows()
    (file,) = remembering.iterdir()
    if damage is None:
        connection = sqlite3.connect(file)
        connection.execute("UPDATE runs SET config = '[{'")
        connection.commit()
        connection.close()
    else:
        file.write_bytes(damage)
    assert store.table().rows() == first
    assert opened(store, monkeypatch) == []


def test_without_a_place_for_it_all_is_read(store, remembering, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert store.table().rows() == unremembered(store, monkeypatch)


def test_stores_are_told_apart_and_unused_ones_forgotten(store, remembering, new_run, tmp_path, monkeypatch):
    store.table()
    (file,) = remembering.iterdir()
    os.utime(file, (0, 0))
    new_run(store=tmp_path / "other", width=1)
    Store(tmp_path / "other").table()
    assert [other for other in remembering.iterdir() if other == file] == []
    assert store.table().rows() == unremembered(store, monkeypatch)


def test_a_file_system_of_several_hosts_is_not_trusted(store, remembering, monkeypatch):
    monkeypatch.setattr(index, "lives_here_alone", lambda folder: False)
    store.table()
    assert len(opened(store, monkeypatch)) == 4
    assert not remembering.exists()
