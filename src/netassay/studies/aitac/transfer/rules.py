"""Findings of a transfer in words: the score on the other atlas against its nulls, and which filters matter there."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from netassay.dna.ceiling.bootstrap import blocks_of, mean_interval
from netassay.references import MASLOVA
from netassay.reporting.section import Finding
from netassay.runs import Run, State
from netassay.runs.facts import stored_facts
from netassay.studies.aitac.rules import signed
from netassay.studies.aitac.transfer.findings import CEILING, FILTERS, LOSS, MAP, NULL, OTHER, ROWS, TRANSFER
from netassay.study import command

QUESTION = "Does what it learned hold in another atlas?"
READING = (
    "Predictions for the peaks of another atlas, whose heights the network never saw. Nulls: heights of other peaks, "
    "and maps that pair every cell type wrongly; bars are the smallest and largest draw."
)
REFERENCES = (MASLOVA,)


def findings(runs: Sequence[Run]) -> list[Finding]:
    """Sentences about finished transfers."""
    return [
        sentence
        for run in runs
        if run.state is State.FINISHED and "scores" in run.tables()
        for sentence in (*_score(run), *_ranks(run))
    ]


def _score(run: Run) -> list[Finding]:
    """Mean r, if its interval lies above every draw of both nulls."""
    means = {row["model"]: row for row in run.table("scores").filter(pl.col("score") == "r_mean").to_dicts()}
    peaks = run.table("peaks")
    blocks = blocks_of(peaks)
    own = mean_interval(peaks[f"r {TRANSFER}"].cast(pl.Float64).to_numpy(), blocks)
    nulls = [means[kind] for kind in (ROWS, MAP) if kind in means]
    if not nulls or any(row["high"] is None or not own.low > row["high"] for row in nulls):
        return []
    words = {ROWS: "heights of other peaks", MAP: "wrong maps"}
    beside = "; ".join(
        f"{words[row['model']]} give {signed(row['value'])} (largest of {row['draws']}: {signed(row['high'])})"
        for row in nulls
    )
    text = (
        f"{_simulated(run)}On {peaks.height:,} peaks of atlas {run.config['atlas']}{_trained(run)}, predictions "
        f"correlate with heights at mean r = {signed(own.value)} [{signed(own.low)}, {signed(own.high)}] (95 %, "
        f"{blocks.words} resampled); {beside}."
    )
    return [Finding(text, "transfer-score", command(run), "Does it predict the other atlas?")]


def _ranks(run: Run) -> list[Finding]:
    """Agreement of the filters' influence in both atlases, if its interval lies above that of the null."""
    if "agreement" not in run.tables():
        return []
    rows = run.table("agreement").filter(pl.col("of") == FILTERS, pl.col("measure") == LOSS).to_dicts()
    by = {row["against"]: row for row in rows}
    own, null = by.get(OTHER), by.get(NULL)
    if own is None or null is None or own["low"] is None or null["high"] is None or own["low"] <= null["high"]:
        return []
    ceiling = by[CEILING]["rho"] if CEILING in by else None
    top = "" if ceiling is None else f"; another sample of its own peaks gives {ceiling:.2f}"
    text = (
        f"{_simulated(run)}The filters that matter in its own atlas matter in the other: Spearman’s ρ of the loss of r "
        f"without each of {own['n']} filters is {own['rho']:.2f} [{own['low']:.2f}, {own['high']:.2f}]; with heights "
        f"of other peaks {null['rho']:.2f} [{null['low']:.2f}, {null['high']:.2f}]{top}."
    ).replace("-", "−")
    return [Finding(text, "transfer-ranks-1", command(run), "Do the same filters matter?")]


def _trained(run: Run) -> str:
    facts = stored_facts(run, "facts")
    kept = facts.get("they are") == "kept" and facts.get("peaks trained on", 0)
    return f" (the network was trained on {facts['peaks trained on']:,} of them)" if kept else ""


def _simulated(run: Run) -> str:
    return "SIMULATED DATA: " if stored_facts(run, "facts").get("simulated") is True else ""
