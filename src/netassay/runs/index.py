"""What was read of runs at rest, remembered among the user's caches, so that listing a large store reads what changed.

An entry counts only while the run's folder and its run.sqlite are, to the nanosecond of their last change, those that
were read. It is made only where nothing but run.sqlite held the run's rows, and where the last change lay far enough
back that a later one must have another time. Nothing depends on it: without it everything is read from the runs, those
at rest by the pages of their files (`btree`), the others by SQLite.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import stat
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import netassay
from netassay.runs import btree, folders, ledger
from netassay.runs.disk import lives_here_alone
from netassay.runs.ledger import Status
from netassay.runs.run import Run

SMALLEST = 200
"""Runs of a store from which on it is remembered; fewer are read as quickly."""

_SETTLED = 2_000_000_000  # nanoseconds; no file system counts time more coarsely
_UNUSED = 90 * 86_400.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, mark TEXT NOT NULL, study TEXT NOT NULL, config TEXT NOT NULL, digest TEXT NOT NULL,
    created TEXT NOT NULL, package TEXT NOT NULL, state TEXT NOT NULL, step INTEGER NOT NULL, message TEXT NOT NULL,
    seconds REAL NOT NULL) WITHOUT ROWID
"""
_SELECT = "SELECT id, mark, study, config, digest, created, package, state, step, message, seconds FROM runs"
_ADD = "REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_NOTHING = ("",) * 10
_BESIDE = ("-wal", "-shm", "-journal")
_FORM = 2


class Mark(NamedTuple):
    """The files of a run at rest: `text` differs once anything in them has changed; `size` is that of run.sqlite."""

    text: str
    size: int


class Index:
    """What is remembered of the runs of one store; `look` adds to it, and what was added is written at the end."""

    def __init__(self, store: Path, memories: dict[str, tuple[Any, ...]]) -> None:
        self._store = store
        self._memories = memories
        self._additions: list[tuple[Any, ...]] = []
        self._now = time.time_ns()

    def look(self, name: str) -> tuple[Run, Status]:
        """A run and its status, from what is remembered, from the pages of its file, or as `Run.look`."""
        mark = self._mark(name)
        if mark is None:
            return Run.look(folders.checked(self._store / name))
        return self._recall(name, mark) or self._read(name, mark) or self._open(name, mark)

    def _mark(self, name: str) -> Mark | None:
        """The mark of a run; None where it has none that can be trusted, or is no run."""
        try:
            folder = os.lstat(f"{self._store}/{name}")
            file = os.lstat(f"{self._store}/{name}/{ledger.NAME}")
        except OSError:
            return None
        if not (stat.S_ISDIR(folder.st_mode) and stat.S_ISREG(file.st_mode)):
            return None
        times = (folder.st_mtime_ns, folder.st_ctime_ns, file.st_mtime_ns, file.st_ctime_ns)
        if max(times[1], times[3]) > self._now - _SETTLED:
            return None
        places = (folder.st_dev, folder.st_ino, file.st_ino, file.st_size)
        return Mark(" ".join(map(str, (*places, *times))), file.st_size)

    def _recall(self, name: str, mark: Mark) -> tuple[Run, Status] | None:
        """The run as it was read when it had this mark, if it was."""
        before, study, config, digest, created, package, *status = self._memories.get(name, _NOTHING)
        if before != mark.text:
            return None
        try:
            values = json.loads(config)
        except (ValueError, TypeError):
            return None
        run = Run(self._store / name, study, values, digest, created, package)
        return run, Status(*status)

    def _read(self, name: str, mark: Mark) -> tuple[Run, Status] | None:
        """The run as the pages of its file say, if these are as usual and its only ones."""
        tables = btree.read(f"{self._store}/{name}/{ledger.NAME}", mark.size)
        if tables is None or not self._is_still(name, mark):
            return None
        facts, status = tables
        run = Run.of(self._store / name, facts)
        self._keep(mark, run, status, facts["config"])
        return run, status

    def _open(self, name: str, mark: Mark) -> tuple[Run, Status]:
        run, status = Run.look(folders.checked(self._store / name))
        if self._is_still(name, mark):
            self._keep(mark, run, status, ledger.canonical(run.config))
        return run, status

    def _is_still(self, name: str, mark: Mark) -> bool:
        """Whether run.sqlite alone holds the run's rows and nothing has changed since the mark was taken."""
        try:
            beside = os.listdir(f"{self._store}/{name}")  # noqa: PTH208
        except OSError:  # deleted meanwhile
            return False
        return not any(f"{ledger.NAME}{ending}" in beside for ending in _BESIDE) and self._mark(name) == mark

    def _keep(self, mark: Mark, run: Run, status: Status, config: str) -> None:
        facts = (run.study, config, run.digest, run.created, run.package)
        self._additions.append((run.id, mark.text, *facts, *status))

    def write(self, names: Collection[str]) -> None:
        """Adds what is new, and forgets all but `names`."""
        if not self._additions:
            return
        gone = [(name,) for name in self._memories.keys() - set(names)]
        path = _path(self._store)
        with suppress(OSError, sqlite3.Error):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _forget_unused(path.parent)
            with closing(sqlite3.connect(path, timeout=0.0)) as connection, connection:
                connection.execute("PRAGMA synchronous = OFF")
                connection.execute(_SCHEMA)
                connection.executemany(_ADD, self._additions)
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
    index = Index(store, _read(_path(store)))
    yield index
    index.write(names)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=0.0)) as connection:
            rows = connection.execute(_SELECT).fetchall()
        os.utime(path)
    except (OSError, sqlite3.Error):
        with suppress(OSError):
            path.unlink()  # damaged, or of no use here; it is made again
        return {}
    return {name: memory for name, *memory in rows}


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
