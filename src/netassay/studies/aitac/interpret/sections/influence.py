"""Influence of filters and factors, drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from netassay.dna.network.classes import FEWEST, no_correlation
from netassay.reporting import Figure, Note, Section, Table
from netassay.reporting.heat import cluster_order
from netassay.runs.facts import facts_of
from netassay.studies.aitac.interpret import charts
from netassay.studies.aitac.interpret.choices import TITLES
from netassay.studies.aitac.interpret.config import InterpretConfig

_MAPPED, _LISTED, _LADDER = 30, 24, 8


def section(tables: Mapping[str, pl.DataFrame], config: InterpretConfig) -> Section:
    facts = facts_of(tables["facts"])
    factors, outputs = tables["factors"], tables["outputs"]
    items: list[Figure | Table | Note] = []
    if facts["simulated"]:
        items.append(Note("SIMULATED DATA: the factors are those a program planted.", "warning"))
    types = outputs["cell type"].n_unique()
    if facts["r undefined"] and types >= FEWEST:
        items.append(
            Note(
                f"{facts['r undefined']} of {facts['peaks']} peaks have no defined r (a constant row) and are left "
                "out of the influence on r."
            )
        )
    items.append(
        _against_null(factors) if types >= FEWEST else Note(f"Influence on r is not drawn: {no_correlation(types)}.")
    )
    items += [*_map(outputs, facts), _ladder(tables["hierarchy"]), _table(factors)]
    if "ensemble" in tables:
        items.append(_ensemble_table(tables["ensemble"]))
    overall = (
        f"Overall influence is the mean squared change of r, over {facts['peaks']:,} peaks; influence on a cell type"
        if types >= FEWEST
        else f"Influence on a cell type is, over {facts['peaks']:,} peaks,"
    )
    null = (
        "The null asks what the same ablation would do to r if heights belonged to other peaks: its mean and spread "
        "over all permutations of the peaks are computed exactly. "
        if types >= FEWEST
        else ""
    )
    text = (
        "A factor is ablated by replacing the output of its filters by the mean over the peaks, position by position "
        f"({facts.get('ablated', 'after pooling and batch norm')}; fill {config.fill}), and the rest of the "
        "network is recomputed. Filters that "
        f"match the same motif (q < {config.motif_q:g}) are ablated together as one factor; one without a match is "
        f"called by its number. {overall} the mean squared change of its prediction{_output_note(facts)}.\n\n"
        f"{null}Influence on a prediction describes the network and "
        "needs no null; whether the network is right is measured by the agreement, the correlation over peaks of what "
        "a factor adds with the observed height."
    )
    return Section(TITLES["influence"], text, tuple(items))


def _output_note(facts: Mapping[str, Any]) -> str:
    """How outputs are defined; older interpretations took them as they are and did not say so."""
    return f" ({facts['outputs']})" if "outputs" in facts else ""


def _against_null(factors: pl.DataFrame) -> Figure:
    ranked = factors.sort("influence", descending=True, nulls_last=True).head(_LISTED).drop_nulls("influence")
    rows = ranked.with_columns(spread=((pl.col("signed") - pl.col("signed_null")) / pl.col("z")).abs())
    caption = (
        f"Effect of ablating the {rows.height} most influential factors on r: mean squared change, and mean "
        "fall (above 0: predictions are worse without the factor). Grey: the mean if heights belonged to other peaks, "
        "right with two standard deviations to either side. A factor outside them changes predictions in line with the "
        "observed heights."
    )
    chart = charts.against_null(rows)
    return Figure("aitac-influence-null", "Influence on r and its null", caption, chart, rows)


def _map(outputs: pl.DataFrame, facts: Mapping[str, Any]) -> list[Figure | Note]:
    strongest = outputs.group_by("set", maintain_order=True).agg(pl.col("influence").mean())
    factors = (
        strongest.filter(pl.col("influence") > 0).sort("influence", descending=True).head(_MAPPED)["set"].to_list()
    )
    if not factors:
        return [Note("No factor changes any prediction.", "warning")]
    data = outputs.filter(pl.col("set").is_in(factors))
    wide = np.stack([data.filter(pl.col("set") == name)["influence"].to_numpy() for name in factors])
    order = [factors[i] for i in cluster_order(np.log(np.maximum(wide, 1e-30)))]
    lineages = data["lineage"].unique(maintain_order=True).to_list()
    caption = (
        f"Influence on the prediction of each cell type, of the {len(factors)} factors with the greatest mean, on a "
        "logarithmic scale; cell types by lineage, factors clustered by the shape of their logarithmic profile "
        "(average linkage of 1 - r)."
    )
    chart = charts.influence_map(data, order, lineages)
    return [Figure("aitac-influence-map", "Influence by cell type", caption, chart, data)]


def _ladder(ranked: pl.DataFrame) -> Figure:
    rows = ranked.filter(pl.col("rank") <= _LADDER)
    caption = (
        f"The {_LADDER} factors with the greatest influence in each lineage, as shares of the sum over all factors. "
        "Colour: the correlation over peaks of what is taken away with what the prediction loses, the mean over cell "
        "types weighted by influence; above 0 the factor opens."
    )
    return Figure("aitac-influence-lineages", "The hierarchy of factors", caption, charts.ladder(rows), ranked)


def _table(factors: pl.DataFrame) -> Table:
    ranked = factors.sort("influence", "on_predictions", descending=True, nulls_last=True)
    caption = "On predictions: mean squared change over cell types."
    if ranked["influence"].count():
        caption = (
            "Signed: the mean fall of r without the factor; null: the mean with heights of other peaks; z and "
            "two-sided q (Benjamini and Hochberg over factors) of the signed influence against it. "
            f"{caption} Undefined: peaks whose r ends with the factor."
        )
    else:
        ranked = ranked.select("set", "filters", "on_predictions")
    formats = dict.fromkeys(("influence", "null", "signed", "signed_null", "p", "q", "on_predictions"), ".3g")
    formats = {name: form for name, form in {**formats, "z": ".1f"}.items() if name in ranked.columns}
    scored = "influence" in ranked.columns
    numbers = ("influence", "null", "signed", "z", "q") if scored else ("on_predictions",)
    return Table(
        "aitac-influence-factors",
        "Factors by influence",
        caption,
        ranked,
        formats=formats,
        first=("set", "filters", *numbers),
    )


def _ensemble_table(table: pl.DataFrame) -> Table:
    once = table.unique("cluster", keep="first", maintain_order=True).drop(
        "output", "cell type", "by_output", "by_output_spread"
    )
    ranked = once.sort("influence", descending=True)
    caption = (
        "Overall influence of matched filters, summed within each run: mean and standard deviation over the runs that "
        "have the cluster."
    )
    formats = dict.fromkeys(("influence", "spread", "influence_signed", "spread_signed"), ".3g")
    return Table("aitac-influence-ensemble", "Influence over repetitions", caption, ranked, formats=formats)
