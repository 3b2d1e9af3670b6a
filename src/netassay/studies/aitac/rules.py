"""Findings of the aitac study in words: the score on unseen chromosomes against its nulls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from netassay.references import MASLOVA
from netassay.reporting.finding import Finding
from netassay.runs import Run, State
from netassay.studies.aitac.findings import atlas_facts, null_runs
from netassay.wording import command

QUESTION = "What has it learned from DNA?"
READING = (
    "Scores are on chromosomes that the network never saw. Shuffled peaks: the same network trained on heights that "
    "belong to other peaks, the null of this score."
)
REFERENCES = (MASLOVA,)
NULLS = {"rows": "trained on shuffled peaks", "cells": "trained on shuffled cell types"}
Z = 1.96
"""Standard errors of a 95 % interval."""


class Score(NamedTuple):
    """Mean r over test peaks with the 95 % interval of a mean of independent peaks."""

    mean: float
    low: float
    high: float
    peaks: int


def findings(runs: Sequence[Run]) -> list[Finding]:
    """Sentences about finished models that have a null model in the same store."""
    sentences = []
    for run in runs:
        if run.state is State.FINISHED and run.config["null"] == "none":
            sentences += [*_correlation(run), *_areas(run)]
    return sentences


def score(run: Run) -> Score | None:
    """Mean r over the test peaks of a finished run."""
    if "peaks" not in run.tables():
        return None
    values = run.table("peaks")["r"].drop_nulls().drop_nans()
    if values.len() < 2:
        return None
    mean, error = float(values.mean()), Z * float(values.std()) / math.sqrt(values.len())  # type: ignore[arg-type]
    return Score(mean, mean - error, mean + error, values.len())


def _correlation(run: Run) -> list[Finding]:
    own, nulls = score(run), {kind: score(null_run) for kind, null_run in null_runs(run).items()}
    scored = {kind: null for kind, null in nulls.items() if null is not None}
    if own is None or not scored or any(own.low <= null.high for null in scored.values()):
        return []
    beside = "; ".join(
        f"the same network {NULLS.get(kind, f'with null {kind}')} gives {_interval(null)}"
        for kind, null in scored.items()
    )
    baseline = run.last_values().get(("r_mean", "baseline"))
    stated = baseline is not None and math.isfinite(baseline)
    means = f"; the means of the cell types give {_signed(baseline)}" if stated else ""  # type: ignore[arg-type]
    text = (
        f"{_simulated(run)}On {own.peaks:,} peaks of chromosomes that it never saw, the network’s predictions "
        f"correlate with the observed heights at mean r = {_interval(own)}; {beside}{means}. (95 % intervals over "
        "peaks.)"
    )
    return [Finding(text, "aitac-score-r", command(run), "Does DNA alone predict accessibility?")]


def _areas(run: Run) -> list[Finding]:
    """AUROC per cell type, if each peak is open in one, beside that of the shuffled peaks."""
    last, null = run.last_values(), null_runs(run).get("rows")
    area = last.get(("auroc", "test"))
    null_area = None if null is None else null.last_values().get(("auroc", "test"))
    own = score(run)
    if area is None or null_area is None or own is None:
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
    simulated = run.config["atlas"] == "simulated" or atlas_facts(run).get("simulated") is True
    return "SIMULATED DATA: " if simulated else ""


def _interval(value: Score) -> str:
    return f"{_signed(value.mean)} [{_signed(value.low)}, {_signed(value.high)}]"


def _signed(number: float) -> str:
    return f"{round(number, 3) + 0.0:.3f}".replace("-", "−")
