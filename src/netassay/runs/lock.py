"""One writer per run: a lock that ends with the process that holds it."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import weakref
from contextlib import suppress
from pathlib import Path

from netassay.errors import RunLocked, StoreError
from netassay.runs import disk
from netassay.runs.mutex import MUTEX, NO_LINKS

NAME = "lock"
_ATTEMPTS, _PAUSE = 10, 0.02
_ROOM = 128
_LOOKING = os.O_RDWR if sys.platform == "win32" else os.O_RDONLY  # Windows locks only what can be written


class Lock:
    """An exclusive lock on a run folder, held from construction to `release` or the end of the process.

    Raises RunLocked, naming the process, while another holds it; StoreError if the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = path = folder / NAME
        self._is_taken = False
        try:
            self._handle: int | None = os.open(path, os.O_RDWR | os.O_CREAT | NO_LINKS, 0o644)
        except OSError as cause:
            raise StoreError(f"{folder}: cannot be written ({cause.strerror}); is it on a read-only path?") from None
        try:
            self._take(folder, path)
        except BaseException:
            self.release()
            raise
        _HELD.add(self)

    def _take(self, folder: Path, path: Path) -> None:
        assert self._handle is not None
        if not _acquire(self._handle, path):
            raise RunLocked(f"run {folder.name} is being written by {holder(folder)}; wait for it or stop it")
        self._is_taken = True
        # a folder deleted between open and lock leaves a lock on nothing
        if not path.exists() or not os.path.samestat(os.fstat(self._handle), path.stat()):
            raise StoreError(f"{folder}: was deleted while a writer opened it; start the run again")
        owner = json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode()
        with suppress(OSError):  # only for messages; a full disk must not keep a run from being deleted
            os.lseek(self._handle, 0, os.SEEK_SET)
            os.write(self._handle, owner.ljust(_ROOM))

    def release(self) -> None:
        """Lets the next writer in."""
        if self._handle is not None:
            if self._is_taken:
                MUTEX.free(self._handle, self._path)
            self._close()

    def _close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


_HELD: weakref.WeakSet[Lock] = weakref.WeakSet()


def _drop_in_child() -> None:
    # a forked data loader would otherwise keep the lock of a dead parent alive
    for lock in list(_HELD):
        lock._close()  # what the parent holds stays so


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop_in_child)


def _acquire(handle: int, path: Path) -> bool:
    # `is_held` takes a shared lock for an instant, so one refusal is not yet a second writer
    for _ in range(_ATTEMPTS):
        if MUTEX.take(handle, path):
            return True
        time.sleep(_PAUSE)
    return False


def is_held(folder: Path) -> bool:
    """Whether a living process writes the run in `folder`."""
    try:
        handle = os.open(folder / NAME, _LOOKING | NO_LINKS | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return False
    try:
        return MUTEX.is_taken(handle, folder / NAME)
    finally:
        os.close(handle)


def holder(folder: Path) -> str:
    """The process in the lock file, in words."""
    try:
        owner = json.loads(disk.read_short(folder, NAME))
        return f"process {owner['pid']!s:.20} on host {owner['host']!s:.80}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"
