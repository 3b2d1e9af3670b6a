"""Exclusion of two processes from one open file, by whatever the platform has: flock, Windows' byte locks, or a file.

The file, for platforms with neither, names the process that holds it, and counts as left behind once that has ended; of
a process on another host that is not known, so there it counts.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from netassay.errors import StoreError

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


class Flock:
    """BSD locks (fcntl), which end with the last handle."""

    def __init__(self, fcntl: Any) -> None:
        self._fcntl = fcntl

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


def _of_this_platform() -> Mutex:
    try:
        import fcntl
    except ImportError:
        pass
    else:
        return Flock(fcntl)
    if sys.platform == "win32":
        import msvcrt

        return ByteLock(msvcrt)
    return HolderFile()


MUTEX = _of_this_platform()
