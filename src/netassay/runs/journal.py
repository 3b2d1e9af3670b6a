"""How SQLite keeps run.sqlite whole: a write-ahead log on a file system of one machine, a rollback journal elsewhere.

WAL needs memory that all processes share, which two hosts do not (sqlite.org/wal.html, "all processes using a database
must be on the same host computer"). A rollback journal needs file locks alone, which NFS and Lustre have.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netassay.runs.filesystem import lives_here_alone

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
