"""One interpretation: chapter after chapter, each kept as tables before the next begins."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl

from netassay.errors import DataError, NetassayError
from netassay.formats.jaspar import GROUPS
from netassay.runs import Run, RunWriter, Store
from netassay.studies.aitac.interpret.chapters import chapter
from netassay.studies.aitac.interpret.choices import chosen
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.interpret.findings import NOTE, SUBJECT, _keys, chapter_tables
from netassay.studies.aitac.interpret.findings import tables as tables
from netassay.studies.aitac.interpret.subject import Subject
from netassay.training import Checkpoint, Metric, Outcome, Result


def assay(
    config: InterpretConfig,
    recorder: RunWriter,
    *,
    commit_seconds: float = 10.0,
    watch: Callable[[int, Mapping[Metric, float]], None] = lambda step, values: None,
) -> Result:
    """Makes the chapters that are missing. A chapter that cannot be made leaves its reason, and the next begins.

    A checkpoint is committed after every chapter that was made, whatever `commit_seconds` says. Raises DataError where
    none of the chapters asked for could be made; when the run is resumed, those after the last one made begin again.
    """
    names = chosen(config.only)
    files = files_digest(config)
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
    if latest is not None and latest.facts.get("files", files) != files:
        raise DataError(
            f"{' or '.join(outside_files(config))} changed since this interpretation began; begin it again with "
            "--from-step 0"
        )
    for name in names[:done]:
        _remember(subject, name, chapter_tables(run, name))
    if latest is None:
        by = subject.trained_by
        recorder.write_table(SUBJECT, pl.DataFrame({"key": ["atlas", "null"], "value": [by.atlas, by.null]}))
        recorder.commit(Checkpoint(0, {}, {"weights": digest, "files": files}))
    for step, name in enumerate(names[done:], start=done):
        if recorder.stop_requested():
            return Result(Outcome.INTERRUPTED, step, f"stopped before chapter {name}")
        for stale in _keys(run, name):  # of an earlier beginning, whose tables may have been others
            recorder.remove_table(stale)
        made = _made(name, subject, config)
        for table, frame in made.items():
            recorder.write_table(f"{name}_{table}", frame)
        _remember(subject, name, made)
        values: dict[Metric, float] = {("rows", name): float(sum(frame.height for frame in made.values()))}
        recorder.record(step, values)
        watch(step, values)
        if NOTE not in made:
            recorder.commit(Checkpoint(step + 1, {}, {"weights": digest, "files": files}))
    _refuse_nothing(run, config, names)
    if done < len(names):
        recorder.commit(Checkpoint(len(names), {}, {"weights": digest, "files": files}))
    return Result(Outcome.FINISHED, len(names))


def _refuse_nothing(run: Run, config: InterpretConfig, names: Sequence[str]) -> None:
    """DataError, with the reasons, if every chapter that was asked for left one in place of its tables."""
    asked = {word.strip() for word in config.only.split(",") if word.strip()} or {*names}
    reasons = {name: chapter_tables(run, name).get(NOTE) for name in names if name in asked}
    if all(reason is not None for reason in reasons.values()):
        told = "; ".join(
            f"{name}: {frame['text'][0]}" for name, frame in reasons.items() if frame is not None
        )
        raise DataError(f"no chapter could be made ({told}); mend what is named, and interpret again")


def outside_files(config: InterpretConfig) -> tuple[str, ...]:
    """Files outside the store that it reads: of ChIP-seq, and of known motifs where no group is named."""
    named = (config.chip, "" if config.motif_database in GROUPS else config.motif_database)
    return tuple(name for name in named if name)


def files_digest(config: InterpretConfig) -> str:
    """SHA-256 over the bytes of these files: tells that one of them changed. DataError for one that cannot be read."""
    found = hashlib.sha256()
    for name in outside_files(config):
        try:
            with Path(name).open("rb") as file:
                found.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            key = "chip" if name == config.chip else "motif_database"
            groups = "" if key == "chip" else f", or one of {', '.join(GROUPS)}"
            raise DataError(
                f"{key} = {name!r}: cannot be read ({error.strerror or error}); give a file that is there{groups}"
            ) from error
    return found.hexdigest()


def _made(name: str, subject: Subject, config: InterpretConfig) -> dict[str, pl.DataFrame]:
    try:
        return chapter(name).tables(subject, config)
    except NetassayError as reason:
        return {NOTE: pl.DataFrame({"text": [str(reason)]})}


def _remember(subject: Subject, name: str, made: Mapping[str, pl.DataFrame]) -> None:
    subject.found |= {(name, table): frame for table, frame in made.items() if table != NOTE}
