"""run.sqlite: its schema, how it is read without a trace and written in whole transactions.

Every transaction ends with a seal, a SHA-256 over all rows, since SQLite does not notice a flipped byte. What is read
may be the file of another, so that its schema, its size and the types of its values are checked.

WAL needs memory that all processes share, which two hosts do not (sqlite.org/wal.html, "all processes using a database
must be on the same host computer"). A rollback journal needs file locks alone, which NFS and Lustre have.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import netassay
from netassay.errors import RunDamaged, StoreError
from netassay.files import sync_folder, write_file
from netassay.runs import disk
from netassay.runs.disk import is_held, lives_here_alone

if TYPE_CHECKING:
    from hashlib import _Hash

NAME = "run.sqlite"
DIGEST = "run.sqlite.sha256"

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

_SEALED = ("facts", "status", "events", "checkpoints", "tables")
_READ_ATTEMPTS = 5
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))

Row = tuple[int, str, str, float]


class Status(NamedTuple):
    state: str
    step: int
    message: str
    seconds: float


Answer = TypeVar("Answer")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def canonical(value: Any) -> str:
    """The one JSON text of a value; StoreError for what JSON cannot hold."""
    try:
        text = _CANONICAL.encode(value)
    except (TypeError, ValueError) as cause:
        raise StoreError(f"{value!r:.200} cannot be kept as JSON: {cause}") from None
    return text


def create(folder: Path, facts: dict[str, str]) -> None:
    """Makes run.sqlite in `folder`, state planned; `facts` are JSON texts."""
    connection = _connect(folder / NAME, "rwc")
    try:
        connection.execute(f"PRAGMA journal_mode = {_mode_for(folder)}")
        connection.executescript(SCHEMA)
        with transaction(connection, hashlib.sha256()):
            connection.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
            set_status(connection, "planned", 0, "", 0.0)
    finally:
        close(connection, folder)


def read(folder: Path, ask: Callable[[sqlite3.Connection], Answer]) -> Answer:
    """What `ask` finds in the last committed state; the lock of the run is not taken, a run at rest is left untouched.

    With a write-ahead log: without a -wal file everything is in run.sqlite, which is then read as immutable (nothing is
    lost by that) and read again should a writer have come between. With a rollback journal: under SQLite's lock of
    readers, and from a copy that is rolled back where a writer was killed within a transaction. StoreError if it cannot
    be opened, RunDamaged if it is no database.
    """
    path = folder / NAME
    for _ in range(_READ_ATTEMPTS):
        before = _state_of(path)
        log = _is_wal(path)
        hot = before.journal > 0 and not log and not is_held(folder)
        try:
            with _reading(path, before, log=log, hot=hot) as connection:
                _restrict(connection, before.size + before.wal + before.journal)
                _check_schema(connection, folder)
                answer = ask(connection)
        except sqlite3.DatabaseError as cause:
            if before == _state_of(path) and (hot or not before.journal):
                raise explained(folder, cause) from None
        else:
            if before.wal or not log or before == _state_of(path):
                return answer
    raise StoreError(f"{path}: changes faster than it can be read; try again")


@contextmanager
def _reading(path: Path, before: _State, *, log: bool, hot: bool) -> Iterator[sqlite3.Connection]:
    """A connection that reads a database in one of its states."""
    if hot:
        with _rolled_back(path) as copy, closing(_connect(copy, "rw")) as connection:
            yield connection
        return
    with closing(_connect(path, "ro&immutable=1" if log and not before.wal else "ro")) as connection:
        yield connection


def open_for_writing(folder: Path) -> sqlite3.Connection:
    """The connection of the one writer, who holds the run's lock and ends with `close`; StoreError if it is refused."""
    connection = _connect(folder / NAME, "rw")
    try:
        _settle_journal(connection, folder / NAME)
        connection.execute("PRAGMA synchronous = EXTRA")  # as FULL, and the end of a rollback journal is durable too
        _check_schema(connection, folder)
        status(connection)
        (folder / DIGEST).unlink(missing_ok=True)
        sync_folder(folder)
    except BaseException as cause:
        connection.close()
        if isinstance(cause, sqlite3.DatabaseError):
            raise explained(folder, cause) from None
        if isinstance(cause, OSError):
            raise StoreError(f"{folder / NAME}: {_REFUSED.format(cause)}") from None
        raise
    return connection


def close(connection: sqlite3.Connection, folder: Path) -> None:
    """Closes the connection; when all is in run.sqlite, its SHA-256 is left beside it until the next opening.

    The seal covers rows wherever they are; this covers the rest of the file of a run at rest.
    """
    connection.close()
    path = folder / NAME
    if not any(path.with_name(NAME + ending).exists() for ending in ("-wal", "-journal")):
        with suppress(OSError):  # a full disk: the file is then vouched for by its seal alone
            write_file(folder / DIGEST, disk.sha256(path.read_bytes()).encode(), refusal=None)


