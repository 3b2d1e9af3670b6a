"""Runs of any study written by hand, for what reads them."""

from pathlib import Path
from typing import Any

import polars as pl

from netassay.runs import Run
from netassay.study import find
from netassay.training import Checkpoint


def hand_made(
    store: Path,
    study: str,
    metrics: list[tuple[int, str, str, float]],
    tables: dict[str, pl.DataFrame] | None = None,
    *,
    outcome: str = "finished",
    facts: dict[str, Any] | None = None,
    **config: Any,
) -> Run:
    """A run with these rows of (step, name, part, value) and tables, ended as told."""
    settings = find(study, tracked=True).config(**config)
    run = Run.create(store, study=study, config=settings.mapping(), digest=settings.digest)
    steps: dict[int, dict[tuple[str, str], float]] = {0: {}}
    for step, name, part, value in metrics:
        steps.setdefault(step, {})[name, part] = value
    with run.writer({}) as writer:
        for step, values in sorted(steps.items()):
            writer.record(step, values)
        for name, table in (tables or {}).items():
            writer.write_table(name, table)
        if facts is not None:
            writer.commit(Checkpoint(max(steps) + 1, {}, facts))
        writer.finish(outcome, step=max(steps) + (facts is not None))
    return run
