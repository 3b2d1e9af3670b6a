"""One writer per run: a lock that ends with the process that holds it.

It excludes two processes from one open file by whatever the platform has: flock, Windows' byte locks, or a file. The
file, for platforms with neither, names the process that holds it, and counts as left behind once that has ended; of
a process on another host that is not known, so there it counts.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from netassay.errors import RunLocked, StoreError
from netassay.runs import disk

NO_LINKS: int = getattr(os, "O_NOFOLLOW", 0)
"""Flag of `os.open` that refuses links, where there is one."""


class Mutex(Protocol):
    """How a file that is open as `handle` is held; it stays so until `free`, or the end of the process."""

    def take(self, handle: int, path: Path) -> bool:
        """Whether it is held from now on; False while another handle holds it."""

    def free(self, handle: int, path: Path) -> None:
        """Lets go of a file that is held."""

    def is_taken(self, handle: int, path: Path) -> bool:
        """Whether another handle holds it."""


@dataclass(frozen=True)
class Flock:
    """BSD locks (fcntl), which end with the last handle."""

    _fcntl: Any

    def take(self, handle: int, path: Path) -> bool:
        return self._try(handle, self._fcntl.LOCK_EX)

    def free(self, handle: int, path: Path) -> None:
        """Closing ends a flock."""

    def is_taken(self, handle: int, path: Path) -> bool:
        if not self._try(handle, self._fcntl.LOCK_SH):
            return True
        self._fcntl.flock(handle, self._fcntl.LOCK_UN)
        return False

    def _try(self, handle: int, kind: int) -> bool:
        try:
            self._fcntl.flock(handle, kind | self._fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as cause:
            raise StoreError(
                f"the file system of the store refuses locks ({cause.strerror}), without which two could write "
                "one run; mount it with them (Lustre: -o flock; NFS: without nolock) or choose another store"
            ) from None
        return True


class ByteLock:
    """Locks of Windows (msvcrt) on a byte far behind the text, since nobody else could read a byte that is locked."""

    _PLACE = 1 << 30

    def __init__(self, msvcrt: Any) -> None:
        self._msvcrt = msvcrt

    def take(self, handle: int, path: Path) -> bool:
        os.lseek(handle, self._PLACE, os.SEEK_SET)
        try:
            self._msvcrt.locking(handle, self._msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def free(self, handle: int, path: Path) -> None:
        os.lseek(handle, self._PLACE, os.SEEK_SET)
        with suppress(OSError):
            self._msvcrt.locking(handle, self._msvcrt.LK_UNLCK, 1)

    def is_taken(self, handle: int, path: Path) -> bool:
        if not self.take(handle, path):
            return True
        self.free(handle, path)
        return False


class HolderFile:
    """A file beside the lock that is there while it is held, with the process that made it."""

    def take(self, handle: int, path: Path) -> bool:
        file = _beside(path)
        for _ in range(2):
            with suppress(FileExistsError):
                made = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
                os.write(made, json.dumps([os.getpid(), socket.gethostname()]).encode())
                os.close(made)
                return True
            if self.is_taken(handle, path):
                return False
            file.unlink(missing_ok=True)
        return False

    def free(self, handle: int, path: Path) -> None:
        _beside(path).unlink(missing_ok=True)

    def is_taken(self, handle: int, path: Path) -> bool:
        try:
            pid, host = json.loads(_beside(path).read_text())
        except FileNotFoundError:
            return False
        except (OSError, ValueError, TypeError):  # it is being written
            return True
        return host != socket.gethostname() or _is_alive(pid)


def _beside(path: Path) -> Path:
    # beside the folder of a run, which holds only what is listed in it
    return path.parent.with_name(f".{path.parent.name}.{path.name.lstrip('.')}.held")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


MUTEX: Mutex
if sys.platform == "win32":
    import msvcrt

    MUTEX = ByteLock(msvcrt)
elif find_spec("fcntl") is not None:
    import fcntl

    MUTEX = Flock(fcntl)
else:
    MUTEX = HolderFile()


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
