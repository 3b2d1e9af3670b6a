"""What a run of the aitac study found, read from its folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from netassay.dna.ceiling.bootstrap import Interval
from netassay.dna.ceiling.verdict import Verdict, verdict_of
from netassay.dna.network.classes import FEWEST, no_correlation
from netassay.reporting.quantity import Course, Quantity
from netassay.runs import Run, State, Store
from netassay.runs.facts import facts_of

_TOLD = (
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
        "the same of rows less their mean over the cell types, heights and predictions both (losses pearson and "
        "cross_entropy, which leave an offset of each row free: it would be noise in every column)",
    ),
    Quantity(
        ("accuracy", "auroc", "auprc"),
        _SETS,
        "epoch, end",
        "where each peak is open in one cell type; areas are means over cell types",
    ),
    Quantity(
        ("best_epoch", "test_loss"),
        '""',
        "end",
        "epoch of the least validation loss, whose weights are kept and tested",
    ),
)
"""What a run records."""
COURSE = Course("validation r", "r_mean", "validation")
"""What runs are followed by."""

CENTRED = "r, rows centred"
"""Column of r over peaks of a cell type where rows are taken less their mean, as the loss leaves that free."""

SPREADS = ("height SD", "height IQR")
"""Of a peak's observed heights over the cell types."""


def summary(run: Run) -> dict[str, Any]:
    """Test scores, those of the column means, those of null models in the same store; None for what is not there."""
    last = run.last_values()
    config = run.config
    values: dict[str, Any] = {
        "atlas": config["atlas"],
        "null_model": config["null"],
        "best_epoch": _whole(last.get(("best_epoch", ""))),
        "epochs": config["epochs"],
        "loss": finite(last.get(("loss", ""))),
        "validation_loss": _least(run),
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

    None for a null model, and before there are tables.
    """
    if run.config["null"] != "none" or "peaks" not in run.tables():
        return None
    others = null_runs(run) if nulls is None else nulls
    tables = {kind: other.table("peaks") for kind, other in others.items() if "peaks" in other.tables()}
    return verdict_of(run.table("peaks"), tables, ceiling=_ceiling(run))


def ceiling_facts(run: Run) -> dict[str, Any] | None:
    """The ceiling of a run's score with its interval, or why none can be given; None where its atlas has no halves."""
    if "ceiling" not in run.tables():
        return None
    row = run.table("ceiling").row(0, named=True)
    return {name: row[name] for name in ("value", "low", "high", "note")}


def _ceiling(run: Run) -> Interval | None:
    facts = ceiling_facts(run)
    return None if facts is None or facts["value"] is None else Interval(facts["value"], facts["low"], facts["high"])


def cell_types_of(run: Run) -> int | None:
    """How many cell types the run's atlas has; None where it is not told yet."""
    return atlas_facts(run).get("cell types")


def atlas_facts(run: Run) -> dict[str, Any]:
    """What the atlas of a run was when its tables were written; empty before."""
    return facts_of(run.table("atlas")) if "atlas" in run.tables() else {}


def null_runs(run: Run) -> dict[str, Run]:
    """Finished null models of the same config in the same store, by kind."""
    found = {}
    for other in Store(run.folder.parent).runs():
        same = other.study == run.study and {**other.config, "null": "none"} == {**run.config, "null": "none"}
        if same and other.config["null"] != "none" and other.state is State.FINISHED:
            found[other.config["null"]] = other
    return found


def _marks(last: dict[tuple[str, str], float], part: str) -> dict[str, float | None] | None:
    marks = {name: finite(last[(name, part)]) for name in _TOLD if (name, part) in last}
    return marks or None


def _against_nulls(run: Run) -> dict[str, Any]:
    found = {kind: summary(other)["test"] for kind, other in null_runs(run).items()}
    if found:
        return {"null": found}
    words = f"no null model of this config in {run.folder.parent}; make one: the same command with --null rows"
    return {"null": None, "null_note": words}


def _least(run: Run) -> float | None:
    """The validation loss of the best epoch so far."""
    losses = [value for value in run.metrics("validation_loss")["value"].to_list() if math.isfinite(value)]
    return min(losses, default=None)


def finite(value: float | None) -> float | None:
    """The number, or None for one that is not finite: JSON and tables hold no other."""
    return None if value is None or not math.isfinite(value) else value


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
