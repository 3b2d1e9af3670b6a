"""Contributions of bases, drawn."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import numpy as np
import polars as pl

from netassay.reporting import Axis, Figure, Note, Section, Table, forest
from netassay.reporting.logo import BASES, logo
from netassay.studies.aitac.interpret.config import TITLES, InterpretConfig

_SHOWN, _FLANK = 70, 5  # bases of a logo that contribute most, and on either side
KINDS = {
    "trained": "two methods",
    "repetition": "two trainings",
    "another peak": "null: another peak",
    "shuffled weights": "null: shuffled weights",
}
_WORDS = {
    "gradient": "gradient",
    "mutagenesis": "mutagenesis",
    "deepshap": "DeepLIFT/SHAP",
    "integrated_gradients": "integrated gradients",
}


LEAD, RAW = "predicted lead", "predicted"
"""Columns of the number that is explained: an output minus the mean of all, or as it is."""


def _explained(peaks: pl.DataFrame) -> str:
    return LEAD if LEAD in peaks.columns else RAW


def section(tables: Mapping[str, pl.DataFrame], config: InterpretConfig) -> Section:
    """Logos of contributions, agreement of methods beside its nulls, recovery of simulated sites."""
    peaks, agreement = tables["peaks"], tables["agreement"]
    items: list[Figure | Table | Note] = []
    if "sites" in tables:
        items.append(Note("SIMULATED DATA: sequences and heights of this atlas were made by a program.", "warning"))
    items += [
        Note(f"{_WORDS[method]} is left out: {reason}", "warning") for method, reason in tables["missing"].iter_rows()
    ]
    if not agreement["kind"].is_in(["repetition"]).any():
        items.append(Note("No repetition is given, so agreement between trainings is unknown (--ensemble)."))
    items += [_logos(tables["bases"], peaks), *_agreement_items(agreement, tables["completeness"])]
    if "sites" in tables:
        caption = (
            "How well the size of contributions separates bases within sites of factors that act in the cell type from "
            "the other bases of the same peak: area under the ROC curve, mean over peaks; 0.5 by chance. The network "
            "with shuffled weights shows what the peaks' composition alone gives."
        )
        formats = {"AUROC mean": ".3f", "AUROC median": ".3f"}
        items.append(Table("attribution-sites", "Planted sites", caption, tables["sites"], formats))
    explained = _explained(peaks)
    formats = {"r": ".3f", explained: ".2f"}
    less = " minus the mean of all" if explained == LEAD else ""
    caption = (
        "The best predicted peaks of each cell type among those whose own height is largest there. "
        f"{explained.capitalize()}: output of the cell type{less}, the number that is explained."
    )
    rows = peaks.drop("output", "row").with_columns(
        pl.when("logo").then(pl.lit("yes")).otherwise(pl.lit("no")).alias("logo")
    )
    if not rows["r"].count():  # below three cell types
        rows, formats = rows.drop("r"), {explained: ".2f"}
    items.append(Table("attribution-peaks", "Peaks explained", caption, rows, formats))
    text = (
        "What each base of a peak contributes to the output of a cell type"
        f"{' minus the mean over all cell types' if less else ''}. Methods "
        "differ in their reference; if they agree with each other and with a second training, but not with "
        "a network of shuffled weights, they show what was learned."
    )
    return Section(TITLES["attributions"], text, tuple(items))


def _logos(bases: pl.DataFrame, peaks: pl.DataFrame) -> Figure:
    explained = _explained(peaks)
    lead = {(row["peak"], row["cell type"]): row[explained] for row in peaks.iter_rows(named=True)}
    panels = []
    for (peak, cell_type), contributions in bases.group_by("peak", "cell type", maintain_order=True):
        many = min(_SHOWN, len(contributions))
        end = int(contributions["mutagenesis"].abs().rolling_sum(many).arg_max() or many - 1)
        window = contributions[max(0, end - many + 1 - _FLANK) : end + 1 + _FLANK]
        heights = np.zeros((4, len(window)))
        for column, (base, value) in enumerate(window.select("base", "mutagenesis").iter_rows()):
            if base in BASES:
                heights[BASES.index(base), column] = value
        panel = logo(heights, title="contribution", domain=None, first=window["position"][0], height=84)
        number = f"{explained.removeprefix('predicted ')} {lead[(peak, cell_type)]:.2f}"
        words = f"{cell_type}: {peak} ({number})"
        panels.append(panel.properties(title=alt.Title(words, frame="group")))
    chart = alt.vconcat(*panels, spacing=18)
    caption = (
        f"The {_SHOWN} bases that contribute most, and {_FLANK} to either side, of the best predicted peak of each "
        "cell type, by saturation mutagenesis: output with the actual base minus the mean over the four bases. "
        "Letters below the line lower the output. Horizontal: position within the peak, from 0; the vertical scale is "
        "each peak's own."
    )
    return Figure("attribution-logos", "Contributions of bases", caption, chart, bases)


def _agreement_items(agreement: pl.DataFrame, completeness: pl.DataFrame) -> list[Figure | Table | Note]:
    labelled = agreement.with_columns(pl.col("first", "second").replace_strict(_WORDS))
    rows = labelled.with_columns(
        pair=pl.when(pl.col("first") == pl.col("second"))
        .then("first")
        .otherwise(pl.format("{} ~ {}", "first", "second")),
        kind=pl.col("kind").replace_strict(KINDS),
    )
    caption = (
        "Median (point) and middle 80 % (bar) over peaks of the correlation of contributions. Two methods: both on "
        "this network. Two trainings: one method on this network and on a repetition. Null, another peak: "
        "contributions of one peak beside those of the next. Null, shuffled weights: one method on this network and on "
        "a copy in which the weights of each unit are shuffled among its inputs; contributions that agree there would "
        "not depend on what was learned."
    )
    title = "Do methods and trainings agree?"
    chart = forest(
        rows.sort(pl.col("kind").replace_strict({kind: i for i, kind in enumerate(KINDS.values())})),
        Axis("r median", title="r over the bases of a peak"),
        "pair",
        Axis("kind", title=" "),
        low="r lower decile",
        high="r upper decile",
        reference=0.0,
        width=420,
    )
    figure = Figure("attribution-agreement", title, caption, chart, agreement)
    formats = {column: ".3f" for column in agreement.columns if column.startswith("r ")}
    shares = [f"{share:.1%} by {_WORDS[method]}" for method, share in completeness.iter_rows()]
    undefined = "Quantiles are over peaks. Undefined: a method gave one value for every base."
    if shares:
        undefined += f" Relative error of the sum of contributions: {' and '.join(shares)}."
    return [figure, Table("attribution-numbers", "Agreement in numbers", undefined, labelled, formats)]
