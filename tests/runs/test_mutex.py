"""Locks by whatever a platform has; what cannot be run here is played by a stand-in."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from netassay.runs.disk import ByteLock, Flock, HolderFile

HERE = Path(__file__).parent


def windows():
    """Windows' byte locks: one handle a file and place, whoever asks."""
    held = {}

    def locking(handle, mode, count):
        place = (os.fstat(handle).st_ino, os.lseek(handle, 0, os.SEEK_CUR))
        if mode == "free":
            assert held.pop(place) == handle
        elif held.setdefault(place, handle) != handle:
            raise PermissionError("locked")

    return SimpleNamespace(locking=locking, LK_NBLCK="take", LK_UNLCK="free")


@pytest.mark.parametrize("mutex", [Flock(fcntl), ByteLock(windows()), HolderFile()], ids=lambda m: type(m).__name__)
def test_one_holds_it_until_it_lets_go(tmp_path, mutex):
    path = tmp_path / "run" / "lock"
    path.parent.mkdir()
    one, other = (os.open(path, os.O_RDWR | os.O_CREAT) for _ in range(2))
    assert not mutex.is_taken(other, path)
    assert mutex.take(one, path)
    assert mutex.is_taken(other, path)
    assert not mutex.take(other, path)
    mutex.free(one, path)
    os.close(one)
    assert not mutex.is_taken(other, path)
    assert mutex.take(other, path)
    mutex.free(other, path)
    os.close(other)


def test_a_file_of_a_process_that_has_ended_holds_nothing(tmp_path):
    path = tmp_path / "run" / "lock"
    code = "import sys, pathlib, netassay.runs.disk as m; m.HolderFile().take(0, pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, path], check=True)
    assert [file.name for file in tmp_path.iterdir()] == [".run.lock.held"]
    assert not HolderFile().is_taken(0, path)
    assert HolderFile().take(0, path)
    assert HolderFile().is_taken(0, path)


def test_runs_and_stores_work_where_there_is_no_fcntl():
    code = "import sys; sys.modules['fcntl'] = None; import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    words = [sys.executable, "-c", code, "-q", "-n0", "-p", "no:cacheprovider", HERE / "test_store.py"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
