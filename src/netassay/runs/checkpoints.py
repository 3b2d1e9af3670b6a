"""Checkpoints in a run folder: a row each, and a file of tensors that the row names with its SHA-256."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netassay.errors import RunDamaged, StoreError, reraised
from netassay.runs import disk
from netassay.runs.schema import rows

if TYPE_CHECKING:
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
