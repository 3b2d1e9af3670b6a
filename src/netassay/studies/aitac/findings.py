"""Results of a run of the aitac study, read from its folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from netassay.dna.ceiling.bootstrap import Interval
from netassay.dna.ceiling.verdict import Verdict, verdict_of
from netassay.dna.network.classes import FEWEST, no_correlation
from netassay.reporting.quantity import Course, Quantity
from netassay.runs import Run, State, Store
from netassay.runs.facts import stored_facts

_SCORES = (
    "r_mean",
    "r_median",
    "r_weighted",
    "share_above_075",
    "cell_r_mean",
    "cell_r_mean_centred",
    "accuracy",
    "auroc",
    "auprc",
    "r_undefined",
)

_SETS = "validation, test, baseline"

METRICS = (
    Quantity(("loss",), '""', "every step", "of the step's batch; at the last step the mean of the last epoch"),
    Quantity(("peaks",), '""', "every step", "peaks trained on before the step"),
    Quantity(
        ("epoch_loss", "validation_loss"),
        '""',
        "after each epoch",
        "mean training loss of the epoch; loss on the validation set after it",
    ),
    Quantity(("r_mean", "r_median"), _SETS, "epoch, end", "over peaks"),
    Quantity(("r_weighted",), _SETS, "epoch, end", "mean of r weighted by the variance of the observed row"),
    Quantity(("share_above_075",), _SETS, "epoch, end", 'share of peaks with r above 0.75, "well predicted"'),
    Quantity(("r_undefined",), _SETS, "epoch, end", "peaks whose r is not defined"),
    Quantity(("cell_r_mean",), _SETS, "epoch, end", "mean over cell types of r over peaks (losses mse and poisson)"),
    Quantity(
        ("cell_r_mean_centred",),
        _SETS,
        "epoch, end",
        "the same after subtracting the mean over the cell types from heights and predictions (losses pearson and "
        "cross_entropy, which leave an offset of each row free: it would be noise in every column)",
    ),
    Quantity(
        ("accuracy", "auroc", "auprc"),
        _SETS,
        "epoch, end",
        "if each peak is open in one cell type; areas are means over cell types",
    ),
    Quantity(
        ("best_epoch", "test_loss"),
        '""',
        "end",
        "epoch of the smallest validation loss, whose weights are kept and tested",
    ),
)
"""Metrics of a run."""
COURSE = Course("validation r", "r_mean", "validation")
"""The metric that shows the progress of a run."""

CENTRED = "r, rows centred"
"""Column of r over the peaks of a cell type with the mean of each row subtracted, as the loss leaves it free."""

SPREADS = ("height SD", "height IQR")
"""Spreads of a peak's observed heights over the cell types."""


def summary(run: Run) -> dict[str, Any]:
    """Scores on the test set, of the column means and of null models in the same store; None for missing ones."""
    last = run.last_values()
    config = run.config
    values: dict[str, Any] = {
        "atlas": config["atlas"],
        "null_model": config["null"],
        "best_epoch": _integer(last.get(("best_epoch", ""))),
        "epochs": config["epochs"],
        "loss": finite(last.get(("loss", ""))),
        "validation_loss": _best_validation_loss(run),
        "test_loss": finite(last.get(("test_loss", ""))),
        "test": _marks(last, "test"),
        "baseline": _marks(last, "baseline"),
    }
    if (worth := verdict(run)) is not None:
        values["verdict"] = worth.sentence
        values["ceiling"] = ceiling_facts(run)
    if (types := cell_types_of(run)) is not None and types < FEWEST:
        values["r_note"] = no_correlation(types)
    if config["null"] == "none":
        values |= _against_nulls(run)
    if "reduction" in run.tables():
        values["reduction"] = run.table("reduction").to_dicts()
    return values


def verdict(run: Run, nulls: Mapping[str, Run] | None = None) -> Verdict | None:
    """The score of a run beside its baseline, nulls (by default those of its store) and ceiling.

    None for a null model, and before the tables exist.
    """
    if run.config["null"] != "none" or "peaks" not in run.tables():
        return None
    null_models = null_runs(run) if nulls is None else nulls
    tables = {kind: null.table("peaks") for kind, null in null_models.items() if "peaks" in null.tables()}
    return verdict_of(run.table("peaks"), tables, ceiling=_ceiling(run))


def ceiling_facts(run: Run) -> dict[str, Any] | None:
    """The ceiling of a run's score with its interval, or why there is none; None if its atlas has no halves."""
    if "ceiling" not in run.tables():
        return None
    row = run.table("ceiling").row(0, named=True)
    return {name: row[name] for name in ("value", "low", "high", "note")}


def _ceiling(run: Run) -> Interval | None:
    facts = ceiling_facts(run)
    return None if facts is None or facts["value"] is None else Interval(facts["value"], facts["low"], facts["high"])


def cell_types_of(run: Run) -> int | None:
    """Number of cell types of the run's atlas; None if not yet known."""
    return stored_facts(run, "atlas").get("cell types")


def null_runs(run: Run) -> dict[str, Run]:
    """Finished null models of the same config in the same store, by kind."""
    nulls = {}
    for candidate in Store(run.folder.parent).runs():
        same = candidate.study == run.study and {**candidate.config, "null": "none"} == {**run.config, "null": "none"}
        if same and candidate.config["null"] != "none" and candidate.state is State.FINISHED:
            nulls[candidate.config["null"]] = candidate
    return nulls


def _marks(last: dict[tuple[str, str], float], part: str) -> dict[str, float | None] | None:
    marks = {name: finite(last[(name, part)]) for name in _SCORES if (name, part) in last}
    return marks or None


def _against_nulls(run: Run) -> dict[str, Any]:
    scores = {kind: summary(null)["test"] for kind, null in null_runs(run).items()}
    if scores:
        return {"null": scores}
    words = f"no null model of this config in {run.folder.parent}; make one: the same command with --null rows"
    return {"null": None, "null_note": words}


def _best_validation_loss(run: Run) -> float | None:
    """The validation loss of the best epoch so far."""
    losses = [value for value in run.metrics("validation_loss")["value"].to_list() if math.isfinite(value)]
    return min(losses, default=None)


def finite(value: float | None) -> float | None:
    """The number, or None if it is not finite, which JSON and tables cannot hold."""
    return None if value is None or not math.isfinite(value) else value


def _integer(value: float | None) -> int | None:
    return None if value is None else int(value)
