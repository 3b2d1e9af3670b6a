"""Influence of factors, and pairs of them, drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from netassay.dna.influence.limits import FEWEST, SHARE
from netassay.dna.network.classes import FEWEST as FEWEST_TYPES
from netassay.dna.network.classes import no_correlation
from netassay.reporting import Figure, Note, Section, Table
from netassay.reporting.heat import cluster_order
from netassay.runs.facts import facts_of
from netassay.studies.aitac.interpret import charts
from netassay.studies.aitac.interpret.config import TITLES, InterpretConfig

_MAPPED, _LISTED, _LADDER = 30, 24, 8


def influence(tables: Mapping[str, pl.DataFrame], config: InterpretConfig) -> Section:
    facts = facts_of(tables["facts"])
    factors, outputs = tables["factors"], tables["outputs"]
    items: list[Figure | Table | Note] = []
    if facts["simulated"]:
        items.append(Note("SIMULATED DATA: the factors are those a program planted.", "warning"))
    types = outputs["cell type"].n_unique()
    if facts["r undefined"] and types >= FEWEST_TYPES:
        items.append(
            Note(
                f"{facts['r undefined']} of {facts['peaks']} peaks have no defined r (a constant row) and are left "
                "out of the influence on r."
            )
        )
    items.append(
        _against_null(factors)
        if types >= FEWEST_TYPES
        else Note(f"Influence on r is not drawn: {no_correlation(types)}.")
    )
    items += [*_map(outputs, facts), _ladder(tables["hierarchy"]), _table(factors)]
    if "ensemble" in tables:
        items.append(_ensemble_table(tables["ensemble"]))
    overall = (
        f"Overall influence is the mean squared change of r, over {facts['peaks']:,} peaks; influence on a cell type"
        if types >= FEWEST_TYPES
        else f"Influence on a cell type is, over {facts['peaks']:,} peaks,"
    )
    null = (
        "The null asks what the same ablation would do to r if heights belonged to other peaks: its mean and spread "
        "over all permutations of the peaks are computed exactly. "
        if types >= FEWEST_TYPES
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


Q_VALUE = 0.05
_DRAWN = 10


def pairs(tables: Mapping[str, pl.DataFrame], config: InterpretConfig) -> Section:
    facts = facts_of(tables["facts"])
    pairs, scanned = tables["pairs"], tables["spacing"]
    below = pairs.filter(pl.col("q") < Q_VALUE)
    tests, untested = pairs["p"].count(), pairs["p"].null_count()
    items: list[Figure | Table | Note] = []
    if facts["simulated"]:
        items.append(Note("SIMULATED DATA: the pairs are those a program planted.", "warning"))
    if untested:
        items.append(
            Note(
                f"{untested} of {pairs.height} tests could not be made: fewer than {FEWEST} peaks hold both sites, or "
                "one."
            )
        )
    if below.height:
        items.append(_network(pairs, tables["factors"]["set"].to_list()))
    else:
        items.append(Note(f"No pair has q < {Q_VALUE:g}, so there is no network of pairs to draw."))
    if scanned.height:
        items.append(_distances(scanned, facts))
    items.append(_pair_table(pairs))
    outputs = f" (y: {facts['outputs']})" if "outputs" in facts else ""
    curved = (
        "y is taken on the scale of one increasing curve per output, on which most pairs add up"
        if "curve" in pairs.columns and pairs["curve"].any()
        else "here too few pairs show such a curve, or none bends, so y is taken as it is"
    )
    false = f"; about {Q_VALUE:.0%} of these are expected to be false" if below.height else ""
    text = (
        "The interaction of two factors is the effect of both ablations on a prediction beyond the sum of each: y − "
        f"y without f − y without g + y without both{outputs}. It is zero if the network adds them up; above 0 they "
        "open more together than alone (synergy), below less (antagonism). After a saturating curve even a sum would "
        f"seem to interact: {curved}. In peaks with sites of both it is compared with "
        "peaks that have a site of one, matched by the strength of the strongest site; which of the peaks have both is "
        f"permuted {config.permutations:,} times. A peak has a site if it is among the {config.site_share:.0%} in "
        f"which the factor's filters respond most, and both if the strongest positions of the two are at most "
        f"{config.pair_reach} bases apart. The remainder must be at least {SHARE:.0%} of the weaker factor's effect "
        f"alone, and stand out from the other pairs by that share.\n\nOf {tests} tests {below.height} have q < "
        f"{Q_VALUE:g}{false}. These are interactions in the network. "
        "One trained on correlations or classes only sees differences between cell types, so an interaction in one "
        "lineage appears with the opposite sign in the rest: the cell type where it is strongest comes first."
    )
    return Section(TITLES["pairs"], text, tuple(items))


def _network(pairs: pl.DataFrame, factors: list[str]) -> Figure:
    strongest = (
        pairs.filter(pl.col("q") < Q_VALUE)
        .sort(pl.col("difference").abs(), descending=True)
        .group_by("lineage", maintain_order=True)
        .head(_DRAWN)
    )
    caption = (
        f"Pairs whose interaction in peaks with both sites differs from that in matched peaks with one (q < "
        f"{Q_VALUE:g}), by lineage, the {_DRAWN} strongest of each. Blue: the two open more together than alone; "
        "orange: less; width: how much, in units of the prediction. Grey: factors without such a pair there."
    )
    lineages = pairs["lineage"].unique(maintain_order=True).to_list()
    chart = charts.network(strongest, factors, lineages)
    return Figure("aitac-pairs-network", "Synergy and antagonism", caption, chart, pairs)


def _distances(scanned: pl.DataFrame, facts: Mapping[str, Any]) -> Figure:
    words = pl.format("{} + {}, {}", "first", "second", "cell type")
    caption = (
        f"Synergy of two motifs planted into {facts['backgrounds']} shuffled peaks (dinucleotides kept), the first on "
        "the left, against the distance of their centres, on the prediction of the cell type named, where the pair "
        "interacts most. Grey: mean and two standard errors with the bases of the second motif in random order."
    )
    if scanned["planted"].count():
        caption += " Broken line: the distance that was planted."
    chart = charts.distances(scanned.with_columns(panel=words), unit="prediction")
    return Figure("aitac-pairs-distance", "Synergy against distance", caption, chart, scanned)


def _pair_table(pairs: pl.DataFrame) -> Table:
    ranked = pairs.drop("curve", strict=False).sort(
        "q", pl.col("difference").abs(), descending=[False, True], nulls_last=True
    )
    caption = (
        "Effect: mean interaction in peaks with both sites; matched: in those with one; difference: the first minus "
        "the second; alone: the smaller of the two single effects (root mean square). p: two-sided, the greater of "
        f"that by permutation and that among the other pairs, 1 for a difference below {SHARE:.0%} of alone; q: "
        "Benjamini and Hochberg over all pairs and lineages. Both, one: "
        "peaks. Cell type: where the mean interaction in peaks with both sites is strongest; there: its size."
    )
    numbers = ("effect", "matched", "difference", "alone", "p", "q", "there")
    formats = {name: ".3g" for name in numbers if name in ranked.columns}
    return Table("aitac-pairs", "Pairs", caption, ranked, formats=formats)
