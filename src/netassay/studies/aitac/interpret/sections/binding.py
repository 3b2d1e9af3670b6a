"""The section on agreement with ChIP-seq, drawn from its tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import polars as pl

from netassay.reporting import Axis, Figure, Note, Rule, Section, Table, forest, small_multiples
from netassay.runs.facts import fact_words, facts_of
from netassay.studies.aitac.interpret.config import TITLES, InterpretConfig

_SHOWN = 20  # filters in the figure
_HARDLY_MORE = 2.0  # regions that mark less than this multiple of what shifted ones mark are hardly of this assembly


def section(tables: Mapping[str, pl.DataFrame], config: InterpretConfig) -> Section:
    """Notes, what is marked, areas by group, enrichment, single filters, differences from the motif score."""
    facts = facts_of(tables["facts"], lists=["like"])
    items: list[Figure | Table | Note] = [*_notes(facts, config)]
    items += [
        Table(
            "aitac-binding-marks",
            "Marked peaks",
            "By the cell type of the greatest height.",
            tables["marks"],
            formats={"share": ".4f"},
        ),
        _areas(tables),
    ]
    if tables["curves"].height:
        items.append(_enrichment(tables["curves"]))
    else:
        items.append(Note("No cell type has twenty marked peaks and twenty others; there is no enrichment to draw."))
    items += [_filters(tables["filters"], facts), _filter_table(tables["filters"], config)]
    if tables["differences"].height:
        items.append(_differences(tables["differences"]))
    items.append(Table("aitac-binding-facts", "How peaks were marked", "", fact_words(tables["facts"])))
    return Section(TITLES["binding"], _text(facts, config), tuple(items))


def _text(facts: Mapping[str, Any], config: InterpretConfig) -> str:
    text = (
        f"{facts['file']} marks {facts['marked']} of {facts['peaks']} peaks ({facts['marked by']}). The area (AUROC) "
        "is the chance that a marked peak scores above one that is not. Marked peaks are more frequent in some cell "
        "types, and influence differs between cell types for other reasons, so what counts is the area within cell "
        "types: each marked peak is compared with others of its own cell type."
    )
    if "outputs" in facts:
        text += f" Influence on predictions is that on {facts['outputs']}."
    if "factor" in facts:
        text += (
            f"\n\nOf the filters, {facts['filters like it']} have a motif like {facts['motif']} (Tomtom, q < "
            f"{config.motif_q:g} over the filters; with their columns in a random order "
            f"{facts['filters like it, columns permuted']}): {', '.join(facts['like']) or 'none'}. They are ablated "
            "together. The motif score is the best log odds of that motif along the peak, and needs no network."
        )
    return text


def _notes(facts: Mapping[str, Any], config: InterpretConfig) -> list[Note]:
    notes = []
    if facts["simulated"]:
        notes.append(Note("SIMULATED DATA: the peaks were made by a program.", "warning"))
    chance = facts.get("share marked by moved regions", math.nan)
    if facts["share marked"] < _HARDLY_MORE * chance:
        notes.append(
            Note(
                f"The regions mark {facts['share marked']:.2%} of the peaks, and moved by 100,000 or 200,000 bases "
                f"still {chance:.2%}: are they called on another assembly?",
                "warning",
            )
        )
    if not config.chip_factor:
        notes.append(Note("No factor is given (--chip-factor), so no motif and no filters like it are compared."))
    elif facts["filters like it"] == 0:
        notes.append(
            Note(f"No filter has a motif like {facts['motif']}; only the motif itself is compared.", "warning")
        )
    return notes


def _areas(tables: Mapping[str, pl.DataFrame]) -> Figure:
    predictors, nulls = tables["predictors"], tables["nulls"]
    groups = predictors["group"].unique(maintain_order=True).to_list()
    parts = [predictors.select("group", "predictor", "kind", "AUROC", "low", "high")]
    if nulls.height:
        ends = (nulls["AUROC"].median(), nulls["AUROC"].min(), nulls["AUROC"].max())
        row = (groups[0], f"{nulls.height} sets of other filters", "null", *ends)
        parts.append(pl.DataFrame([row], schema=parts[0].schema, orient="row"))
    parts.append(
        predictors.group_by("group", maintain_order=True).agg(
            pl.lit("permuted marks").first().alias("predictor"),
            pl.lit("null").first().alias("kind"),
            pl.lit(0.5).first().alias("AUROC"),
            pl.col("null low").min().alias("low"),
            pl.col("null high").max().alias("high"),
        )
    )
    areas = pl.concat(parts)
    caption = (
        "Area under the ROC curve with its 95 % interval (DeLong et al. 1988). Permuted marks: 95 % of 200 orders of "
        "the marks, within cell types in the first panel. Sets of other filters: smallest, median and largest area, "
        "each set as large as that of the factor's filters. All peaks: cell types pooled, for comparison."
    )
    chart = forest(areas, "AUROC", "predictor", Axis("kind", title=" "), "group", reference=0.5, width=250)
    return Figure("aitac-binding-areas", "Which numbers separate bound peaks from others", caption, chart, areas)


def _enrichment(curves: pl.DataFrame) -> Figure:
    first = curves["predictor"][0]
    chance = curves.filter(pl.col("predictor") == first).select(
        "group", pl.lit("97.5 % of random choices").alias("predictor"), "share", pl.col("high").alias("fold")
    )
    predictors = curves.filter(~pl.col("predictor").str.contains("on r,")).select("group", "predictor", "share", "fold")
    rows = pl.concat([predictors, chance])
    caption = (
        "Share of marked peaks among those with the largest values, over the share among all peaks of the cell type. "
        "A random choice has 1 on average."
    )
    share = Axis("share", title="share of peaks taken", log=True)
    chart = small_multiples(
        rows,
        share,
        Axis("fold", title="enrichment"),
        Axis("group"),
        Axis("predictor", title=" "),
        rules=[Rule(1.0, "chance")],
    )
    return Figure("aitac-binding-enrichment", "Enrichment of bound peaks", caption, chart, curves)


def _filters(filters: pl.DataFrame, facts: Mapping[str, Any]) -> Figure:
    reach = 1.959964 * pl.col("error")
    rows = (
        filters.drop_nulls("AUROC")
        .sort("AUROC", descending=True)
        .head(_SHOWN)
        .select(
            name=pl.format("filter {} ({})", "filter", "consensus"),
            AUROC="AUROC",
            low=(pl.col("AUROC") - reach).clip(0, 1),
            high=(pl.col("AUROC") + reach).clip(0, 1),
            kind=pl.when("like the factor")
            .then(pl.lit(f"like {facts.get('factor', 'the factor')}"))
            .otherwise(pl.lit("other filter")),
        )
    )
    best = next(iter(filters["best by chance"].drop_nulls().to_list()), None)
    remark = "" if best is None else f" Dashed: the best filter of all under permuted marks ({best:.3f}, 95 %)."
    caption = (
        f"The {rows.height} filters whose influence on the predictions ranks marked peaks best, within cell "
        f"types, with 95 % intervals.{remark} A filter to the left of it is not a finding."
    )
    chart = forest(
        rows,
        Axis("AUROC", title="AUROC within cell types"),
        "name",
        Axis("kind", title=" "),
        width=420,
        reference=best,
    )
    return Figure("aitac-binding-filters", "Single filters", caption, chart, rows)


def _filter_table(filters: pl.DataFrame, config: InterpretConfig) -> Table:
    caption = (
        f"Large: peaks above the {1 - config.chip_share:.0%} quantile of a filter's influence on the predictions. Odds "
        "ratio of being marked against the other peaks, exact 95 % interval, Fisher's exact test, q over the filters; "
        "cell types are pooled here, the area is within them."
    )
    order = ["filter", "consensus", "like the factor", "large", "large_marked", "other", "other_marked", "odds_ratio",
             "low", "high", "p", "q", "AUROC", "error"]  # fmt: skip
    formats = dict.fromkeys(("odds_ratio", "low", "high"), ".2f") | dict.fromkeys(("p", "q"), ".2g")
    formats |= dict.fromkeys(("AUROC", "error"), ".3f")
    ranked = filters.sort("AUROC", descending=True, nulls_last=True).select(order)
    return Table(
        "aitac-binding-filter-table",
        "Large influence and binding, filter by filter",
        caption,
        ranked,
        formats,
    )


def _differences(differences: pl.DataFrame) -> Table:
    caption = (
        "Area of each predictor minus that of the motif score, on the same peaks, with its standard error and "
        "two-sided p (DeLong et al. 1988). Below zero: the motif alone does better."
    )
    formats = dict.fromkeys(("difference", "error"), ".3f") | {"p": ".2g"}
    return Table("aitac-binding-differences", "Against the motif score", caption, differences, formats)
