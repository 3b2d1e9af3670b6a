"""The aitac-transfer part of a report: scores beside nulls, the peaks, the cell types, the ranks of filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from netassay.reporting import (
    Axis,
    Figure,
    FigureSpec,
    Note,
    Section,
    Table,
    TableSpec,
    forest,
    lines,
    scatter,
)
from netassay.runs import Run, State
from netassay.runs.facts import facts_of
from netassay.studies.aitac import figures
from netassay.studies.aitac.findings import CENTRED
from netassay.studies.aitac.transfer.findings import (
    BASELINE,
    CHANGE,
    FACTORS,
    FILTERS,
    LOSS,
    MAP,
    NULL,
    OTHER,
    ROWS,
    TRANSFER,
)

_NULLS = (
    "Permuted rows: the same predictions against the heights of other peaks. Permuted map: under maps in which no cell "
    "type keeps its partner. Bars: smallest and largest draw. Baseline: the mean of each cell type of the other atlas, "
    "over these peaks, for every peak."
)
_SCORES = {
    "r_mean": "mean r across cell types", "r_median": "median r", "r_weighted": "r weighted by variance",
    "share_above_075": "share r > 0.75", "cell_r_mean": "mean r of cell types over peaks",
    "cell_r_mean_centred": "mean r of cell types over peaks, rows centred", "accuracy": "accuracy",
    "auroc": "AUROC", "auprc": "AUPRC", "r_undefined": "peaks without r",
}  # fmt: skip


_KIND = Axis("kind", title=" ")
SCORE = FigureSpec(
    "transfer-score",
    "Score beside its nulls",
    "Mean over peaks of Pearson's r across the mapped cell types. " + _NULLS,
    forest,
    (Axis("value", title="mean r across cell types"), Axis("model"), _KIND),
    {"width": 460},
)
HISTOGRAM = FigureSpec(
    "transfer-r",
    "Correlation of each peak",
    "Share of {defined} peaks in each of 40 bins of r; {undefined} peaks without a defined r are left out. Nulls: "
    "their first draw.",
    lines,
    (
        Axis("r", title="r across cell types", domain=(-1, 1)),
        Axis("share", title="share of peaks"),
        Axis("sample", title=" "),
    ),
    {"height": 280},
)
CELL_TYPES = FigureSpec(
    "transfer-cell-types",
    "Score of each cell type",
    "Pearson's r of each cell type over the peaks{centred}; beside it the range of r under permuted rows.",
    forest,
    (Axis("value", title="r over peaks"), Axis("cell type"), _KIND),
    {"width": 460},
)
CELL_TYPE_TABLE = TableSpec(
    "transfer-cell-type-scores", "Cell types", "Stands for it: cell types of the network, averaged."
)
SCORES = TableSpec(
    "transfer-scores",
    "All scores",
    "For nulls the mean over the draws, and the smallest and largest.",
    dict.fromkeys(("value", "low", "high"), ".3f"),
)
MAP_TABLE = TableSpec(
    "transfer-map",
    "Which cell type stands for which",
    "Cell types of the network (source) and of the other atlas (target); those without a partner are left out.",
)
_RANKED = {
    LOSS: (
        "Mean fall of r without the filter, one point per filter. Null: what it would be on average if the heights of "
        "the other atlas belonged to other peaks."
    ),
    CHANGE: (
        "Mean squared change of the predictions without the filter. No height enters. Null: the other atlas's "
        "sequences with their dinucleotides shuffled, which show how far the weights alone fix the order."
    ),
}
RANKS = FigureSpec(
    "transfer-ranks-{number}", "Filters by {measure}", "{caption}", scatter, (), {"width": 460, "height": 340}
)
AGREEMENT = TableSpec(
    "transfer-agreement",
    "Do the same filters matter?",
    "Spearman's rho of the influence in the network's own atlas with that in the other, and with the null; "
    "interval by Fisher's z (Bonett and Wright 2000), p by 999 permutations. What counts is how far the other "
    "atlas is above the null and below the ceiling: the rho of two halves of the network's own peaks, "
    "after the Spearman-Brown formula, as another sample of them would give it. Filters that change nothing "
    "anywhere are left out; factors are the filters of one motif, ablated together.",
    dict.fromkeys(("rho", "low", "high", "p"), ".3f"),
)
FACTOR_TABLE = TableSpec(
    "transfer-factors",
    "Factors in either atlas",
    "Loss of r without all filters of the factor, in either atlas.",
    dict.fromkeys(("own", OTHER, NULL), ".4f"),
)


def sections(runs: Sequence[Run]) -> list[Section]:
    """One section per transfer, in any state."""
    if not runs:
        return [Section("Transfer to another atlas", items=(Note("There are no transfers."),))]
    if len(runs) == 1:
        return [_section(runs[0])]
    return [_section(run).numbered(number, run.id) for number, run in enumerate(runs, 1)]


def _section(run: Run) -> Section:
    notes = [] if run.state is State.FINISHED else [Note(f"{run.id}: {run.state}. {run.message}".strip(), "info")]
    text = (
        f"The network of run {run.config['run']} on atlas {run.config['atlas']!r} ({run.id}). Peaks and cell types are "
        "those of the other atlas; a map says which cell type of the network stands for which."
    )
    if "scores" not in run.tables():
        return Section("Transfer to another atlas", text, (*notes, Note("There are no scores yet.")))
    tables = {name: run.table(name) for name in run.tables() if name != "metrics"}
    items: list[Any] = [
        *notes,
        *_warnings(tables["facts"]),
        _score_figure(tables["scores"]),
        _histogram(tables["peaks"]),
    ]
    items += [
        *_cell_types(tables["cell_types"]),
        SCORES.of(tables["scores"].with_columns(pl.col("score").replace(_SCORES))),
        *_ranks(tables),
        MAP_TABLE.of(tables["map"]),
    ]
    return Section("Transfer to another atlas", text, tuple(items))


def _warnings(facts: pl.DataFrame) -> list[Note]:
    values = facts_of(facts)
    notes = []
    if values["simulated"]:
        words = "SIMULATED DATA: at least one of the two atlases was made by a program."
        notes.append(Note(words, "warning"))
    # older transfers did not look for sequences that were trained on
    if values["same atlas"] and "peaks trained on" not in values:
        words = "This is the atlas that the network was trained on: the scores include training peaks."
        notes.append(Note(words, "warning"))
    trained, total = values.get("peaks trained on", 0), values["peaks of the other atlas"]
    if trained:
        words = (
            f"The network was trained, or its epoch chosen, on the sequences of {trained:,} of {total:,} peaks "
            f"({trained / total:.1%}) of the other atlas: they are {values['they are']}."
        )
        included = values["they are"] == "kept"
        notes.append(
            Note(words + " The scores include them." if included else words, "warning" if included else "info")
        )
    return notes


def _score_figure(scores: pl.DataFrame) -> Figure:
    means = scores.filter(pl.col("score") == "r_mean").drop("score")
    kinds = {TRANSFER: "model", ROWS: "null", MAP: "null", BASELINE: "baseline"}
    points = means.with_columns(kind=pl.col("model").replace_strict(kinds, return_dtype=pl.String))
    return SCORE.of(points)


def _histogram(peaks: pl.DataFrame) -> Figure:
    data = figures.r_histogram({name: peaks[f"r {name}"] for name in (TRANSFER, ROWS, MAP, BASELINE)})
    undefined = peaks[f"r {TRANSFER}"].null_count()
    return HISTOGRAM.of(data, words={"defined": f"{len(peaks) - undefined:,}", "undefined": f"{undefined:,}"})


def _cell_types(table: pl.DataFrame) -> list[Figure | Table]:
    value = CENTRED if CENTRED in table.columns else "r"
    centred = ", heights and predictions minus their mean over the cell types of the peak"
    low, high, nothing = pl.col("null low"), pl.col("null high"), pl.lit(None, pl.Float64)
    columns = {
        TRANSFER: {"value": pl.col(value), "low": nothing, "high": nothing},
        ROWS: {"value": (low + high) / 2, "low": low, "high": high},
    }
    intervals = pl.concat(
        [table.select("cell type", kind=pl.lit(name), **expressions) for name, expressions in columns.items()]
    )
    formats = {name: ".3f" for name, kind in table.schema.items() if kind == pl.Float64}
    return [
        CELL_TYPES.of(intervals, words={"centred": centred if value == CENTRED else ""}),
        CELL_TYPE_TABLE.of(table, formats=formats),
    ]


def _ranks(tables: dict[str, pl.DataFrame]) -> list[Any]:
    if "agreement" not in tables:
        return [Note("The ranks of filters were not requested, or do not exist yet.")]
    influence = tables["influence"]
    items: list[Any] = []
    for number, (measure, caption) in enumerate(_RANKED.items(), start=1):
        rows = influence.filter(pl.col("of") == FILTERS, pl.col("measure") == measure)
        parts = [
            rows.select("filters", "factor", "own", pl.lit(name).alias("in"), pl.col(name).alias("other"))
            for name in (OTHER, NULL)
        ]
        points = pl.concat(parts).drop_nulls(["own", "other"])
        log = measure == CHANGE
        points = points.filter(pl.col("own") > 0, pl.col("other") > 0) if log else points
        words = {"number": number, "measure": measure, "caption": caption}
        items.append(
            RANKS.of(
                points,
                Axis("own", title=f"{measure}, own atlas", log=log),
                Axis("other", title="in the other atlas", log=log),
                Axis("in", title=" "),
                words=words,
            )
        )
    items.append(AGREEMENT.of(tables["agreement"]))
    items += [Note(text) for text in tables["remarks"]["text"]]
    factors = influence.filter(pl.col("of") == FACTORS, pl.col("measure") == LOSS).drop("of", "measure")
    if factors.height:
        ranked = factors.with_columns(
            pl.col("own").rank("ordinal", descending=True).alias("rank in own"),
            pl.col(OTHER).rank("ordinal", descending=True).alias("rank in other"),
        ).sort("rank in own", nulls_last=True)
        items.append(FACTOR_TABLE.of(ranked))
    return items
