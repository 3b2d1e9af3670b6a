"""One interpretation: chapter after chapter, each kept as tables before the next begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from netassay.errors import DataError, NetassayError
from netassay.runs import Run, RunWriter, Store
from netassay.studies.aitac.interpret.chapters import chapter, chosen
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.interpret.subject import Subject
from netassay.training import Checkpoint, Metric, Outcome, Result

NOTE = "note"
"""Table of a chapter that could not be made: one sentence."""


def assay(
    config: InterpretConfig,
    recorder: RunWriter,
    *,
    commit_seconds: float = 10.0,
    watch: Callable[[int, Mapping[Metric, float]], None] = lambda step, values: None,
) -> Result:
    """Makes the chapters that are missing. A chapter that cannot be made leaves its reason, and the next begins.

    A checkpoint is committed after every chapter, whatever `commit_seconds` says.
    """
    names = chosen(config.only)
    subject = Subject(config, Store(recorder.folder.parent))
    digest = subject.weights_digest
    run = Run.open(recorder.folder)
    latest = recorder.latest()
    done = 0 if latest is None else latest.step
    if latest is not None and latest.facts["weights"] != digest:
        raise DataError(
            f"run {config.run} or one of its peers was trained anew since this interpretation began; begin it again "
            "with --from-step 0"
        )
    for name in names[:done]:
        _remember(subject, name, chapter_tables(run, name))
    if latest is None:
        recorder.commit(Checkpoint(0, {}, {"weights": digest}))
    for step, name in enumerate(names[done:], start=done):
        if recorder.stop_requested():
            return Result(Outcome.INTERRUPTED, step, f"stopped before chapter {name}")
        made = _made(name, subject, config)
        for table, frame in made.items():
            recorder.write_table(f"{name}_{table}", frame)
        _remember(subject, name, made)
        values: dict[Metric, float] = {("rows", name): float(sum(frame.height for frame in made.values()))}
        recorder.record(step, values)
        watch(step, values)
        recorder.commit(Checkpoint(step + 1, {}, {"weights": digest}))
    return Result(Outcome.FINISHED, len(names))


def tables(run: Run) -> dict[str, pl.DataFrame]:
    """None beside those that were kept on the way."""
    return {}


def summary(run: Run) -> dict[str, Any]:
    """What was interpreted, and the tables of each chapter, or why there are none."""
    names = chosen(run.config["only"])
    return {
        "interprets": run.config["run"],
        "peers": [name for name in run.config["peers"].split(",") if name],
        "chapters": {name: _told(chapter_tables(run, name)) for name in names},
    }


def chapter_tables(run: Run, name: str) -> dict[str, pl.DataFrame]:
    """The tables of a chapter by their names within it; empty where it was not made yet."""
    others = [other for other in chosen("") if other != name and other.startswith(f"{name}_")]
    held = [
        key
        for key in run.tables()
        if key.startswith(f"{name}_") and not key.startswith(tuple(f"{o}_" for o in others))
    ]
    return {key.removeprefix(f"{name}_"): run.table(key) for key in held}


def _made(name: str, subject: Subject, config: InterpretConfig) -> dict[str, pl.DataFrame]:
    try:
        return chapter(name).tables(subject, config)
    except NetassayError as reason:
        return {NOTE: pl.DataFrame({"text": [str(reason)]})}


def _remember(subject: Subject, name: str, made: Mapping[str, pl.DataFrame]) -> None:
    subject.found |= {(name, table): frame for table, frame in made.items() if table != NOTE}


def _told(made: Mapping[str, pl.DataFrame]) -> Any:
    if NOTE in made:
        return made[NOTE]["text"][0]
    return {table: frame.height for table, frame in made.items()} or None
