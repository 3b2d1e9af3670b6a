"""The SQLite file of a run: its schema, strict reading of files of others, and the journal that keeps it whole.

WAL needs memory that all processes share, which two hosts do not (sqlite.org/wal.html, "all processes using a database
must be on the same host computer"). A rollback journal needs file locks alone, which NFS and Lustre have.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from netassay.errors import StoreError
from netassay.runs.disk import lives_here_alone

WAL, ROLLBACK = "WAL", "DELETE"
_VERSION = 18  # offset of the bytes in a database's header that say how it is written: 2 for a write-ahead log
_SUPER = bytes.fromhex("d9d505f920a163d7")


def mode_for(folder: Path) -> str:
    """The journal mode of a run in that folder."""
    return WAL if lives_here_alone(folder) else ROLLBACK


def is_wal(path: Path) -> bool:
    """Whether a database says that it is written by a write-ahead log; so does one that cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_VERSION + 1)[_VERSION:] != b"\x01"
    except OSError:
        return True


def settle(connection: sqlite3.Connection, path: Path) -> None:
    """Has the one writer of a database, just opened, go on with a rollback journal where its place asks for that."""
    if mode_for(path.parent) == ROLLBACK and is_wal(path):
        # a run that was copied from elsewhere; under an exclusive lock SQLite leaves WAL without shared memory
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute(f"PRAGMA journal_mode = {ROLLBACK}")
        connection.execute("PRAGMA locking_mode = NORMAL")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # lets go of the lock
        path.with_name(f"{path.name}-shm").unlink(missing_ok=True)  # nobody had the database open


@contextmanager
def rolled_back(path: Path) -> Iterator[Path]:
    """A copy of a database whose writer was killed within a transaction, and of its journal, for SQLite to roll back.

    A reader must not do that in the run itself, which only its writer changes. sqlite3.DataError for a journal that
    names other files, which no writer of a run leaves.
    """
    journal = path.with_name(f"{path.name}-journal")
    with tempfile.TemporaryDirectory(prefix="netassay-") as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy, follow_symlinks=False)
        data = journal.read_bytes()
        if data.endswith(_SUPER):
            raise sqlite3.DataError("its journal names another journal, which no writer of a run leaves")
        copy.with_name(journal.name).write_bytes(data)
        yield copy


SCHEMA_VERSION = 1

# metrics.value has no type on purpose: a REAL column drops the sign of -0.0. NaN is stored as NULL.
SCHEMA = """
CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE status (
    id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL, step INTEGER NOT NULL,
    message TEXT NOT NULL, seconds REAL NOT NULL, updated TEXT NOT NULL);
CREATE TABLE events (id INTEGER PRIMARY KEY, time TEXT NOT NULL, step INTEGER NOT NULL,
    what TEXT NOT NULL, text TEXT NOT NULL);
CREATE TABLE metrics (step INTEGER NOT NULL, name TEXT NOT NULL, part TEXT NOT NULL, value,
    PRIMARY KEY (step, name, part)) WITHOUT ROWID;
CREATE TABLE checkpoints (step INTEGER PRIMARY KEY, file TEXT NOT NULL, sha256 TEXT NOT NULL,
    bytes INTEGER NOT NULL, facts TEXT NOT NULL, seconds REAL NOT NULL, created TEXT NOT NULL);
CREATE TABLE tables (name TEXT PRIMARY KEY, file TEXT NOT NULL, sha256 TEXT NOT NULL,
    rows INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE seal (id INTEGER PRIMARY KEY CHECK (id = 1), sha256 TEXT NOT NULL);
"""
_DECLARED = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"
_BESIDE = ("", "-wal", "-shm", "-journal")
_SMALLEST = 1 << 20
# a row of metrics takes 20 bytes or more and its longest query some 100 steps; without a limit, a file whose pages
# point to each other in a loop would be read forever
_STEPS_A_BYTE, _STEPS_AT_ONCE = 50, 100_000


def plain_files(path: Path) -> dict[str, os.stat_result]:
    """run.sqlite and the files that SQLite opens beside it, where they exist, by the ending of their names.

    StoreError if one is a link, a pipe or not a plain file.
    """
    files = {}
    for ending in _BESIDE:
        file = f"{path}{ending}"
        try:
            status = os.lstat(file)
        except FileNotFoundError:
            continue
        except OSError as cause:
            raise StoreError(f"{file}: cannot be read ({cause.strerror})") from None
        if not stat.S_ISREG(status.st_mode):
            raise StoreError(f"{file}: is a link or no plain file, and is not opened; restore the run from a copy")
        files[ending] = status
    return files


def restrict(connection: sqlite3.Connection, size: int) -> None:
    """Allows only reads, no value longer than the file (`size` bytes), and limits queries; `check` comes next."""
    budget = [_STEPS_A_BYTE * max(size, _SMALLEST) // _STEPS_AT_ONCE]

    def ended() -> bool:
        budget[0] -= 1
        return budget[0] < 0

    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, min(max(size, _SMALLEST), 1_000_000_000))
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.set_progress_handler(ended, _STEPS_AT_ONCE)
    connection.execute("PRAGMA query_only = ON")


def check(connection: sqlite3.Connection) -> None:
    """sqlite3.DataError unless the file declares the tables of `SCHEMA` and nothing else: no view, no trigger.

    No code of its schema is run from now on.
    """
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    declared = connection.execute(_DECLARED).fetchall()
    if declared == declaration():
        return
    for row, expected in zip(declared, declaration(), strict=False):
        if row != expected:
            raise sqlite3.DataError(
                f"its schema has {row[0]} {row[1]!r:.80} where {expected[0]} {expected[1]} is expected"
            )
    raise sqlite3.DataError(f"its schema declares {len(declared)} tables and keys, not {len(declaration())}")


@cache
def declaration() -> list[tuple[Any, ...]]:
    """What a run.sqlite declares: type, name, table and SQL of each part, by name."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(SCHEMA)
        return connection.execute(_DECLARED).fetchall()
    finally:
        connection.close()


def rows(
    connection: sqlite3.Connection, kinds: tuple[type, ...], select: str, *values: Any
) -> Iterator[tuple[Any, ...]]:
    """Rows of a query, each value of the type of its column; sqlite3.DataError for others, as any may be stored."""
    for row in connection.execute(select, values):
        if tuple(map(type, row)) != kinds:
            raise sqlite3.DataError(f"it holds {row!r:.100} where {', '.join(kind.__name__ for kind in kinds)} belong")
        yield row
