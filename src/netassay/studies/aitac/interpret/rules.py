"""Findings of an interpretation in words: which factors the predictions rely on, in which cells."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from netassay.references import GUPTA, MASLOVA
from netassay.reporting.section import Finding
from netassay.runs import Run, State
from netassay.studies.aitac.interpret.findings import chapter_tables, interpreted
from netassay.study import command

QUESTION = "Which sequence motifs do the predictions rest on?"
READING = "Filters are compared with known motifs, and ablated: their activations are set to their mean."
REFERENCES = (MASLOVA, GUPTA)
LARGEST_Q = 0.05
LEAST_RATIO = 1.5
"""Influence over its null that a factor must have to be named: with many peaks, small effects are significant."""
LEAST_SHARE = 0.05
"""Share of all influence that a factor must have to be named."""


def findings(runs: Sequence[Run]) -> list[Finding]:
    """Sentences about finished interpretations."""
    sentences = []
    for run in runs:
        if run.state is State.FINISHED:
            sentences += [*_influence(run), *_names(run), *_pairs(run)]
    return sentences


def _influence(run: Run) -> list[Finding]:
    """The factor whose ablation costs most, against the null of other peaks' heights."""
    tables = chapter_tables(run, "influence")
    if "factors" not in tables:
        return []
    factors = tables["factors"].filter(~pl.col("set").str.contains(r"^filter[ _]\d+$"))
    clear = factors.filter((pl.col("q") < LARGEST_Q) & (pl.col("influence") > LEAST_RATIO * pl.col("null"))).sort(
        "influence", descending=True
    )
    if not clear.height:
        return []
    top = clear.row(0, named=True)
    where = _where(tables, top["set"])
    runners_up = clear["set"].to_list()[1:4]
    also = f" Also clear of their nulls: {', '.join(runners_up)}." if runners_up else ""
    text = (
        f"Ablating the filters of {top['set']} lowers the correlation with the observed heights most: influence "
        f"{top['influence']:.3g}, null {top['null']:.2g} (q = {top['q']:.1g}){where}.{also}"
    )
    return [Finding(text, "aitac-influence-lineages", command(run), "Which factors do the predictions rest on?")]


def _where(tables: dict[str, pl.DataFrame], factor: str) -> str:
    """The cell type whose prediction changes most, and in which direction."""
    if "outputs" not in tables:
        return ""
    rows = tables["outputs"].filter(pl.col("set") == factor).sort("influence", descending=True)
    if not rows.height:
        return ""
    row = rows.row(0, named=True)
    total = tables["outputs"].filter(pl.col("cell type") == row["cell type"])["influence"].sum()
    share = row["influence"] / total if total else 0.0
    if share < LEAST_SHARE:
        return ""
    return f"; the prediction for {row['cell type']} changes most ({100 * share:.0f} % of all influence there)"


def _names(run: Run) -> list[Finding]:
    """Number of filters with the name of a factor, against permuted filters."""
    tables = chapter_tables(run, "motifs")
    if "shares" not in tables or "filters" not in tables:
        return []
    row = tables["shares"].filter((pl.col("q") - LARGEST_Q).abs() < 1e-9).to_dicts()
    if not row or row[0]["filters"] <= row[0]["permuted most"]:
        return []
    total = tables["filters"].height
    own, null, maximum = (100 * row[0][key] for key in ("filters", "permuted", "permuted most"))
    text = (
        f"{own:.0f} % of {total} filters match a motif of a known factor at q < 0.05; with the columns of the filters "
        f"permuted it is {null:.1f} % (at most {maximum:.1f} %)."
    )
    return [Finding(text, "aitac-motifs-shares", command(run), "Do filters look like known motifs?")]


def _pairs(run: Run) -> list[Finding]:
    tables = chapter_tables(run, "pairs")
    if "pairs" not in tables or "q" not in tables["pairs"].columns:
        return []
    rows = tables["pairs"].filter(pl.col("q") < LARGEST_Q)
    names = [name for name in ("first", "second") if name in rows.columns]
    if not rows.height or len(names) < 2:
        return []
    first = rows.sort("q").row(0, named=True)
    text = (
        f"{rows.height} of {tables['pairs'].height} pairs of factors depart from additivity beyond a fitted curve at "
        f"q < 0.05; the clearest is {first['first']} with {first['second']} (q = {first['q']:.1g}). Model: "
        f"{interpreted(run.config)}."
    )
    return [Finding(text, "aitac-pairs-table", command(run), "Do factors act in pairs?")]
