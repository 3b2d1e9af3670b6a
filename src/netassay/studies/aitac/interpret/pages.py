"""The aitac-interpret part of a report: the chapters of each interpretation, drawn from their tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import polars as pl

from netassay.reporting import Note, Section, Table
from netassay.runs import Run, State
from netassay.runs.facts import fact_words, stored_facts
from netassay.studies.aitac.interpret.config import EXTRAS, TITLES, InterpretConfig, chapter_names
from netassay.studies.aitac.interpret.findings import NOTE, SUBJECT, chapter_tables, interpreted
from netassay.studies.aitac.interpret.sections import attributions, binding, influence, motifs

SECTIONS: dict[str, Callable[[Mapping[str, pl.DataFrame], InterpretConfig], Section]] = {
    "motifs": motifs.first_layer,
    "second_layer": motifs.second_layer,
    "reproducible": motifs.reproducible,
    "recovery": motifs.recovery,
    "influence": influence.influence,
    "pairs": influence.pairs,
    "binding": binding.section,
    "attributions": attributions.section,
}
"""Chapter -> its figures, tables and notes, drawn from the chapter's tables alone."""

_NULLS = {
    "rows": "heights permuted over the peaks",
    "cells": "heights permuted within each peak",
    "mononucleotide": "sequences shuffled base by base",
    "dinucleotide": "sequences shuffled, keeping their dinucleotides",
}


def sections(runs: Sequence[Run]) -> list[Section]:
    """The chapters of the given interpretations, in any state."""
    if not runs:
        return [Section("What the network learned", items=(Note("There are no interpretations."),))]
    return [section for number, run in enumerate(runs, 1) for section in _interpretation(run, number, len(runs) > 1)]


def _interpretation(run: Run, number: int, several: bool) -> list[Section]:
    config = InterpretConfig.from_mapping(run.config, where=str(run.folder))
    of = f"Interpretation {run.id} of {'run ' if config.run else ''}{interpreted(run.config)}"
    head: list[Note | Table] = (
        [] if run.state is State.FINISHED else [Note(f"{run.id}: {run.state}. {run.message}".strip(), "info")]
    )
    about = stored_facts(run, SUBJECT)
    if (null := about.get("null", "none")) != "none":
        head.append(Note(f"This is a NULL MODEL: it was trained on {_NULLS[null]}.", "warning"))
    if not config.run and SUBJECT in run.tables():
        words = "The network is not of this store: its files, their contents, and how it was applied."
        head.append(Table("interpreted-network", "The network", words, fact_words(run.table(SUBJECT))))
    chapters = {name: chapter_tables(run, name) for name in chapter_names(config.only)}
    # a chapter that was not requested and had no input is no warning
    omitted = {
        name: frames for name, frames in chapters.items() if NOTE in frames and name in EXTRAS and not config.only
    }
    reasons = {name: frames[NOTE]["text"][0] for name, frames in omitted.items()}
    head += [Note(f"Left out: {TITLES[name]}. {why[:1].upper()}{why[1:]}.") for name, why in reasons.items()]
    parts = [Section("What the network learned", f"{of}.", tuple(head))]
    for name, frames in chapters.items():
        if name in omitted or not frames:
            continue
        if NOTE in frames:
            parts.append(Section(TITLES.get(name, name), items=(Note(frames[NOTE]["text"][0], "warning"),)))
        else:
            section = SECTIONS[name](frames, config)
            parts.append(section.numbered(number, run.id) if several else section)
    return parts