@contextmanager
def transaction(connection: sqlite3.Connection, metrics: _Hash) -> Iterator[None]:
    """All statements inside and a seal over the result, or nothing; `metrics` is the hash of all metrics."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("INSERT OR REPLACE INTO seal VALUES (1, ?)", (_seal(connection, metrics),))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def absorb(metrics: _Hash, rows: Iterable[Row]) -> None:
    """Hashes metric rows; they must come in the order (step, name, part), within a call and over calls."""
    for step, name, part, value in rows:
        metrics.update(f"{step}\0{name}\0{part}\0{value.hex()}\n".encode())


def metric_rows(connection: sqlite3.Connection, condition: str = "TRUE", *values: Any) -> Iterator[Row]:
    """Rows that meet an SQL condition, in the order (step, name, part)."""
    rows = connection.execute(f"SELECT * FROM metrics WHERE {condition} ORDER BY step, name, part", values)
    for step, name, part, value in rows:
        if not (type(step) is int and type(name) is str and type(part) is str):
            raise sqlite3.DataError(f"a metric is called {name!r:.80} {part!r:.80} at step {step!r:.80}")
        if not isinstance(value, float | None):
            raise sqlite3.DataError(f"metric {name} of step {step} is {value!r:.80}")
        yield step, name, part, math.nan if value is None else value


def facts(connection: sqlite3.Connection) -> dict[str, str]:
    """Key to JSON text."""
    return dict(rows(connection, (str, str), "SELECT key, value FROM facts"))


def files(connection: sqlite3.Connection) -> dict[str, str]:
    """Every file that a row names, with its SHA-256."""
    select = "SELECT file, sha256 FROM checkpoints UNION ALL SELECT file, sha256 FROM tables"
    return {disk.checked_file(file): digest for file, digest in rows(connection, (str, str), select)}


def status(connection: sqlite3.Connection) -> Status:
    kinds, select = (str, int, str, float), "SELECT state, step, message, seconds FROM status"
    row = next(rows(connection, kinds, select), None)
    if row is None:
        raise sqlite3.DataError("it has lost its status")
    return Status(*row)


def set_status(connection: sqlite3.Connection, state: str, step: int, message: str, seconds: float) -> None:
    row = (1, state, step, _storable(message), seconds, now())
    connection.execute("REPLACE INTO status VALUES (?, ?, ?, ?, ?, ?)", row)


def add_event(connection: sqlite3.Connection, step: int, what: str, text: str) -> None:
    insert = "INSERT INTO events (time, step, what, text) VALUES (?, ?, ?, ?)"
    connection.execute(insert, (now(), step, what, _storable(text)))


def is_sealed(connection: sqlite3.Connection, metrics: _Hash) -> bool:
    """Whether every row is as the last transaction left it; `metrics` are the hashed metric rows."""
    stored = connection.execute("SELECT sha256 FROM seal").fetchone()
    return stored is not None and stored[0] == _seal(connection, metrics)


def _check_schema(connection: sqlite3.Connection, folder: Path) -> None:
    """As `check`; StoreError where a newer netassay wrote the run, whose tables may be others."""
    try:
        _check_declaration(connection)
    except sqlite3.DataError:
        kinds, select = (str, str), "SELECT key, value FROM facts WHERE key IN ('schema', 'netassay')"
        is_table = "SELECT 1 FROM sqlite_schema WHERE name = 'facts' AND type = 'table' AND rootpage > 0"
        if connection.execute(is_table).fetchone():
            refuse_newer(folder, dict(rows(connection, kinds, select)))
        raise


def refuse_newer(folder: Path, facts: dict[str, str]) -> None:
    """StoreError where a newer netassay wrote a run; `facts` are JSON texts."""
    with suppress(ValueError, RecursionError):
        version = json.loads(facts.get("schema", "0"))
        if type(version) is int and version > SCHEMA_VERSION:
            raise StoreError(
                f"{folder}: was written with schema {version} by netassay {facts.get('netassay', '')[:40]}; this is "
                f"netassay {netassay.__version__}, which reads schema {SCHEMA_VERSION}: upgrade it"
            )


def is_refused_write(cause: sqlite3.DatabaseError) -> bool:
    """Whether the disk did not take a write: full, a quota, a limit on file size, a fault of the device."""
    return getattr(cause, "sqlite_errorname", "").startswith(("SQLITE_FULL", "SQLITE_IOERR"))


_REFUSED = "cannot be opened ({}); is the disk full? Nothing committed is lost"


def explained(folder: Path, cause: sqlite3.DatabaseError) -> StoreError:
    """The error of a run that SQLite could not open or read."""
    path, code = folder / NAME, getattr(cause, "sqlite_errorname", "")
    if code.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")):
        wal = path.with_name(NAME + "-wal")
        hint = (
            f"its last changes are in {wal.name}, readable only in a writable folder: copy the folder"
            if wal.exists()
            else "is it on a read-only path?"
        )
        return StoreError(f"{path}: cannot be opened ({cause}); {hint}")
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreError(f"{path}: is in use by another program ({cause}); close it and try again")
    if is_refused_write(cause):
        return StoreError(f"{path}: {_REFUSED.format(cause)}")
    if code == "SQLITE_INTERRUPT":
        cause = sqlite3.DataError("reading it takes more steps than a file of its size holds")
    return RunDamaged(
        f"{path}: is damaged ({cause}); restore the folder from a copy, or delete the run and start it again"
    )


class _State(NamedTuple):
    wal: int
    """Bytes of the -wal file."""
    journal: int
    """Bytes of the -journal file."""
    size: int
    changed: int
    inode: int


def _state_of(path: Path) -> _State:
    files = _plain_files(path)
    if "" not in files:
        raise StoreError(f"{path.parent}: is not a run (it has no file {NAME}); give the folder of a run")
    status = files[""]
    in_wal, in_journal = (files[ending].st_size if ending in files else 0 for ending in ("-wal", "-journal"))
    return _State(in_wal, in_journal, status.st_size, status.st_mtime_ns, status.st_ino)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    try:
        return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30.0)
    except sqlite3.DatabaseError as cause:
        raise explained(path.parent, cause) from None


def _storable(text: str) -> str:
    # names of files that are not UTF-8 reach messages as lone surrogates, which SQLite refuses
    return text.encode(errors="backslashreplace").decode()


def _seal(connection: sqlite3.Connection, metrics: _Hash) -> str:
    seal = hashlib.sha256(metrics.digest())
    for table in _SEALED:
        for row in connection.execute(f"SELECT * FROM {table} ORDER BY 1"):
            if any(isinstance(value, bytes) for value in row):
                raise sqlite3.DataError(f"table {table} holds bytes, which no writer stores")
            seal.update(json.dumps([table, *row]).encode())
    return seal.hexdigest()


WAL, ROLLBACK = "WAL", "DELETE"
_VERSION = 18  # offset of the bytes in a database's header that say how it is written: 2 for a write-ahead log
_SUPER = bytes.fromhex("d9d505f920a163d7")


def _mode_for(folder: Path) -> str:
    """The journal mode of a run in that folder."""
    return WAL if lives_here_alone(folder) else ROLLBACK


def _is_wal(path: Path) -> bool:
    """Whether a database says that it is written by a write-ahead log; so does one that cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_VERSION + 1)[_VERSION:] != b"\x01"
    except OSError:
        return True


