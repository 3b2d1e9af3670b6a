"""Files and folders that are there whole or not at all."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from netassay import files
from netassay.errors import DataError, StoreError
from netassay.files import refuse_existing, refuse_misplaced, whole_file, whole_folder, write_file


def test_a_file_takes_its_place_whole_with_its_folder_and_ending(tmp_path):
    path = tmp_path / "a" / "b" / "x.bw"
    with whole_file(path) as part:
        assert part.parent == path.parent and part.suffix == ".bw" and not path.exists()
        part.write_bytes(b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_inside_leaves_what_was_there(tmp_path):
    path = write_file(tmp_path / "x.csv", b"old")
    with pytest.raises(ZeroDivisionError), whole_file(path) as part:
        part.write_bytes(b"half")
        _ = 1 / 0
    with pytest.raises(ZeroDivisionError), whole_folder(tmp_path / "folder") as part:
        (part / "half").write_bytes(b"")
        _ = 1 / 0
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_the_system_refuses_is_reported_in_the_words_of_the_caller(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/x: cannot be written: File exists; any previous file"):
        write_file(tmp_path / "file" / "x", b"", refusal=DataError)
    with pytest.raises(StoreError, match="it exists and is not a file"):
        write_file(tmp_path, b"")
    with pytest.raises(FileExistsError):
        write_file(tmp_path / "file" / "x", b"", refusal=None)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"), whole_folder(tmp_path / "folder") as part:
        (part / "x").write_bytes(b"1")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_name_that_cannot_be_made_durable_is_free_again_or_said_to_be_new(tmp_path, monkeypatch):
    def refuse(folder):
        raise OSError(errno.EIO, "Input/output error")

    (tmp_path / "old.txt").write_text("old")
    monkeypatch.setattr(files, "sync_folder", refuse)
    with pytest.raises(StoreError, match="any previous file is unchanged"):
        files.write_file(tmp_path / "new.txt", b"new")
    with pytest.raises(StoreError, match="the new file is there but may not survive a power cut"):
        files.write_file(tmp_path / "old.txt", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["old.txt"]
    assert (tmp_path / "old.txt").read_text() == "new"
    monkeypatch.undo()
    real, calls = files.sync_folder, []

    def refuse_the_last(folder):
        calls.append(folder)
        if folder == tmp_path:
            refuse(folder)
        real(folder)

    monkeypatch.setattr(files, "sync_folder", refuse_the_last)
    with pytest.raises(StoreError, match="nothing is left of it"), files.whole_folder(tmp_path / "folder") as part:
        (part / "a").write_text("a")
    assert calls and [path.name for path in tmp_path.iterdir()] == ["old.txt"]


def test_a_folder_takes_the_place_of_an_empty_one_and_of_nothing_else(tmp_path):
    (tmp_path / "empty").mkdir()
    with whole_folder(tmp_path / "empty") as part:
        (part / "inner").mkdir()
        (part / "inner" / "x").write_bytes(b"1")
    assert (tmp_path / "empty" / "inner" / "x").read_bytes() == b"1"
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for taken in ("empty", "link"):
        with (
            pytest.raises(DataError, match="exists already"),
            whole_folder(tmp_path / taken, refusal=DataError),
        ):
            raise AssertionError
        with pytest.raises(StoreError, match="exists already"):
            refuse_existing(tmp_path / taken)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "link"]


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = write_file(tmp_path / "x", b"old")
    script = f"""
from netassay.files import whole_file
with whole_file({str(path)!r}) as part:
    part.write_bytes(b"half")
    print("writing", flush=True)
    import time; time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"writing\n"
        child.send_signal(signal.SIGKILL)
    assert path.read_bytes() == b"old"
    assert all(other == path or ".part" in other.name for other in tmp_path.iterdir())


def test_the_next_writer_sweeps_what_a_killed_one_left_and_nothing_of_a_living_one(tmp_path):
    import os

    from netassay import files

    script = f"""
import errno
import os
from netassay.files import whole_file
writers = [whole_file({str(tmp_path)!r} + "/" + name) for name in ("x.csv", "y.csv")]
for writer in writers:
    writer.__enter__().write_bytes(b"half")
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", script])
    dead = sorted(path.name for path in tmp_path.iterdir())
    assert [name[:3] for name in dead] == [".x.", ".y."]
    living = tmp_path / f".x.{files._host()}-{os.getpid():x}-012345.part.csv"
    living.write_bytes(b"")
    write_file(tmp_path / "x.csv", b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([living.name, dead[1], "x.csv"])


def test_a_file_in_a_file_and_in_place_of_a_folder_are_refused_before_the_work(tmp_path):
    (tmp_path / "a.txt").write_text("")
    refuse_misplaced(tmp_path / "a.txt")
    refuse_misplaced(tmp_path / "new" / "page.html")
    (tmp_path / "full").symlink_to("/dev/null")
    inside = tmp_path / "a.txt" / "page.html"
    for path in (tmp_path, inside, inside.parent / "b" / "page.html", tmp_path / "full"):
        with pytest.raises(StoreError, match="is a f"):
            refuse_misplaced(path)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "a.txt", tmp_path / "full"]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no /proc here")
def test_a_place_where_no_file_can_be_made_is_refused_before_the_work():
    with pytest.raises(StoreError, match=r"/proc/page.html: cannot be written: .*; choose a folder"):
        refuse_misplaced("/proc/page.html")
