"""Folders of runs: their states and names, how one appears and disappears, and the words by which a user marks them.

A folder appears and disappears completely or not at all, even if the process is killed in between. Tags are in one file
of the store, since a run that has ended is never touched again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import stat
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from errno import EFBIG, ENOENT
from pathlib import Path

from netassay.errors import RunDamaged, RunWarning, StoreError
from netassay.files import sync_folder, write_file
from netassay.runs import disk, ledger
from netassay.runs.disk import MUTEX, NO_LINKS

DIGITS = 12
"""Number of hex digits of the config's digest in a run's id."""


class State(StrEnum):
    """State of a run. KILLED is never stored: it is a run stored as running whose lock is free."""

    PLANNED = "planned"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    FINISHED = "finished"
    DIVERGED = "diverged"
    FAILED = "failed"
    KILLED = "killed"

    @property
    def is_final(self) -> bool:
        """Whether nothing is left to compute."""
        return self in (State.FINISHED, State.DIVERGED)


def stored_state(folder: Path, status: ledger.Status) -> State:
    """The state in a status row; RunDamaged for a word that no writer stores."""
    try:
        return State(status.state)
    except ValueError as unknown:
        raise RunDamaged(f"{folder / ledger.NAME}: is damaged ({unknown}); restore it from a copy") from None


def run_id(study: str, digest: str) -> str:
    """The id of the run of a config: its study and the beginning of its digest."""
    return f"{disk.checked_name('study', study)}-{digest[:DIGITS]}"


_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}-[0-9a-f]{12}")
_PAUSE = 0.01
_NEW, _DELETED = ".new-", ".deleted-"


def is_id(name: str) -> bool:
    """Whether `name` has the form of a run's id: study, a dash, twelve hex digits."""
    return _ID.fullmatch(name) is not None


def store_folder(path: Path | str) -> Path:
    """The folder that was named as a store. StoreError for an empty name, which would mean the current folder."""
    if not str(path):
        raise StoreError('store "": is not a folder; give its name, or "." for the current folder')
    return Path(path)


def make(folder: Path, facts: dict[str, str]) -> None:
    """A new run folder, built under a hidden name and renamed. StoreError if the store cannot be written."""
    store = folder.parent
    try:
        store.mkdir(parents=True, exist_ok=True)
        with store_lock(store):
            if os.path.lexists(folder):
                return
            hidden = Path(tempfile.mkdtemp(prefix=_NEW, dir=store))
            hidden.chmod(0o755)
            (hidden / disk.LOCK).touch()
            (hidden / "tensors").mkdir()
            (hidden / "tables").mkdir()
            ledger.create(hidden, facts)
            sync_folder(hidden)
            hidden.rename(folder)
            sync_folder(store)
    except (FileExistsError, NotADirectoryError):
        raise StoreError(f"store {store}: is or lies under a file; give a folder") from None
    except (OSError, sqlite3.OperationalError) as cause:
        raise _unwritable(store, cause) from None


def remove(folder: Path) -> None:
    """Deletes a run folder, after hiding it by a rename. RunLocked while it is written."""
    store = folder.parent
    try:
        with store_lock(store) as swept:
            if not os.path.lexists(folder) and folder.name in swept:
                return
            checked(folder)
            writer_lock = disk.Lock(folder)
            try:
                hidden = store / f"{_DELETED}{folder.name}-{os.getpid()}"
                if sys.platform == "win32":  # where no folder with an open file can be renamed
                    writer_lock.release()
                folder.rename(hidden)
                sync_folder(store)
            finally:
                writer_lock.release()
            shutil.rmtree(hidden)
    except OSError as cause:
        raise _unwritable(store, cause) from None


def checked(folder: Path) -> Path:
    """`folder` if it is a run, damaged or not, and not a link. StoreError otherwise."""
    if not is_id(folder.name):
        raise StoreError(f"{folder.name!r} is not a run id; ids look like edge-0123456789ab")
    try:
        status = folder.lstat()
    except FileNotFoundError:
        raise StoreError(f"{folder}: there is no such run") from None
    if stat.S_ISLNK(status.st_mode):
        raise StoreError(f"{folder}: is a symbolic link, and links are not followed; act on the folder it points to")
    if not stat.S_ISDIR(status.st_mode) or not _is_plain(folder / ledger.NAME):
        raise StoreError(f"{folder}: is not a run (it has no file {ledger.NAME})")
    return folder


