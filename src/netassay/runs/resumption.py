"""What a writer does before it continues: checks the rows, goes back to a checkpoint, records changes."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netassay.errors import RunDamaged, StoreError
from netassay.runs import checkpoints, ledger

if TYPE_CHECKING:
    from hashlib import _Hash


def starting_step(connection: sqlite3.Connection, folder: Path, from_step: int | None) -> int:
    """The step to continue from: `from_step` (a checkpoint's, or 0, the start), else the newest checkpoint's."""
    steps = checkpoints.steps(connection)
    if from_step is None:
        return max(steps, default=0)
    if from_step not in {0, *steps}:
        allowed = ", ".join(map(str, sorted({0, *steps})))
        raise StoreError(f"run {folder.name} has no checkpoint at step {from_step}; from_step may be one of {allowed}")
    return from_step


def trusted_metrics(connection: sqlite3.Connection, folder: Path, before: int, *, accepted: bool) -> _Hash:
    """The hash of the metrics of the steps before `before`. RunDamaged if a row changed, unless accepted."""
    metrics = hashlib.sha256()
    ledger.absorb(metrics, ledger.metric_rows(connection, "step < ?", before))
    digest = metrics.copy()
    ledger.absorb(digest, ledger.metric_rows(connection, "step >= ?", before))
    if not accepted and not ledger.is_sealed(connection, digest):
        start = max(checkpoints.steps(connection), default=0)
        raise RunDamaged(
            f"{folder / ledger.NAME}: its rows are not those that were written; restore it from a copy, or "
            f"accept them and continue with from_step={start}"
        )
    return metrics


def rewind(connection: sqlite3.Connection, start: int, *, on_request: bool) -> None:
    """Removes the metrics at or after `start` and the checkpoints after it, inside a transaction.

    Going to 0 on request also removes a checkpoint at 0: the start is created again from the config.
    """
    newest = max(checkpoints.steps(connection), default=0)
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
