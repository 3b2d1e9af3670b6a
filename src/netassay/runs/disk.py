"""Files of a run folder: names that stay inside it, bytes that are those written."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import stat
from errno import EFBIG, EINVAL
from pathlib import Path
from typing import BinaryIO

from netassay.errors import RunDamaged, StoreError
from netassay.files import is_temporary

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_FILE = re.compile(
    rf"tensors/step-\d{{1,19}}(\.[0-9a-f]{{8}})?\.safetensors|tables/{NAME.pattern}(\.[0-9a-f]{{8}})?\.parquet"
)
_PIECE = 1 << 20
LARGEST = 1 << 34
"""Bytes that no file of a run exceeds."""


def checked_name(kind: str, name: str) -> str:
    """`name` if it can stand as a file name; StoreError for separators, control characters, leading dots."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
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
            actual = _digest(handle)
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
        return _digest(handle)


def read_short(folder: Path, file: str, most: int = 4096) -> str:
    """The text of a plain file in a run folder, as far as `most` bytes; OSError where there is none."""
    with _opened(folder, file) as handle:
        return handle.read(most).decode(errors="replace")


def _opened(folder: Path, file: str) -> BinaryIO:
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


def _digest(handle: BinaryIO) -> str:
    found = hashlib.sha256()
    while piece := handle.read(_PIECE):
        found.update(piece)
    return found.hexdigest()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
