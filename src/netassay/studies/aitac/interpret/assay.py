"""One interpretation: chapter after chapter, each written as tables before the next begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl

from netassay.errors import DataError, NetassayError
from netassay.runs import Run, RunWriter, Store
from netassay.runs.facts import fact_table
from netassay.studies.aitac.interpret.chapters import attributions, binding, influence, motifs
from netassay.studies.aitac.interpret.config import InterpretConfig, chapter_names
from netassay.studies.aitac.interpret.findings import NOTE, SUBJECT, chapter_tables, table_names
from netassay.studies.aitac.interpret.findings import tables as tables
from netassay.studies.aitac.interpret.subject import Subject, files_digest, outside_files
from netassay.training import Checkpoint, Metric, Result, stages

TABLES: dict[str, Callable[[Subject, InterpretConfig], dict[str, pl.DataFrame]]] = {
    "motifs": motifs.first_layer,
    "second_layer": motifs.second_layer,
    "reproducible": motifs.reproducible,
    "recovery": motifs.recovery,
    "influence": influence.influence,
    "pairs": influence.pairs,
    "binding": binding.tables,
    "attributions": attributions.tables,
}
"""Chapter -> what makes its tables, which are its entire result. NetassayError if it cannot be computed."""


def assay(
    config: InterpretConfig,
    recorder: RunWriter,
    *,
    commit_seconds: float = 10.0,
    watch: Callable[[int, Mapping[Metric, float]], None] = lambda step, values: None,
) -> Result:
    """Makes the missing chapters. A chapter that fails leaves its reason, and the next begins.

    A checkpoint is committed after every chapter, whatever `commit_seconds` says, once a requested one has been made.
    Raises DataError if none of them could be made; a resumed run begins again with these.
    """
    names = chapter_names(config.only)
    files = files_digest(config)
    if "binding" in names and config.chip:
        binding.check_extras(config)
    subject = Subject(config, Store(recorder.folder.parent))
    facts = {"weights": subject.weights_digest, "files": files}
    if not config.run:  # the atlas of a run is the one that it was trained on, or it is refused
        facts["atlas"] = subject.atlas.digest
    run = Run.open(recorder.folder)
    latest = recorder.latest()
    count = 0 if latest is None else latest.step
    if latest is not None and latest.facts["weights"] != facts["weights"]:
        raise DataError(
            f"{f'run {config.run} or one of its peers' if config.run else 'the network'} has other weights than when "
            "this interpretation began; begin it again with --from-step 0"
        )
    if latest is not None and latest.facts.get("atlas", subject.atlas.digest) != subject.atlas.digest:
        raise DataError(
            f"atlas {config.atlas!r} changed since this interpretation began; begin it again with --from-step 0"
        )
    if latest is not None and latest.facts.get("files", files) != files:
        raise DataError(
            f"{' or '.join(outside_files(config))} changed since this interpretation began; begin it again with "
            "--from-step 0"
        )
    for name in names[:count]:
        _remember(subject, name, chapter_tables(run, name))
    if latest is None:
        recorder.write_table(SUBJECT, fact_table(subject.about))
        recorder.commit(Checkpoint(0, {}, facts))

    requested = {*config.only} or {*names}
    reasons = {name: chapter_tables(run, name).get(NOTE) for name in names[:count]}

    def settled() -> bool:
        """Whether the newest chapter was made, or any requested one."""
        return not reasons or [*reasons.values()][-1] is None or any(reasons.get(name, 0) is None for name in requested)

    def make(step: int) -> dict[Metric, float]:
        name = names[step]
        for stale in table_names(run, name):  # of an earlier attempt, whose tables may have differed
            recorder.remove_table(stale)
        frames = _chapter_frames(name, subject, config)
        for table, frame in frames.items():
            recorder.write_table(f"{name}_{table}", frame)
        _remember(subject, name, frames)
        reasons[name] = frames.get(NOTE)
        if step + 1 == len(names) and not any(reasons[name] is None for name in requested):
            explanation = "; ".join(f"{name}: {note['text'][0]}" for name, note in reasons.items() if note is not None)
            raise DataError(f"no chapter could be made ({explanation}); correct this and interpret again")
        return {("rows", name): float(sum(frame.height for frame in frames.values()))}

    titles = [f"chapter {name}" for name in names]
    return stages(recorder, make, facts=lambda: facts, names=titles, settled=settled, watch=watch)


def _chapter_frames(name: str, subject: Subject, config: InterpretConfig) -> dict[str, pl.DataFrame]:
    try:
        if name == "binding" and not config.chip:
            raise DataError("no ChIP-seq is given to compare with; give one: --chip FILE (BED, narrowPeak or FASTA)")
        return TABLES[name](subject, config)
    except NetassayError as reason:
        return {NOTE: pl.DataFrame({"text": [str(reason)]})}


def _remember(subject: Subject, name: str, frames: Mapping[str, pl.DataFrame]) -> None:
    subject.tables |= {(name, table): frame for table, frame in frames.items() if table != NOTE}
