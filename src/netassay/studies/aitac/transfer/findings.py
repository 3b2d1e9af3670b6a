"""Results of a transfer, read from its folder."""

from __future__ import annotations

from typing import Any

import polars as pl

from netassay.runs import Run
from netassay.runs.facts import stored_facts

TRANSFER, ROWS, MAP, BASELINE = (
    "transfer",
    "null: permuted rows",
    "null: permuted map",
    "baseline: column means",
)
"""Models scored: the network; on heights of other peaks; under other maps; the means of cell types."""


def tables(run: Run) -> dict[str, pl.DataFrame]:
    """None besides those written during the run."""
    return {}


def summary(run: Run) -> dict[str, Any]:
    """The scores beside their nulls, and the agreement of the ranks of filters and factors."""
    names = run.tables()
    scores = run.table("scores").filter(pl.col("score") == "r_mean") if "scores" in names else None
    return {
        "transfers": run.config["run"],
        "atlas": run.config["atlas"],
        **trained_on(run),
        "r_mean": None if scores is None else {row["model"]: row["value"] for row in scores.to_dicts()},
        "ranks": run.table("agreement").to_dicts() if "agreement" in names else None,
    }


def trained_on(run: Run) -> dict[str, Any]:
    """Peaks whose sequence was trained on, their share of the other atlas, and whether they are left out or kept."""
    facts = stored_facts(run, "facts")
    if "peaks trained on" not in facts:
        return {}
    count, total = facts["peaks trained on"], facts["peaks of the other atlas"]
    return {"trained_on": {"peaks": count, "share": count / total, "they_are": facts["they are"]}}


LOSS, CHANGE = "loss of r", "change of predictions"
"""Measures of influence: mean fall of r without the filter; mean squared change of the predictions."""
OTHER, NULL = "other atlas", "null"
"""Comparisons of the influence in the network's own atlas."""
CEILING = "own atlas again (ceiling)"
"""The comparison if the other atlas were another sample of the same peaks."""
FILTERS, FACTORS = "filters", "factors"
