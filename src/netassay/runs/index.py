"""What was read of runs at rest, remembered among the user's caches, so that listing a large store opens what changed.

An entry counts only while the run's folder and its run.sqlite are, to the nanosecond of their last change, those that
were read. It is made only where nothing but run.sqlite held the run's rows, and where the last change lay far enough
back that a later one must have another time. Nothing depends on it: without it everything is read from the runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import netassay
from netassay.runs import ledger
from netassay.runs.database import lives_here_alone
from netassay.runs.ledger import Status
from netassay.runs.run import Run

SMALLEST = 200
"""Runs of a store from which on it is remembered; fewer are read as quickly."""

_SETTLED = 2_000_000_000  # nanoseconds; no file system counts time more coarsely
_UNUSED = 90 * 86_400.0
_SCHEMA = "CREATE TABLE IF NOT EXISTS runs (id TEXT PRIMARY KEY, mark TEXT NOT NULL, text TEXT NOT NULL) WITHOUT ROWID"
_FORM = 1


class Memory(NamedTuple):
    """A run as it was read, and the mark of its files at that moment."""

    mark: str
    run: Run
    status: Status


class Index:
    """What is remembered of the runs of one store; `keep` adds to it, and what was added is written at the end."""

    def __init__(self, store: Path, memories: dict[str, tuple[str, str]]) -> None:
        self._store = store
        self._memories = memories
        self._additions: dict[str, tuple[str, str]] = {}
        self._now = time.time_ns()

    def mark(self, name: str) -> str | None:
        """What differs once anything in a run has changed; None where that cannot be told."""
        try:
            folder = os.lstat(f"{self._store}/{name}")
            file = os.lstat(f"{self._store}/{name}/{ledger.NAME}")
        except OSError:
            return None
        if max(folder.st_ctime_ns, file.st_ctime_ns) > self._now - _SETTLED:
            return None
        places = (folder.st_dev, folder.st_ino, file.st_ino, file.st_size)
        times = (folder.st_mtime_ns, folder.st_ctime_ns, file.st_mtime_ns, file.st_ctime_ns)
        return " ".join(map(str, (*places, *times)))

    def recall(self, name: str, mark: str) -> tuple[Run, Status] | None:
        """The run as it was read when it had this mark, if it was."""
        before, text = self._memories.get(name, ("", ""))
        if before != mark:
            return None
        try:
            facts, status = json.loads(text)
            return Run(folder=self._store / name, **facts), Status(*status)
        except (ValueError, TypeError):
            return None

    def keep(self, name: str, mark: str, run: Run, status: Status) -> None:
        """Remembers a run that was read between two looks that gave the same mark."""
        file = f"{self._store}/{name}/{ledger.NAME}"
        if any(os.path.lexists(f"{file}{ending}") for ending in ("-wal", "-journal")) or self.mark(name) != mark:
            return
        facts = {key: getattr(run, key) for key in ("study", "config", "digest", "created", "package")}
        self._additions[name] = (mark, json.dumps([facts, status]))

    def write(self, names: Collection[str]) -> None:
        """Adds what is new, and forgets all but `names`."""
        if not self._additions:
            return
        rows = [(name, *memory) for name, memory in self._additions.items()]
        gone = [(name,) for name in self._memories.keys() - set(names)]
        path = _path(self._store)
        with suppress(OSError, sqlite3.Error):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _forget_unused(path.parent)
            with closing(sqlite3.connect(path, timeout=0.0)) as connection, connection:
                connection.execute("PRAGMA synchronous = OFF")
                connection.execute(_SCHEMA)
                connection.executemany("REPLACE INTO runs VALUES (?, ?, ?)", rows)
                connection.executemany("DELETE FROM runs WHERE id = ?", gone)


@contextmanager
def index_of(store: Path, names: Collection[str]) -> Iterator[Index | None]:
    """What is remembered of a store, and at the end will be; None for a small one.

    None too on Windows, whose files do not tell when they were last changed, and on a file system that several hosts
    share, which tells that late.
    """
    if len(names) < SMALLEST or sys.platform == "win32" or not lives_here_alone(store):
        yield None
        return
    index = Index(store, dict(_read(_path(store))))
    yield index
    index.write(names)


def _read(path: Path) -> Mapping[str, tuple[str, str]]:
    if not path.is_file():
        return {}
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=0.0)) as connection:
            rows = connection.execute("SELECT id, mark, text FROM runs").fetchall()
        os.utime(path)
    except (OSError, sqlite3.Error):
        with suppress(OSError):
            path.unlink()  # damaged, or of no use here; it is made again
        return {}
    return {name: (mark, text) for name, mark, text in rows}


def _path(store: Path) -> Path:
    """The file for a store: another one for each version, which may read other things of a run."""
    word = f"{_FORM} {netassay.__version__} {store}"
    return _caches() / "stores" / f"{hashlib.sha256(os.fsencode(word)).hexdigest()[:24]}.sqlite"


def _caches() -> Path:
    """The folder for what the user's programs may lose; `XDG_CACHE_HOME` moves it."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(given):  # noqa: PTH117
        return Path(given) / "netassay"
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 (Path.home raises where there is none)
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "netassay"


def _forget_unused(folder: Path) -> None:
    """Removes what is remembered of stores that nobody has listed for a long time."""
    for file in folder.glob("*.sqlite"):
        if time.time() - file.stat().st_mtime > _UNUSED:
            file.unlink(missing_ok=True)
