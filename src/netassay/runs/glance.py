"""A look at a run in progress: everything that is shown meanwhile, in one read."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from netassay.runs import ledger
from netassay.runs.writer import checkpoint_facts


class Glance(NamedTuple):
    """A run at one moment: `numbers` of one metric by step, `floor` the last of another.

    `step` and `seconds` are those of the last commit, `updated` its time in seconds since 1970, `steps` the last step,
    if the run has recorded it.
    """

    state: str
    step: int
    seconds: float
    updated: float
    steps: int | None
    numbers: tuple[float, ...]
    floor: float | None


def glance(folder: Path, name: str, part: str, above: tuple[str, str] | None = None) -> Glance:
    """A look at the metric `name` of `part`, and at the metric `above`. StoreError if the run cannot be read."""

    def ask(connection: sqlite3.Connection) -> Glance:
        row = connection.execute("SELECT state, step, seconds, updated FROM status").fetchone()
        if row is None:
            raise sqlite3.DataError("it has lost its status")
        state, step, seconds, updated = row
        steps = (checkpoint_facts(connection) or {}).get("steps")
        floor = _values(connection, *above)[-1:] if above else ()
        moment = datetime.fromisoformat(updated).timestamp()
        return Glance(state, step, seconds, moment, steps, _values(connection, name, part), next(iter(floor), None))

    return ledger.read(folder, ask)


def mark(folder: Path) -> tuple[float, ...]:
    """Values that differ after a commit, without opening the run; empty if there is none."""
    stats: list[float] = []
    for name in (ledger.NAME, f"{ledger.NAME}-wal"):
        try:
            status = (folder / name).stat()
        except OSError:
            continue
        stats += [status.st_mtime_ns, status.st_size]
    return tuple(stats)


def _values(connection: sqlite3.Connection, name: str, part: str) -> tuple[float, ...]:
    rows = connection.execute(
        "SELECT value FROM metrics WHERE name = ? AND part = ? AND value IS NOT NULL ORDER BY step",
        (name, part),
    )
    return tuple(value for (value,) in rows)
