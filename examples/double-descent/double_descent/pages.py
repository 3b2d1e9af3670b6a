"""The study's part of a report, drawn from run folders alone."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from double_descent.findings import fits, summary
from netassay.reporting import Axis, Figure, Note, Section, Table, lines
from netassay.runs import Run
from netassay.study import run_names

TITLE = "Double descent"


def sections(runs: Sequence[Run]) -> list[Section]:
    """Test loss against the number of features, and where it peaks; runs without numbers are named."""
    made = {run: table for run in runs if (table := fits(run)).height}
    waiting = ", ".join(run.id for run in runs if run not in made)
    notes = (Note(f"No numbers yet: {waiting}."),) if waiting else ()
    if not made:
        return [Section(TITLE, items=notes or (Note("There are no runs of this study."),))]
    names = run_names(list(made))
    data = pl.concat(table.with_columns(run=pl.lit(names.of[run])) for run, table in made.items())
    peaks = [_peak(names.of[run], run) for run in made if summary(run)["peak"]]
    across = Axis("features", title="random features", log=True)
    up = Axis("test_loss", title="test loss", log=True)
    text = (
        "Random-feature regression fits its training images exactly once it has as many features as images. "
        "There its weights, and with them its test loss, are largest; with more features both fall again."
    )
    figure = Figure(
        "double-descent-loss",
        "Test loss",
        "Mean square error on the images left out of training.",
        lines(data, across, up, names.axis),
        data,
    )
    table = Table(
        "double-descent-peaks",
        "Peaks",
        "The fit of largest test loss in each run.",
        pl.DataFrame(peaks),
        formats={"features at the peak": ".0f", "test loss there": ".3g"},
    )
    return [Section(TITLE, text, (*notes, figure, *([table] if peaks else [])))]


def _peak(name: str, run: Run) -> dict[str, object]:
    peak = summary(run)["peak"]
    return {
        "run": name,
        "training images": run.config["examples"],
        "features at the peak": peak["features"],
        "test loss there": peak["test_loss"],
    }
