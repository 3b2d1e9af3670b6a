"""The only code that writes a run: one process at a time, one transaction per commit.

A checkpoint is a row, and a file of tensors that the row names with its SHA-256.
"""

from __future__ import annotations

import hashlib
import io
import json
import operator
import sqlite3
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from netassay.errors import Interrupted, NetassayError, RunDamaged, RunFailed, StoreError, reraised
from netassay.files import is_temporary, write_file
from netassay.runs import disk, ledger
from netassay.runs.disk import Lock
from netassay.runs.folders import State, stored_state

if TYPE_CHECKING:
    from hashlib import _Hash

    import polars as pl

    from netassay.training import Checkpoint, Metric

TENSORS, TABLES = "tensors", "tables"
ENDS = (State.FINISHED, State.DIVERGED, State.INTERRUPTED, State.FAILED)


class RunWriter:
    """Writes one run and holds its lock until closed; a `netassay.training.Recorder`.

    Opening a run that is not final removes, with an event, what was recorded at or after its newest
    checkpoint: it is measured again. A final run (finished, diverged) accepts only tables.
    Raises RunLocked, RunDamaged, StoreError on opening; RunFailed when the disk refuses a write.
    """

    def __init__(
        self, folder: Path, environment: Mapping[str, Any], *, from_step: int | None = None, keep: int = 2
    ) -> None:
        if keep < 1:
            raise StoreError(f"keep={keep}: at least 1 checkpoint must be kept")
        self.folder = folder
        self._keep = keep
        self._stop = False
        self._closed = False
        self._floor = 0
        self._earlier_seconds = 0.0
        self._ended: State | None = None
        self._buffer: dict[tuple[int, str, str], float] = {}
        self._started = time.monotonic()
        self._lock = Lock(folder)
        try:
            self._connection = ledger.open_for_writing(folder)
        except BaseException:
            self._lock.release()
            raise
        try:
            with self._guarded("opening it"):
                for name in (TENSORS, TABLES):
                    (folder / name).mkdir(exist_ok=True)  # a copying tool may have left out an empty one
                self._open(dict(environment), from_step)
                self._clean()
        except BaseException:
            self.close()
            raise

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint, its bytes checked; None at the start."""
        return load_checkpoint(self._connection, self.folder)

    def record(self, step: int, values: Mapping[Metric, float]) -> None:
        """Keeps the numbers of one step for the next commit. StoreError if one is given twice or too late."""
        self._require_open()
        if step < self._floor:
            raise StoreError(
                f"run {self.folder.name}: metrics of step {step} come after the commit at {self._floor}; "
                "record a step before the checkpoint that follows it"
            )
        step = operator.index(step)  # SQLite would store a NumPy integer as bytes
        rows = {(step, *_name_and_part(metric)): float(value) for metric, value in values.items()}
        twice = rows.keys() & self._buffer.keys()
        if twice or len(rows) < len(values):
            raise StoreError(f"run {self.folder.name}: recorded twice: {sorted(twice) or sorted(rows)}")
        self._buffer |= rows

    def commit(self, checkpoint: Checkpoint) -> None:
        """Makes the checkpoint and all metrics recorded so far durable, both or neither."""
        self._require_open()
        step = operator.index(checkpoint.step)
        late = max((key[0] for key in self._buffer), default=step - 1)
        if late >= step or step < self._floor:
            raise StoreError(
                f"run {self.folder.name}: a checkpoint at step {step} must not be older than the one at "
                f"{self._floor}, and newer than every metric recorded (newest: step {late})"
            )
        facts = ledger.canonical(checkpoint.facts)
        with self._guarded(f"committing step {step}"):
            data = disk.pack(checkpoint.tensors)
            digest = disk.sha256(data)
            file = self._write_new(f"{TENSORS}/step-{step}.safetensors", digest, data)
            with self._transaction(self._buffer):
                row = (step, file, digest, len(data), facts, self._seconds(), ledger.now())
                self._connection.execute("REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?)", row)
                oldest = checkpoint_steps(self._connection)[-self._keep :][0]
                self._connection.execute("DELETE FROM checkpoints WHERE step < ?", (oldest,))
                self._set_status(State.RUNNING, step, "")
            self._floor = step
            self._clean()

    def note(self, step: int, kind: str, text: str) -> None:
        """Records an event of the run at once; `kind` is one word."""
        self._require_open()
        with self._guarded(f"noting an event at step {step}"), self._transaction({}):
            ledger.add_event(self._connection, operator.index(step), kind, text)

    def diverged(self, step: int, message: str) -> None:
        """Ends the run as diverged; checkpoints at or after `step` are removed, so that the newest is finite."""
        self.finish(State.DIVERGED, step=step, message=message)

    def finish(self, state: str, *, step: int, message: str = "") -> None:
        """Ends the run as finished, diverged, interrupted or failed, and commits all recorded metrics."""
        self._require_open()
        end = self._end_of(state)
        with self._guarded(f"ending it as {end} at step {step}"):
            with self._transaction(self._buffer):
                self._drop_late(end, step)
                self._set_status(end, step, message)
                ledger.add_event(self._connection, step, end, message)
            self._ended = end
            self._clean()

    def settle(self, state: str, *, step: int, message: str = "") -> None:
        """Makes all recorded metrics durable, for the tables of a run that is about to end as `state`.

        It is still running: if killed now, it continues from its newest checkpoint.
        """
        self._require_open()
        end = self._end_of(state)
        with self._guarded(f"settling it at step {step}"), self._transaction(self._buffer):
            self._drop_late(end, step)
            self._set_status(State.RUNNING, step, message)

    def _end_of(self, state: str) -> State:
        if state not in ENDS:
            raise StoreError(f"run {self.folder.name} cannot end as {state!r}; allowed: {', '.join(ENDS)}")
        return State(state)

    def _drop_late(self, end: State, step: int) -> None:
        if end is State.DIVERGED:
            self._connection.execute("DELETE FROM checkpoints WHERE step >= ?", (step,))

    def write_table(self, name: str, frame: pl.DataFrame) -> None:
        """Writes a finished table, replacing one of the same name."""
        disk.checked_name("table", name)
        self._require_held()
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        data = buffer.getvalue()
        digest = disk.sha256(data)
        with self._guarded(f"writing table {name}"):
            file = self._write_new(f"{TABLES}/{name}.parquet", digest, data)
            with self._transaction({}):
                row = (name, file, digest, frame.height)
                self._connection.execute("REPLACE INTO tables VALUES (?, ?, ?, ?)", row)
            self._clean()

    def remove_table(self, name: str) -> None:
        """Removes a table; does nothing if there is none of that name."""
        self._require_held()
        with self._guarded(f"removing table {name}"):
            with self._transaction({}):
                self._connection.execute("DELETE FROM tables WHERE name = ?", (name,))
            self._clean()

    def stop_requested(self) -> bool:
        """Whether `request_stop` was called."""
        return self._stop

    def request_stop(self) -> None:
        """Asks the loop to stop at its next step; safe in a signal handler."""
        self._stop = True

    def close(self) -> None:
        """Releases the run; the state stays what was last committed."""
        if not self._closed:
            self._closed = True
            ledger.close(self._connection, self.folder)
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._ended is None:
                self._end_early(error)
        finally:
            self.close()

    def _end_early(self, error: BaseException | None) -> None:
        if error is None:
            self.finish(State.INTERRUPTED, step=self._floor, message="closed before it was finished")
            return
        failed = isinstance(error, Exception) and not isinstance(error, Interrupted)
        end = State.FAILED if failed else State.INTERRUPTED
        message = f"{type(error).__name__}: {error}"
        try:
            self.finish(end, step=self._floor, message=message)
        except NetassayError:
            # the original error matters more; without metrics, which are measured again anyway, there may be room
            self._buffer.clear()
            with suppress(NetassayError):
                self.finish(end, step=self._floor, message=message)

    def _open(self, environment: Mapping[str, Any], from_step: int | None) -> None:
        status = ledger.status(self._connection)
        state, self._earlier_seconds = stored_state(self.folder, status), status.seconds
        start = starting_step(self._connection, self.folder, from_step)
        on_request = from_step is not None
        if state.is_final and not on_request:
            self._ended, start = state, sys.maxsize
        self._metrics = trusted_metrics(self._connection, self.folder, start, accepted=on_request)
        if self._ended is not None:
            return
        with self._transaction({}):
            if state is State.RUNNING:
                text = "the process that wrote it ended without closing it"
                ledger.add_event(self._connection, start, "killed", text)
            kind = "started" if state is State.PLANNED else "resumed"
            ledger.add_event(self._connection, start, kind, f"was {state}")
            rewind(self._connection, start, on_request=on_request)
            note_environment(self._connection, environment, start)
            self._set_status(State.RUNNING, start, "")
        self._floor = start

    def _write_new(self, file: str, digest: str, data: bytes) -> str:
        """Writes `data` under a name that no row has (unless for the same bytes), and returns the name."""
        if ledger.files(self._connection).get(file, digest) != digest:
            plain = PurePosixPath(file)
            file = str(plain.with_suffix(f".{digest[:8]}{plain.suffix}"))
        write_file(self.folder / file, data, refusal=None)
        return file

    def _clean(self) -> None:
        """Removes files that no row names: replaced ones, and what a killed writer left."""
        for path in list(_litter(self.folder, ledger.files(self._connection))):
            path.unlink()

    @contextmanager
    def _transaction(self, buffered: dict[tuple[int, str, str], float]) -> Iterator[None]:
        """A ledger transaction that includes the buffered metrics and then empties the buffer."""
        rows = sorted((*key, value) for key, value in buffered.items())
        metrics = self._metrics.copy()
        ledger.absorb(metrics, rows)
        with ledger.transaction(self._connection, metrics):
            self._connection.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?)", rows)
            yield
        self._metrics = metrics
        buffered.clear()

    @contextmanager
    def _guarded(self, doing: str) -> Iterator[None]:
        """Turns refused writes into RunFailed, with what is intact and what to do."""
        try:
            yield
        except sqlite3.ProgrammingError:
            raise  # misuse (another thread, say), not a fault of the disk
        except (OSError, sqlite3.DatabaseError) as cause:
            if isinstance(cause, sqlite3.DatabaseError) and not ledger.is_refused_write(cause):
                raise ledger.explained(self.folder, cause) from cause
            with suppress(OSError, sqlite3.DatabaseError):
                self._clean()
            raise RunFailed(f"run {self.folder.name}: {doing} failed ({cause}); {self._intact()}") from cause

    def _intact(self) -> str:
        intact: list[int] = []
        with suppress(sqlite3.DatabaseError):
            intact = checkpoint_steps(self._connection)
        state = f"the checkpoint at step {intact[-1]} is intact" if intact else "nothing had been committed yet"
        return f"{state}; free space on {self.folder.parent} (or raise the file size limit), then resume the run"

    def _set_status(self, state: State, step: int, message: str) -> None:
        ledger.set_status(self._connection, state, step, message, self._seconds())

    def _seconds(self) -> float:
        return self._earlier_seconds + time.monotonic() - self._started

    def _require_held(self) -> None:
        if self._closed:
            raise StoreError(f"run {self.folder.name}: this writer is closed; open another")

    def _require_open(self) -> None:
        self._require_held()
        if self._ended is not None:
            raise StoreError(f"run {self.folder.name} is {self._ended}; nothing but tables can be added")


def sweep(folder: Path) -> None:
    """Removes what a killed writer left in a run that no writer will open again; nothing while it is written."""
    with suppress(NetassayError, OSError):
        if not any(_litter(folder, ledger.read(folder, ledger.files))):
            return  # an intact run is left alone, its lock too
        own = Lock(folder)
        try:
            for path in list(_litter(folder, ledger.read(folder, ledger.files))):
                path.unlink()
        finally:
            own.release()


def _litter(folder: Path, recorded: Collection[str]) -> Iterator[Path]:
    """Files that no row names: replaced ones, and what a killed writer left."""
    yield from (path for path in folder.iterdir() if is_temporary(path.name))
    for room in (TENSORS, TABLES):
        for path in (folder / room).iterdir():
            if f"{room}/{path.name}" not in recorded and disk.is_ours(path.name):
                yield path


@lru_cache(maxsize=65536)
def _name_and_part(metric: Metric) -> tuple[str, str]:
    name, part = (metric, "") if isinstance(metric, str) else metric
    if not name or not (name + part).isprintable():
        raise StoreError(f"metric {metric!r} is refused: give a name, and control characters in neither part")
    return name, part


def checkpoint_steps(connection: sqlite3.Connection) -> list[int]:
    """Steps of the checkpoints kept, ascending."""
    return [step for (step,) in ledger.rows(connection, (int,), "SELECT step FROM checkpoints ORDER BY step")]


def load_checkpoint(connection: sqlite3.Connection, folder: Path, step: int | None = None) -> Checkpoint | None:
    """The checkpoint at `step` or the newest; None if there is none yet. RunDamaged if its bytes changed."""
    from netassay.training import Checkpoint

    row = _row(connection, folder, step)
    if row is None:
        return None
    at, file, expected, text, size = row
    try:
        data = disk.read_checked(folder, disk.checked_file(file), expected, _way_on(connection, at), size)
    except RunDamaged:
        # the writer may have moved on and removed the file since the row was read
        if _row(connection, folder, step) == row:
            raise
        return load_checkpoint(connection, folder, step)
    with reraised(lambda cause: RunDamaged(f"{folder / file}: is damaged ({cause}); {_way_on(connection, at)}")):
        return Checkpoint(at, disk.unpack(data), _facts(text))


def checkpoint_facts(connection: sqlite3.Connection) -> dict[str, Any] | None:
    """Facts of the newest checkpoint; None if there is none yet."""
    for (text,) in ledger.rows(connection, (str,), "SELECT facts FROM checkpoints ORDER BY step DESC LIMIT 1"):
        return _facts(text)
    return None


def _facts(text: str) -> dict[str, Any]:
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        raise sqlite3.DataError(f"facts of a checkpoint are {text!r:.80}")
    return facts


def _row(connection: sqlite3.Connection, folder: Path, step: int | None) -> tuple[Any, ...] | None:
    kinds, select = (int, str, str, str, int), "SELECT step, file, sha256, facts, bytes FROM checkpoints"
    if step is None:
        return next(ledger.rows(connection, kinds, f"{select} ORDER BY step DESC LIMIT 1"), None)
    row = next(ledger.rows(connection, kinds, f"{select} WHERE step = ?", step), None)
    if row is None:
        choices = ", ".join(map(str, checkpoint_steps(connection))) or "none"
        raise StoreError(f"run {folder.name} has no checkpoint at step {step}; it has: {choices}")
    return row


def _way_on(connection: sqlite3.Connection, damaged: int) -> str:
    older = [step for step in checkpoint_steps(connection) if step < damaged]
    start = max(older, default=0)
    kind = "the older checkpoint" if older else "the start"
    return f"restore it from a copy, or continue from {kind} with from_step={start}"


def starting_step(connection: sqlite3.Connection, folder: Path, from_step: int | None) -> int:
    """The step to continue from: `from_step` (a checkpoint's, or 0, the start), else the newest checkpoint's."""
    restorable = checkpoint_steps(connection)
    if from_step is None:
        return max(restorable, default=0)
    if from_step not in {0, *restorable}:
        allowed = ", ".join(map(str, sorted({0, *restorable})))
        raise StoreError(f"run {folder.name} has no checkpoint at step {from_step}; from_step may be one of {allowed}")
    return from_step


def trusted_metrics(connection: sqlite3.Connection, folder: Path, before: int, *, accepted: bool) -> _Hash:
    """The hash of the metrics of the steps before `before`. RunDamaged if a row changed, unless accepted."""
    metrics = hashlib.sha256()
    ledger.absorb(metrics, ledger.metric_rows(connection, "step < ?", before))
    digest = metrics.copy()
    ledger.absorb(digest, ledger.metric_rows(connection, "step >= ?", before))
    if not accepted and not ledger.is_sealed(connection, digest):
        start = max(checkpoint_steps(connection), default=0)
        raise RunDamaged(
            f"{folder / ledger.NAME}: its rows are not those that were written; restore it from a copy, or "
            f"accept them and continue with from_step={start}"
        )
    return metrics


def rewind(connection: sqlite3.Connection, start: int, *, on_request: bool) -> None:
    """Removes the metrics at or after `start` and the checkpoints after it, inside a transaction.

    Going to 0 on request also removes a checkpoint at 0: the start is created again from the config.
    """
    newest = max(checkpoint_steps(connection), default=0)
    removed = connection.execute("DELETE FROM metrics WHERE step >= ?", (start,)).rowcount
    connection.execute("DELETE FROM checkpoints WHERE step > ?", (-1 if on_request and start == 0 else start,))
    if on_request:
        ledger.add_event(connection, start, "rewound", f"on request, from step {newest} to {start}")
    if removed:
        text = f"{removed} metrics from step {start} on, to be measured again"
        ledger.add_event(connection, start, "removed", text)


def note_environment(connection: sqlite3.Connection, environment: Mapping[str, Any], step: int) -> None:
    """Keeps the first environment as a fact, and every change from one writer to the next as an event."""
    text = ledger.canonical(environment)
    facts = ledger.facts(connection)
    last = json.loads(facts.get("environment.last", text))
    changes = [
        f"{key}: {last.get(key)} -> {environment.get(key)}"
        for key in sorted(last.keys() | environment.keys())
        if last.get(key) != environment.get(key)
    ]
    if changes:
        ledger.add_event(connection, step, "environment", "; ".join(changes))
    entries = {"environment": facts.get("environment", text), "environment.last": text}
    connection.executemany("REPLACE INTO facts VALUES (?, ?)", entries.items())