def _settle_journal(connection: sqlite3.Connection, path: Path) -> None:
    """Has the one writer of a database, just opened, go on with a rollback journal where its place asks for that."""
    if _mode_for(path.parent) == ROLLBACK and _is_wal(path):
        # a run that was copied from elsewhere; under an exclusive lock SQLite leaves WAL without shared memory
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute(f"PRAGMA journal_mode = {ROLLBACK}")
        connection.execute("PRAGMA locking_mode = NORMAL")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # lets go of the lock
        path.with_name(f"{path.name}-shm").unlink(missing_ok=True)  # nobody had the database open


@contextmanager
def _rolled_back(path: Path) -> Iterator[Path]:
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


_DECLARED = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"
_BESIDE = ("", "-wal", "-shm", "-journal")
_SMALLEST = 1 << 20
# a row of metrics takes 20 bytes or more and its longest query some 100 steps; without a limit, a file whose pages
# point to each other in a loop would be read forever
_STEPS_A_BYTE, _STEPS_AT_ONCE = 50, 100_000


def _plain_files(path: Path) -> dict[str, os.stat_result]:
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


def _restrict(connection: sqlite3.Connection, size: int) -> None:
    """Allows reads alone, no value longer than the file (`size` bytes), and queries of a limited number of steps."""
    budget = [_STEPS_A_BYTE * max(size, _SMALLEST) // _STEPS_AT_ONCE]

    def ended() -> bool:
        budget[0] -= 1
        return budget[0] < 0

    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, min(max(size, _SMALLEST), 1_000_000_000))
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.set_progress_handler(ended, _STEPS_AT_ONCE)
    connection.execute("PRAGMA query_only = ON")


def _check_declaration(connection: sqlite3.Connection) -> None:
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