def _is_plain(file: Path) -> bool:
    try:
        return stat.S_ISREG(file.lstat().st_mode)
    except OSError:
        return False


def begun_removals(store: Path) -> set[str]:
    """Ids of the runs that a killed process had hidden but not yet deleted."""
    try:
        names = [path.name for path in store.iterdir() if path.name.startswith(_DELETED)]
    except OSError:
        return set()
    return {name.removeprefix(_DELETED).rpartition("-")[0] for name in names}


@contextmanager
def store_lock(store: Path) -> Iterator[set[str]]:
    """Serialises creation and removal; leftovers of a killed process are removed on entry.

    Yields the ids of the runs whose deletion had been started.
    """
    path = store / ".lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | NO_LINKS, 0o644)
    locked = False
    try:
        while not (locked := MUTEX.take(handle, path)):
            time.sleep(_PAUSE)
        removals = begun_removals(store)
        for remnant in store.iterdir():
            if remnant.name.startswith((_NEW, _DELETED)) and remnant.is_dir() and not remnant.is_symlink():
                shutil.rmtree(remnant)
        yield removals
    finally:
        if locked:
            MUTEX.free(handle, path)
        os.close(handle)


def _unwritable(store: Path, cause: Exception) -> StoreError:
    return StoreError(f"store {store}: cannot be written ({cause}); free space there or give another store")


TAGS = "tags.json"
LATEST = "latest"
"""Word for the run of a store that was created last; no tag."""
MOST_TAGS = 100
"""Tags of one run."""
_LARGEST = 1 << 24

Tags = dict[str, tuple[str, ...]]
"""The tags of each run by its id, in the order of the alphabet."""


def checked_tag(word: str) -> str:
    """`word` if it can be a tag: a name as a file may have, and neither an id nor "latest"."""
    disk.checked_name("tag", word)
    if word == LATEST or is_id(word):
        raise StoreError(f"tag {word!r} is refused; it stands for a run already, so give another word")
    return word


def read_tags(store: Path) -> Tags:
    """The tags in a store. A file that holds anything else is left out as a whole, with a RunWarning."""
    try:
        return _read_tags(store)
    except StoreError as cause:
        warnings.warn(f"tags are left out: {cause}", RunWarning, stacklevel=2)
        return {}


@contextmanager
def changing_tags(store: Path) -> Iterator[Tags]:
    """The tags in a store, to be changed within, while no other process changes them; written if they did change.

    Those of runs that are gone are dropped. StoreError for a file that holds no tags, or cannot be written.
    """
    try:
        with store_lock(store):
            tags = _read_tags(store)
            before = dict(tags)
            yield tags
            if tags != before:
                left = {run: words for run, words in sorted(tags.items()) if words and os.path.lexists(store / run)}
                write_file(store / TAGS, json.dumps(left, indent=1).encode())
    except OSError as cause:
        raise StoreError(f"store {store}: cannot be written ({cause.strerror or cause}); is it read-only?") from None


def bearers(tags: Mapping[str, Iterable[str]], word: str) -> list[str]:
    """Ids of the runs that bear a tag."""
    return [run for run, words in tags.items() if word in words]


def _read_tags(store: Path) -> Tags:
    path = store / TAGS
    try:
        text = disk.read_short(store, TAGS, _LARGEST + 1)
        if len(text) > _LARGEST:
            raise OSError(EFBIG, f"it has more than {_LARGEST:,} bytes")
        held = json.loads(text)
    except OSError as cause:
        if cause.errno == ENOENT:
            return {}
        raise StoreError(f"{path}: cannot be read ({cause.strerror}); delete it, and its tags are gone") from None
    except (ValueError, RecursionError) as cause:
        raise StoreError(f"{path}: is damaged ({str(cause)[:100]}); delete it, and its tags are gone") from None
    if not isinstance(held, dict) or not all(_is_sound(run, words) for run, words in held.items()):
        raise StoreError(f"{path}: holds what are no tags of runs; delete it, and its tags are gone")
    return {run: tuple(sorted(set(words))) for run, words in held.items()}


def _is_sound(run: str, words: object) -> bool:
    return (
        is_id(run)
        and isinstance(words, list)
        and len(words) <= MOST_TAGS
        and all(isinstance(word, str) and disk.NAMES.fullmatch(word) for word in words)
    )
