"""Checkpoints in a run folder: a row each, and a file of tensors that the row names with its SHA-256."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netassay.errors import RunDamaged, StoreError, reraised
from netassay.runs import disk, ledger
from netassay.runs.ledger import rows

if TYPE_CHECKING:
    from hashlib import _Hash

    from torch import Tensor

    from netassay.training import Checkpoint

FOLDER = "tensors"


def steps(connection: sqlite3.Connection) -> list[int]:
    """Steps of the checkpoints kept, ascending."""
    return [step for (step,) in rows(connection, (int,), "SELECT step FROM checkpoints ORDER BY step")]


def load(connection: sqlite3.Connection, folder: Path, step: int | None = None) -> Checkpoint | None:
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
        return load(connection, folder, step)
    with reraised(lambda cause: RunDamaged(f"{folder / file}: is damaged ({cause}); {_way_on(connection, at)}")):
        return Checkpoint(at, unpack(data), _facts(text))


def facts(connection: sqlite3.Connection) -> dict[str, Any] | None:
    """Facts of the newest checkpoint; None if there is none yet."""
    for (text,) in rows(connection, (str,), "SELECT facts FROM checkpoints ORDER BY step DESC LIMIT 1"):
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
        return next(rows(connection, kinds, f"{select} ORDER BY step DESC LIMIT 1"), None)
    row = next(rows(connection, kinds, f"{select} WHERE step = ?", step), None)
    if row is None:
        choices = ", ".join(map(str, steps(connection))) or "none"
        raise StoreError(f"run {folder.name} has no checkpoint at step {step}; it has: {choices}")
    return row


def _way_on(connection: sqlite3.Connection, damaged: int) -> str:
    older = [step for step in steps(connection) if step < damaged]
    start = max(older, default=0)
    kind = "the older checkpoint" if older else "the start"
    return f"restore it from a copy, or continue from {kind} with from_step={start}"


def pack(tensors: Mapping[str, Tensor]) -> bytes:
    """One safetensors file; tensors that share memory are written separately. StoreError for an unknown dtype."""
    import torch
    from safetensors.torch import save

    # clones, because the format refuses views and shared memory
    apart = {
        name: tensor.detach().to("cpu").clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    try:
        return save(apart)
    except KeyError as unknown:
        odd = [name for name, tensor in apart.items() if tensor.dtype == unknown.args[0]]
        raise StoreError(
            f"tensor {odd or list(apart)} has dtype {unknown}, which safetensors cannot hold; "
            "store it as view_as_real or another dtype"
        ) from None


def unpack(data: bytes) -> dict[str, Tensor]:
    from safetensors.torch import load

    return load(data)


def starting_step(connection: sqlite3.Connection, folder: Path, from_step: int | None) -> int:
    """The step to continue from: `from_step` (a checkpoint's, or 0, the start), else the newest checkpoint's."""
    restorable = steps(connection)
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
        start = max(steps(connection), default=0)
        raise RunDamaged(
            f"{folder / ledger.NAME}: its rows are not those that were written; restore it from a copy, or "
            f"accept them and continue with from_step={start}"
        )
    return metrics


def rewind(connection: sqlite3.Connection, start: int, *, on_request: bool) -> None:
    """Removes the metrics at or after `start` and the checkpoints after it, inside a transaction.

    Going to 0 on request also removes a checkpoint at 0: the start is created again from the config.
    """
    newest = max(steps(connection), default=0)
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
