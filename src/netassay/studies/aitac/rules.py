"""Findings of the aitac study in words: the score on unseen chromosomes against its nulls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from netassay.dna.ceiling.verdict import BASELINE, MODEL
from netassay.references import MASLOVA
from netassay.reporting.section import Finding
from netassay.runs import Run, State
from netassay.runs.facts import stored_facts
from netassay.studies.aitac.findings import null_runs, verdict
from netassay.study import command

QUESTION = "What has it learned from DNA?"
READING = (
    "Scores are on peaks that the network never saw. Shuffled peaks: the same network trained on heights that "
    "belong to other peaks, the null of this score."
)
REFERENCES = (MASLOVA,)
NULLS = {
    "dinucleotide": "trained on sequences with shuffled dinucleotides",
    "mononucleotide": "trained on shuffled bases",
    "rows": "trained on shuffled peaks",
    "cells": "trained on shuffled cell types",
}


def findings(runs: Sequence[Run]) -> list[Finding]:
    """Sentences about finished models that have a null model in the same store."""
    sentences = []
    for run in runs:
        if run.state is State.FINISHED and run.config["null"] == "none":
            sentences += [*_correlation(run), *_areas(run)]
    return sentences


def _correlation(run: Run) -> list[Finding]:
    """The verdict on the score, if its difference from every null model has an interval above 0."""
    judged = verdict(run)
    if judged is None:
        return []
    rows = {row["what"]: row for row in judged.table.to_dicts()}
    nulls = {kind: rows[name] for kind in NULLS if (name := f"null: {kind}") in rows}
    if not nulls or any(row["above_low"] is None or row["above_low"] <= 0 for row in nulls.values()):
        return []
    own = rows[MODEL]
    beside = "; ".join(
        f"the same network {NULLS[kind]} gives {_interval(row)}, which is {_interval(row, 'above')} less"
        for kind, row in nulls.items()
    )
    baseline = rows[BASELINE]["r"]
    means = "" if baseline is None else f"; the means of the cell types give {signed(baseline)}"
    of = "of chromosomes " if str(run.config["split"]).startswith("chromosome") else ""
    text = (
        f"{_simulated(run)}On {own['peaks']:,} peaks {of}that it never saw, the network’s predictions "
        f"correlate with the observed heights at mean r = {_interval(own)}; {beside}{means}. (95 % intervals, "
        f"{judged.resampled} resampled; differences on the same peaks.)"
    )
    return [Finding(text, "aitac-score-r", command(run), "Does DNA alone predict accessibility?")]


def _areas(run: Run) -> list[Finding]:
    """AUROC per cell type, if each peak is open in one, beside that of the shuffled peaks."""
    last, null = run.last_values(), null_runs(run).get("rows")
    area = last.get(("auroc", "test"))
    null_area = None if null is None else null.last_values().get(("auroc", "test"))
    if area is None or null_area is None or "cell_types" not in run.tables():
        return []
    table = run.table("cell_types")
    areas = table["AUROC"].drop_nulls() if "AUROC" in table.columns else pl.Series([], dtype=pl.Float64)
    if areas.len() < 2 or areas.min() <= null_area:  # type: ignore[operator]
        return []
    low, high = table.sort("AUROC").row(0, named=True), table.sort("AUROC").row(-1, named=True)
    text = (
        f"{_simulated(run)}DNA alone tells the {areas.len()} cell types apart: mean AUROC {area:.3f}, from "
        f"{low['AUROC']:.3f} ({low['cell type']}) to {high['AUROC']:.3f} ({high['cell type']}); training on shuffled "
        f"peaks gives {null_area:.3f}, guessing 0.5."
    )
    return [Finding(text, "aitac-score-auroc", command(run), "Which cell types does it tell apart?")]


def _simulated(run: Run) -> str:
    simulated = run.config["atlas"] == "simulated" or stored_facts(run, "atlas").get("simulated") is True
    return "SIMULATED DATA: " if simulated else ""


def _interval(row: Mapping[str, Any], name: str = "") -> str:
    value, low, high = (name, f"{name}_low", f"{name}_high") if name else ("r", "low", "high")
    return f"{signed(row[value])} [{signed(row[low])}, {signed(row[high])}]"


def signed(number: float) -> str:
    """A number with three decimals and a minus sign of its own.

    >>> signed(-0.25)
    '−0.250'
    """
    return f"{round(number, 3) + 0.0:.3f}".replace("-", "−")
