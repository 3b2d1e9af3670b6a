"""Folds and repetitions together: the score of each, and the mean over repetitions of each peak."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from statistics import fmean, stdev

import polars as pl

from netassay.reporting import Axis, Figure, Section, Table, lines
from netassay.runs import Run
from netassay.studies.aitac import figures

_FOLDED = ("folds", "chromosome-folds")


def cross_validation(runs: Sequence[Run]) -> list[Section]:
    """A section for each null (none first) with several finished folds or repetitions."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if run.config["split"] in _FOLDED:
            groups.setdefault(run.config["null"], []).append(run)
    return [_section(null, members) for null, members in groups.items() if len(members) > 1]


def peak_means(runs: Sequence[Run]) -> pl.DataFrame:
    """For each peak of a test set: mean r over repetitions, and the number of those in which r was defined."""
    rows = pl.concat(run.table("peaks").select("name", "r", "variance") for run in runs)
    return rows.group_by("name", maintain_order=True).agg(
        pl.col("r").mean(), pl.col("r").count().alias("times"), pl.col("variance").first()
    )


def _section(null: str, runs: Sequence[Run]) -> Section:
    rows = []
    for run in sorted(runs, key=lambda run: (run.config["repeat"], run.config["fold"])):
        last = run.last_values()
        rows.append(
            {
                "repeat": run.config["repeat"],
                "fold": run.config["fold"],
                "run": run.id,
                "r mean": last.get(("r_mean", "test")),
                "r median": last.get(("r_median", "test")),
                "baseline r": last.get(("r_mean", "baseline")),
                "AUROC": last.get(("auroc", "test")),
            }
        )
    table = pl.DataFrame(rows, infer_schema_length=None)
    table = table.select(name for name in table.columns if table[name].null_count() < len(table))
    means = peak_means(runs)
    histogram = figures.r_histogram({"mean r of a peak": means["r"]})
    of_peaks, of_folds = means["r"].drop_nulls().to_list(), table["r mean"].drop_nulls().to_list()
    text = (
        f"{len(runs)} folds over {table['repeat'].n_unique()} repetitions: mean r over peaks "
        f"{fmean(of_peaks or [nan]):.4f}, standard deviation of the folds' means "
        f"{stdev(of_folds) if len(of_folds) > 1 else nan:.4f}. {len(means):,} peaks were tested, "
        f"{fmean(means['times'].to_list()):.1f} times each on average."
    )
    suffix = "" if null == "none" else f"-{null}"
    formats = {key: ".4f" for key, kind in table.schema.items() if kind == pl.Float64}
    chart = lines(
        histogram,
        Axis("r", title="mean r over repetitions", domain=(-1, 1)),
        Axis("share", title="share of peaks"),
        height=240,
    )
    items = (
        Figure(
            f"aitac-folds-r{suffix}",
            "Mean correlation of each peak",
            "Over the repetitions in which it was tested.",
            chart,
            means,
        ),
        Table(f"aitac-folds{suffix}", "Folds", "Each fold is the test set of one run.", table, formats=formats),
    )
    title = "Cross-validation" if null == "none" else f"Cross-validation, null {null}"
    return Section(title, text, items)
