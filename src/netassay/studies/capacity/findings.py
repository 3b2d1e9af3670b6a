"""Results of a run of the capacity study, read from its folder."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import polars as pl

from netassay.capacity.comparison import Row
from netassay.capacity.theorems import experiment_output_parameters, experiment_parameters
from netassay.reporting.quantity import Course, Quantity
from netassay.runs import Run
from netassay.studies.capacity.config import CapacityConfig

CORPUS = (
    "documents",
    "contexts",
    "vocabulary",
    "degrees_of_freedom",
    "information_bits",
    "predicted_parameters",
    "predictions",
    "bound",
    "degrees_of_freedom_unequal",
    "share_certain",
)
REAL = ("information_bits", "predicted_parameters", "bound", "share_certain")
TRIAL = ("width", "try", "steps", "exact_loss", "gap", "met", "proved")
METRICS = (
    Quantity(("loss",), '""', "every step", "summed cross-entropy in nats, as training sees it"),
    Quantity(("width", "try"), '""', "first step of a trial", "neurons, and number of the initial weights"),
    Quantity(
        ("exact_loss", "gap", "steps", "met", "proved"),
        '""',
        "last step of a trial",
        "loss in float64; (loss − bound) / bound; steps to the criterion; whether it was met, or proved out of reach",
    ),
    Quantity(("corpus",), ", ".join(CORPUS), "step 0", "the facts of the corpus, its bound among them"),
)
"""Metrics of a run."""
COURSE = Course("gap to the bound", "loss", above=("corpus", "bound"), ends_early=True)
"""The metric that shows the progress of a run."""
BOUNDS = {field.name: pl.String for field in fields(Row)} | {
    "parameters": pl.Float64,
    "width": pl.Int64,
    "rank": pl.Int64,
}
ATTEMPTS = {
    "width": pl.Int64,
    "try": pl.Int64,
    "parameters": pl.Int64,
    "trained_parameters": pl.Int64,
    "first_step": pl.Int64,
    "steps": pl.Int64,
    "loss": pl.Float64,
    "nats_above": pl.Float64,
    "gap": pl.Float64,
    "met": pl.Boolean,
    "proved": pl.Boolean,
}


def tables(run: Run) -> dict[str, pl.DataFrame]:
    """attempts: every finished trial with its result. bounds: all bounds for the corpus side by side."""
    return {"attempts": attempt_table(run), "bounds": bound_table(run)}


def bound_table(run: Run) -> pl.DataFrame:
    """The fields of `comparison.Row` as of the run's version; empty before its first checkpoint."""
    facts = run.facts()
    rows = [] if facts is None else facts["trainee"].get("bounds", [])
    schema = {name: kind for name, kind in BOUNDS.items() if not rows or name in rows[0]}
    return pl.DataFrame(rows, schema=schema)


def corpus_of(metrics: pl.DataFrame) -> dict[str, float]:
    """The facts of the corpus among a run's metrics; empty before the first step was recorded."""
    rows = metrics.filter(pl.col("name") == "corpus")
    return dict(zip(rows["part"].to_list(), rows["value"].to_list(), strict=True))


def attempt_table(run: Run, metrics: pl.DataFrame | None = None) -> pl.DataFrame:
    """The finished trials of a run.

    `parameters` counts all of the model's, `trained_parameters` those that were trained; `first_step` is the step
    of the run at which a trial began, `steps` the number of its own steps until it met the criterion (else all of
    them); `nats_above` = `loss` - bound and `gap` = `nats_above` / bound are at its end, in float64.
    """
    metrics = run.metrics() if metrics is None else metrics
    corpus = corpus_of(metrics)
    trial_metrics = metrics.filter((pl.col("part") == "") & pl.col("name").is_in(TRIAL))
    trial: dict[str, Any] = {}
    rows = []
    for (step,), values in trial_metrics.sort("step").group_by("step", maintain_order=True):
        numbers = dict(zip(values["name"].to_list(), values["value"].to_list(), strict=True))
        trial = {"first_step": step, **numbers} if "width" in numbers else {**trial, **numbers}
        if "exact_loss" in numbers:
            rows.append(_row(trial, corpus, run.config["trained"]))
    return pl.DataFrame(rows, schema=ATTEMPTS)


def _row(numbers: dict[str, Any], corpus: dict[str, float], trained: str) -> dict[str, Any]:
    width, vocabulary = int(numbers["width"]), int(corpus["vocabulary"])
    total = experiment_parameters(vocabulary, width)
    free = {
        "all": total,
        "feed_forward": experiment_output_parameters(vocabulary, width),
        "output": vocabulary * (width + 1),
    }
    return {
        "width": width,
        "try": int(numbers["try"]),
        "parameters": total,
        "trained_parameters": free[trained],
        "first_step": numbers["first_step"],
        "steps": int(numbers["steps"]),
        "loss": numbers["exact_loss"],
        "nats_above": numbers["exact_loss"] - corpus["bound"],
        "gap": numbers["gap"],
        "met": numbers["met"] == 1.0,
        "proved": numbers["proved"] == 1.0,
    }


def summary(run: Run) -> dict[str, Any]:
    """The corpus, the criterion, the narrowest width that met it and every width's best; None for unknown values.

    `fewest_parameters` counts all of the model's, `fewest_parameters_fixed` those of embedding and attention among
    them, which `predicted_parameters` excludes.
    """
    metrics = run.metrics()
    corpus, attempts = corpus_of(metrics), attempt_table(run, metrics)
    facts = run.facts()
    met = attempts.filter("met").sort("width").head(1).to_dicts()
    best = attempts.sort("gap").group_by("width", maintain_order=True).first().sort("width")
    return {
        **{name: corpus.get(name) if name in REAL else _integer(corpus.get(name)) for name in CORPUS},
        "corpus_sha256": None if facts is None else facts["trainee"]["corpus"],
        "criterion": CapacityConfig.from_mapping(run.config).criterion,
        "loss": run.last_values().get(("loss", "")),
        "fewest_width": met[0]["width"] if met else None,
        "fewest_parameters": met[0]["parameters"] if met else None,
        "fewest_parameters_fixed": _fixed(corpus, met[0]["width"]) if met else None,
        "steps_to_criterion": met[0]["steps"] if met else None,
        "attempts": attempts.height,
        "best": [
            {key: row[key] for key in ("width", "parameters", "steps", "nats_above", "gap", "met", "proved")}
            for row in best.to_dicts()
        ],
    }


def _fixed(corpus: dict[str, float], width: int) -> int:
    vocabulary = int(corpus["vocabulary"])
    return experiment_parameters(vocabulary, width) - experiment_output_parameters(vocabulary, width)


def _integer(value: float | None) -> int | None:
    return None if value is None or math.isnan(value) else int(value)
