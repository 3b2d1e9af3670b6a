"""Pairs of factors, drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from netassay.dna.influence.limits import FEWEST, SHARE
from netassay.reporting import Figure, Note, Section, Table
from netassay.runs.facts import facts_of
from netassay.studies.aitac.interpret import charts
from netassay.studies.aitac.interpret.choices import TITLES
from netassay.studies.aitac.interpret.config import InterpretConfig

Q_VALUE = 0.05
_DRAWN = 10


def section(tables: Mapping[str, pl.DataFrame], config: InterpretConfig) -> Section:
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
    items.append(_table(pairs))
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


def _table(pairs: pl.DataFrame) -> Table:
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
