"""run.sqlite: its schema, how it is read without a trace and written in whole transactions.

Every transaction ends with a seal, a SHA-256 over all rows, since SQLite does not notice a flipped byte.
"""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import netassay
from netassay.errors import RunDamaged, StoreError
from netassay.files import sync_folder, write_file
from netassay.runs import database, disk
from netassay.runs.database import SCHEMA, SCHEMA_VERSION
from netassay.runs.disk import is_held

if TYPE_CHECKING:
    from hashlib import _Hash

NAME = "run.sqlite"
DIGEST = "run.sqlite.sha256"
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
        connection.execute(f"PRAGMA journal_mode = {database.mode_for(folder)}")
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
        log = database.is_wal(path)
        hot = before.journal > 0 and not log and not is_held(folder)
        try:
            with _reading(path, before, log=log, hot=hot) as connection:
                database.restrict(connection, before.size + before.wal + before.journal)
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
        with database.rolled_back(path) as copy, closing(_connect(copy, "rw")) as connection:
            yield connection
        return
    with closing(_connect(path, "ro&immutable=1" if log and not before.wal else "ro")) as connection:
        yield connection


def open_for_writing(folder: Path) -> sqlite3.Connection:
    """The connection of the one writer, who holds the run's lock and ends with `close`."""
    connection = _connect(folder / NAME, "rw")
    try:
        database.settle(connection, folder / NAME)
        connection.execute("PRAGMA synchronous = EXTRA")  # as FULL, and the end of a rollback journal is durable too
        _check_schema(connection, folder)
        status(connection)
        (folder / DIGEST).unlink(missing_ok=True)
        sync_folder(folder)
    except BaseException as cause:
        connection.close()
        if isinstance(cause, sqlite3.DatabaseError):
            raise explained(folder, cause) from None
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
    return dict(database.rows(connection, (str, str), "SELECT key, value FROM facts"))


def files(connection: sqlite3.Connection) -> dict[str, str]:
    """Every file that a row names, with its SHA-256."""
    select = "SELECT file, sha256 FROM checkpoints UNION ALL SELECT file, sha256 FROM tables"
    return {disk.checked_file(file): digest for file, digest in database.rows(connection, (str, str), select)}


def status(connection: sqlite3.Connection) -> Status:
    kinds, select = (str, int, str, float), "SELECT state, step, message, seconds FROM status"
    row = next(database.rows(connection, kinds, select), None)
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
    """As `database.check`; StoreError where a newer netassay wrote the run, whose tables may be others."""
    try:
        database.check(connection)
    except sqlite3.DataError:
        kinds, select = (str, str), "SELECT key, value FROM facts WHERE key IN ('schema', 'netassay')"
        is_table = "SELECT 1 FROM sqlite_schema WHERE name = 'facts' AND type = 'table' AND rootpage > 0"
        if connection.execute(is_table).fetchone():
            refuse_newer(folder, dict(database.rows(connection, kinds, select)))
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
        return StoreError(f"{path}: cannot be opened ({cause}); is the disk full? Nothing committed is lost")
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
    files = database.plain_files(path)
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
