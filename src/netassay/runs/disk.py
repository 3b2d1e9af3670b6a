"""Files of a run folder, names inside it and bytes as written; what file system it lies on; the lock of its one writer.

The lock ends with the process that holds it. It excludes two processes from one open file by whatever the platform has:
flock, Windows' byte locks, or a file. The file, for platforms with neither, names the process that holds it, and counts
as left behind once that has ended; of a process on another host that is not known, so there it counts.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import sqlite3
import stat
import sys
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from errno import EFBIG, EINVAL
from importlib.util import find_spec
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from netassay.errors import RunDamaged, RunLocked, StoreError
from netassay.files import is_alive, is_temporary

if TYPE_CHECKING:
    from torch import Tensor

NAMES = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_FILE = re.compile(
    rf"tensors/step-\d{{1,19}}(\.[0-9a-f]{{8}})?\.safetensors|tables/{NAMES.pattern}(\.[0-9a-f]{{8}})?\.parquet"
)
LARGEST = 1 << 34
"""Bytes that no file of a run exceeds."""


def checked_name(kind: str, name: str) -> str:
    """`name` if it can stand as a file name; StoreError for separators, control characters, leading dots."""
    if not isinstance(name, str) or not NAMES.fullmatch(name):
        raise StoreError(
            f"{kind} name {name!r} is refused; allowed are 1 to 64 letters, digits, '_', '-' and '.', "
            "the first a letter or digit"
        )
    return name


def is_ours(name: str) -> bool:
    """Whether a file in tensors/ or tables/ is named as a writer names its files."""
    return name.endswith((".safetensors", ".parquet")) or is_temporary(name)


def checked_file(file: str) -> str:
    """`file` if a writer names its files so; sqlite3.DataError for a path that leads anywhere else."""
    if not _FILE.fullmatch(file):
        raise sqlite3.DataError(f"it names a file {file!r:.80}, which is none of a run's")
    return file


def read_checked(
    folder: Path, file: str, expected: str, hint: str = "restore it from a copy", size: int | None = None
) -> bytes:
    """The bytes of a file in a run folder. RunDamaged if it is missing or its SHA-256 is not `expected`.

    It is opened only if it is a plain file, of `size` bytes where that is recorded, and lies in the folder itself; it
    is read into memory only once its digest has been found right.
    """
    path = folder / file
    try:
        with _opened(folder, file) as handle:
            actual_size = os.fstat(handle.fileno()).st_size
            if size is not None and actual_size != size:
                raise RunDamaged(f"{path}: is damaged: {size} bytes expected, {actual_size} are there; {hint}")
            if actual_size > LARGEST:
                raise RunDamaged(f"{path}: is damaged: it has {actual_size} bytes, more than any file of a run; {hint}")
            actual = hashlib.file_digest(handle, "sha256").hexdigest()
            if actual == expected:
                handle.seek(0)
                return handle.read()
    except OSError as cause:
        raise RunDamaged(
            f"{path}: cannot be read ({cause.strerror}), SHA-256 {expected[:64]} expected; {hint}"
        ) from None
    raise RunDamaged(f"{path}: is damaged: SHA-256 expected {expected[:64]}, found {actual}; {hint}")


def digest(folder: Path, file: str) -> str:
    """SHA-256 of a plain file in a run folder, read piece by piece; OSError where there is none."""
    with _opened(folder, file) as handle:
        if os.fstat(handle.fileno()).st_size > LARGEST:
            raise OSError(EFBIG, "it has more bytes than any file of a run")
        return hashlib.file_digest(handle, "sha256").hexdigest()


def read_short(folder: Path, file: str, most: int = 4096) -> str:
    """The text of a plain file in a run folder, as far as `most` bytes; OSError where there is none."""
    with _opened(folder, file) as handle:
        return handle.read(most).decode(errors="replace")


def _opened(folder: Path, file: str) -> BufferedReader:
    """A plain file below `folder`, no part of its name a link; a pipe or device is not waited for."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    *rooms, name = file.split("/")
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for room in rooms:
            inner = os.open(room, flags | os.O_DIRECTORY, dir_fd=place)
            os.close(place)
            place = inner
        handle = os.open(name, flags, dir_fd=place)
    finally:
        os.close(place)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(EINVAL, "it is no plain file")
    return os.fdopen(handle, "rb")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def pack(tensors: Mapping[str, Tensor]) -> bytes:
    """One safetensors file; tensors that share memory are written separately. StoreError for an unknown dtype."""
    import torch
    from safetensors.torch import save

    # clones, because the format refuses views and shared memory
    apart = {
        name: tensor.detach().to("cpu").clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    try:
        return save(apart)
    except KeyError as unknown:
        odd = [name for name, tensor in apart.items() if tensor.dtype == unknown.args[0]]
        raise StoreError(
            f"tensor {odd or list(apart)} has dtype {unknown}, which safetensors cannot hold; "
            "store it as view_as_real or another dtype"
        ) from None


def unpack(data: bytes) -> dict[str, Tensor]:
    from safetensors.torch import load

    return load(data)


LOCAL = frozenset(
    "ext2 ext3 ext4 xfs btrfs zfs f2fs jfs bcachefs reiserfs apfs hfs ntfs ntfs3 fuseblk".split()  # noqa: SIM905
    + "tmpfs ramfs overlay aufs squashfs erofs iso9660 vfat exfat".split()  # noqa: SIM905
)
"""File systems of one machine. All others, NFS, Lustre, GPFS, BeeGFS, Ceph and FUSE among them, count as shared."""

_MOUNTS = Path("/proc/self/mountinfo")


def kind_of(folder: Path) -> str:
    """The type of the file system that a folder lies on, or will once it is made; "" where the system does not say.

    >>> kind_of(Path("/proc"))
    'proc'
    """
    place = os.path.realpath(folder)
    try:
        lines = _MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    longest, kind = "", ""
    for line in lines:
        before, _, after = line.partition(" - ")
        point = before.split()[4].encode(errors="surrogateescape").decode("unicode_escape")
        # of two mounts on one point the later hides the earlier
        if len(point) >= len(longest) and (place == point or place.startswith(point.rstrip("/") + "/")):
            longest, kind = point, after.split()[0]
    return kind


def lives_here_alone(folder: Path) -> bool:
    """Whether no other machine sees the folder: its file system is a known local one, or the system does not say."""
    return kind_of(folder) in LOCAL | {""}


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
        return host != socket.gethostname() or is_alive(pid)


def _beside(path: Path) -> Path:
    # beside the folder of a run, which holds only what is listed in it
    return path.parent.with_name(f".{path.parent.name}.{path.name.lstrip('.')}.held")


MUTEX: Mutex
if sys.platform == "win32":
    import msvcrt

    MUTEX = ByteLock(msvcrt)
elif find_spec("fcntl") is not None:
    import fcntl

    MUTEX = Flock(fcntl)
else:
    MUTEX = HolderFile()


LOCK = "lock"
_ATTEMPTS, _PAUSE = 10, 0.02
_ROOM = 128
_LOOKING = os.O_RDWR if sys.platform == "win32" else os.O_RDONLY  # Windows locks only what can be written


class Lock:
    """An exclusive lock on a run folder, held from construction to `release` or the end of the process.

    Raises RunLocked, naming the process, while another holds it; StoreError if the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = path = folder / LOCK
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
        handle = os.open(folder / LOCK, _LOOKING | NO_LINKS | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return False
    try:
        return MUTEX.is_taken(handle, folder / LOCK)
    finally:
        os.close(handle)


def holder(folder: Path) -> str:
    """The process in the lock file, in words."""
    try:
        owner = json.loads(read_short(folder, LOCK))
        return f"process {owner['pid']!s:.20} on host {owner['host']!s:.80}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"
