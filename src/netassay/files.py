"""Files and folders that are written completely or not at all, and are durable once in place."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EISDIR
from pathlib import Path
from tempfile import TemporaryFile

from netassay.errors import NetassayError, StoreError

TEMPORARY = ".part"
"""Part of the name of a file that is still being written."""


def write_file(path: Path | str, data: bytes, *, refusal: type[NetassayError] | None = StoreError) -> Path:
    """Writes `data` to `path` and returns it; see `whole_file`."""
    with whole_file(path, refusal=refusal) as part:
        part.write_bytes(data)
    return Path(path)


@contextmanager
def whole_file(path: Path | str, *, refusal: type[NetassayError] | None = StoreError) -> Iterator[Path]:
    """A temporary name beside `path`, with the same ending; it replaces `path` if all went well.

    Its folder is created if necessary. After an error the previous file at `path` is unchanged. If the system cannot
    write, `refusal` is raised, or with None the system's own OSError.
    """
    path = Path(path)
    part = _beside(path)
    try:
        if path.exists() and not path.is_file():
            raise OSError(EISDIR, "it exists and is not a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        _sync(part)
        _put(part, path)
    except OSError as error:
        if refusal is None:
            raise
        placed = isinstance(error, _NotDurable)
        left = "the new file is there but may not survive a power cut" if placed else "any previous file is unchanged"
        raise refusal(
            f"{path}: cannot be written: {error.strerror or error}; {left}. Free some space or choose a folder that "
            "can be written"
        ) from error
    finally:
        with suppress(OSError):  # a folder that cannot be reached holds no part
            part.unlink()


@contextmanager
def whole_folder(path: Path | str, *, refusal: type[NetassayError] = StoreError) -> Iterator[Path]:
    """A temporary folder beside `path`, which becomes `path` if all went well; only an empty folder may be there.

    `refusal` is raised if something else is at `path` and if the system cannot write.
    """
    path = Path(path)
    part = _beside(path)
    try:
        refuse_existing(path, refusal=refusal)
        path.parent.mkdir(parents=True, exist_ok=True)
        part.mkdir()
        yield part
        for file in part.rglob("*"):
            sync_folder(file) if file.is_dir() else _sync(file)
        sync_folder(part)
        _put(part, path)
    except OSError as error:
        raise refusal(
            f"{path}: cannot be written: {error.strerror or error}; nothing is left of it. Free some space or choose a "
            "folder that can be written"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _put(part: Path, path: Path) -> None:
    """Gives `part` its name for good; if that cannot be made durable, a name that was free is free again."""
    free = not os.path.lexists(path) or path.is_dir()
    part.replace(path)
    try:
        sync_folder(path.parent)
    except OSError as error:
        if not free:
            raise _NotDurable(error.errno, error.strerror) from error
        path.replace(part)
        raise


class _NotDurable(OSError):
    """A file was replaced, and the system could not say that its name is on the disk."""


def refuse_existing(path: Path | str, *, refusal: type[NetassayError] = StoreError) -> None:
    """Raises `refusal` if something other than an empty folder has that name, or nothing can be written there."""
    path = Path(path)
    if os.path.lexists(path) and (path.is_symlink() or not path.is_dir() or any(path.iterdir())):
        raise refusal(f"{path}: exists already; give another folder, or delete it first")
    _refuse_unwritable(path, refusal)


def refuse_misplaced(path: Path | str, *, refusal: type[NetassayError] = StoreError) -> None:
    """Refuses a path for a file before the work for it begins: a folder, a pipe or a device, one within a file, and one
    where the system lets no file be made."""
    path = Path(path)
    if path.exists() and not path.is_file():
        raise refusal(f"{path}: is a folder, a pipe or a device; give the name of a file")
    _refuse_unwritable(path, refusal)


def _refuse_unwritable(path: Path, refusal: type[NetassayError]) -> None:
    for folder in path.parents:
        if folder.exists():
            if not folder.is_dir():
                raise refusal(f"{path}: cannot be written, since {folder} is a file; choose a folder")
            try:
                TemporaryFile(dir=folder).close()
            except OSError as error:
                raise refusal(
                    f"{path}: cannot be written: {error.strerror or error}; choose a folder that can be written"
                ) from error
            return


def is_temporary(name: str) -> bool:
    """Whether a file is named as one that was still being written."""
    return TEMPORARY in name and (name.startswith(".") or name.endswith(TEMPORARY))


def sync_folder(folder: Path) -> None:
    """Makes the names in `folder` durable, if the system can open folders."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync(file: Path) -> None:
    with file.open("r+b") as handle:
        os.fsync(handle.fileno())


def _beside(path: Path) -> Path:
    """A temporary name for a writer of `path`; removes what killed writers of it left behind."""
    # some writers go by the ending; the random part keeps two writers of one file apart
    begin, end = f".{path.stem[:40]}.", f"{TEMPORARY}{path.suffix[:20]}"
    with suppress(OSError):
        for remnant in path.parent.iterdir():
            if remnant.name.startswith(begin) and remnant.name.endswith(end):
                middle = remnant.name[len(begin) : -len(end)]
                if (of := _WRITER.fullmatch(middle)) and of[1] == _host() and not is_alive(int(of[2], 16)):
                    shutil.rmtree(remnant) if remnant.is_dir() and not remnant.is_symlink() else remnant.unlink()
    return path.with_name(f"{begin}{_host()}-{os.getpid():x}-{secrets.token_hex(3)}{end}")


_WRITER = re.compile(r"([0-9a-f]{6})-([0-9a-f]{1,8})-[0-9a-f]{6}")


def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]


def is_alive(process: int) -> bool:
    """Whether a process of this machine lives, as far as the system says."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
