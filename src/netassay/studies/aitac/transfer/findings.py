"""What a transfer found, read from its folder."""

from __future__ import annotations

from typing import Any

import polars as pl

from netassay.runs import Run
from netassay.runs.facts import facts_of

TRANSFER, ROWS, MAP, BASELINE = (
    "transfer",
    "null: permuted rows",
    "null: permuted map",
    "baseline: column means",
)
"""What is scored: the network; on heights of other peaks; under other maps; the mean of each cell type everywhere."""


def tables(run: Run) -> dict[str, pl.DataFrame]:
    """None beside those that were kept on the way."""
    return {}


def summary(run: Run) -> dict[str, Any]:
    """The scores beside their nulls, and how far the ranks of filters and factors agree."""
    held = run.tables()
    scores = run.table("scores").filter(pl.col("score") == "r_mean") if "scores" in held else None
    return {
        "transfers": run.config["run"],
        "atlas": run.config["atlas"],
        **trained_on(run),
        "r_mean": None if scores is None else {row["model"]: row["value"] for row in scores.to_dicts()},
        "ranks": run.table("agreement").to_dicts() if "agreement" in held else None,
    }


def trained_on(run: Run) -> dict[str, Any]:
    """Peaks whose sequence was trained on, their share of the other atlas, and whether they are left out or kept."""
    facts = facts_of(run.table("facts")) if "facts" in run.tables() else {}
    if "peaks trained on" not in facts:
        return {}
    known, whole = facts["peaks trained on"], facts["peaks of the other atlas"]
    return {"trained_on": {"peaks": known, "share": known / whole, "they_are": facts["they are"]}}


LOSS, CHANGE = "loss of r", "change of predictions"
"""Measures of influence: mean fall of r without the filter; mean squared change of the predictions."""
OTHER, NULL = "other atlas", "null"
"""What the influence in the network's own atlas is compared with."""
CEILING = "own atlas again (ceiling)"
"""What it would be compared with if the other atlas were another sample of the same peaks."""
FILTERS, FACTORS = "filters", "factors"
