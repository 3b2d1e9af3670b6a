"""One interpretation: chapter after chapter, each kept as tables before the next begins."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl

from netassay.errors import DataError, NetassayError
from netassay.formats.jaspar import GROUPS
from netassay.runs import Run, RunWriter, Store
from netassay.studies.aitac.interpret.chapters import chapter
from netassay.studies.aitac.interpret.choices import chosen
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.interpret.findings import NOTE, SUBJECT, chapter_tables, table_names
from netassay.studies.aitac.interpret.findings import tables as tables
from netassay.studies.aitac.interpret.subject import Subject
from netassay.training import Checkpoint, Metric, Result, stages


def assay(
    config: InterpretConfig,
    recorder: RunWriter,
    *,
    commit_seconds: float = 10.0,
    watch: Callable[[int, Mapping[Metric, float]], None] = lambda step, values: None,
) -> Result:
    """Makes the chapters that are missing. A chapter that cannot be made leaves its reason, and the next begins.

    A checkpoint is committed after every chapter, whatever `commit_seconds` says, as soon as one that was asked for was
    made. Raises DataError where none of them could be made; a run that is resumed begins again with these.
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
    facts = {"weights": digest, "files": files}
    if latest is None:
        by = subject.trained_by
        recorder.write_table(SUBJECT, pl.DataFrame({"key": ["atlas", "null"], "value": [by.atlas, by.null]}))
        recorder.commit(Checkpoint(0, {}, facts))

    asked = {word.strip() for word in config.only.split(",") if word.strip()} or {*names}
    reasons = {name: chapter_tables(run, name).get(NOTE) for name in names[:done]}

    def settled() -> bool:
        """Whether the newest chapter was made, or any that was asked for."""
        return (
            not reasons
            or [*reasons.values()][-1] is None
            or any(reasons.get(name, 0) is None for name in asked)
        )

    def make(step: int) -> dict[Metric, float]:
        name = names[step]
        for stale in table_names(run, name):  # of an earlier beginning, whose tables may have been others
            recorder.remove_table(stale)
        made = _made(name, subject, config)
        for table, frame in made.items():
            recorder.write_table(f"{name}_{table}", frame)
        _remember(subject, name, made)
        reasons[name] = made.get(NOTE)
        if step + 1 == len(names) and not any(reasons[name] is None for name in asked):
            told = "; ".join(
                f"{name}: {note['text'][0]}" for name, note in reasons.items() if note is not None
            )
            raise DataError(f"no chapter could be made ({told}); mend what is named, and interpret again")
        return {("rows", name): float(sum(frame.height for frame in made.values()))}

    titles = [f"chapter {name}" for name in names]
    return stages(recorder, make, facts=lambda: facts, names=titles, settled=settled, watch=watch)


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
