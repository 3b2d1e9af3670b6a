"""The trials of a search for the largest step size and its result, read from its folder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from netassay.runs import Run
from netassay.studies.edge.stepsize.search import Outcome, Trial, bracket

CODES = {Outcome.TRAINED: 1.0, Outcome.UNFINISHED: 0.0, Outcome.DIVERGED: -1.0}
"""Outcomes as values of the metric "outcome"."""


def trials(run: Run) -> pl.DataFrame:
    """Every trial of a run so far: seed, step_size, outcome, steps and loss at its end, in order."""
    rows = _wide(run, ("step_size", "outcome", "trial_steps", "trial_loss"))
    words = {code: str(outcome) for outcome, code in CODES.items()}
    schema = {
        "seed": pl.Int64,
        "step_size": pl.Float64,
        "outcome": pl.String,
        "steps": pl.Int64,
        "loss": pl.Float64,
    }
    return pl.DataFrame(
        [
            (seed, row["step_size"], words[row["outcome"]], int(row["trial_steps"]), row["trial_loss"])
            for seed, row in rows
            if "step_size" in row
        ],
        schema=schema,
        orient="row",
    )


def largest(run: Run) -> pl.DataFrame:
    """One row per network: largest step size that trained, smallest failing one above it and how, predictors.

    Null if not (yet) known; predictors are 2 / sharpness at the start and 2 / largest sharpness on the flow, null if
    the flow did not reach the goal: its largest sharpness is then that of the part that was followed.
    """
    all_trials, rows = trials(run), []
    curvature = {(seed, key): value for seed, row in _wide(run, None) for key, value in row.items()}
    for seed in sorted({seed for seed, _ in curvature}):
        own = [Trial(s, Outcome(o), n, x) for _, s, o, n, x in all_trials.filter(pl.col("seed") == seed).iter_rows()]
        ends = bracket(own)
        start, flow = curvature.get((seed, "sharpness")), curvature.get((seed, "flow_sharpness"))
        reached = None if flow is None else bool(curvature[seed, "flow_reached"])
        rows.append(
            {
                "seed": seed,
                "largest": _or_none(ends.largest),
                "failing": _or_none(ends.failing),
                "failing_outcome": ends.failing_outcome or None,
                "trials": len(own),
                "sharpness": start,
                "by_start": 2 / start if start else None,
                "flow_sharpness": flow,
                "by_flow": 2 / flow if reached and flow and flow > 0 else None,
                "flow_reached": reached,
            }
        )
    schema: dict[str, Any] = {
        "seed": pl.Int64,
        "largest": pl.Float64,
        "failing": pl.Float64,
        "failing_outcome": pl.String,
        "trials": pl.Int64,
        "sharpness": pl.Float64,
        "by_start": pl.Float64,
        "flow_sharpness": pl.Float64,
        "by_flow": pl.Float64,
        "flow_reached": pl.Boolean,
    }
    return pl.DataFrame(rows, schema=schema)


def tables(run: Run) -> dict[str, pl.DataFrame]:
    """The trials, and the result for each network."""
    return {"trials": trials(run), "largest": largest(run)}


def summary(run: Run) -> dict[str, Any]:
    """Medians over the networks, None if not (yet) known, and the results of each."""
    networks = largest(run)
    medians = {key: networks[key].drop_nulls().median() for key in ("largest", "by_start", "by_flow")}
    return {**medians, "trained": networks["largest"].count(), "networks": networks.to_dicts()}


def _wide(run: Run, names: Sequence[str] | None) -> list[tuple[int, dict[str, float]]]:
    """(seed, {metric: value}) of each stage and network that recorded any of `names`, in order."""
    rows: dict[tuple[int, str], dict[str, float]] = {}
    for step, name, part, value in run.metrics().iter_rows():
        if part.startswith("seed ") and (names is None or name in names):
            rows.setdefault((step, part), {})[name] = value
    return [(int(part.removeprefix("seed ")), row) for (_, part), row in rows.items()]


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


PREDICTORS = ("by_start", "by_flow")
LEAST = 3


class Agreement(NamedTuple):
    """`networks` with both numbers, Spearman's rank correlation, and quartiles of largest step size / predictor."""

    networks: int
    correlation: float
    ratio_low: float
    ratio: float
    ratio_high: float


def agreement(largest: pl.Series, predicted: pl.Series) -> Agreement | None:
    """Agreement over networks for which both are known; None below three. NaN correlation if either is constant."""
    from scipy.stats import rankdata

    pairs = pl.DataFrame({"largest": largest, "predicted": predicted}).drop_nulls().drop_nans()
    if pairs.height < LEAST:
        return None
    a, b = pairs["largest"].to_numpy(), pairs["predicted"].to_numpy()
    ranks = rankdata(a), rankdata(b)
    constant = any(np.ptp(rank) == 0 for rank in ranks)
    correlation = np.nan if constant else np.corrcoef(*ranks)[0, 1]
    return Agreement(pairs.height, float(correlation), *np.quantile(a / b, [0.25, 0.5, 0.75]).tolist())
