"""Influence of factors, and pairs of them, drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np
import polars as pl

from netassay.dna.influence.limits import FEWEST, SHARE
from netassay.dna.network.classes import FEWEST as FEWEST_TYPES
from netassay.dna.network.classes import no_correlation
from netassay.reporting import Figure, Note, Section, Table
from netassay.reporting.heat import cluster_order
from netassay.reporting.theme import DIVERGING, INK, NETWORK, NULL, SEQUENTIAL, SOFT, colours
from netassay.runs.facts import facts_of
from netassay.studies.aitac.interpret.config import TITLES, InterpretConfig

_MAPPED, _LISTED, _LADDER = 30, 24, 8
SYNERGY, ANTAGONISM = colours(("synergy", "antagonism"), "kind")


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
    if types >= FEWEST_TYPES:
        items.append(_against_null(factors))
    else:
        items.append(Note(f"Influence on r is not drawn: {no_correlation(types)}."))
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
        f"({facts.get('ablated', 'after pooling and batch norm')}; fill {config.fill}), and the rest of the network is "
        f"recomputed. Filters that match the same motif (q < {config.motif_q:g}) are ablated together as one factor; "
        f"one without a match is called by its number. {overall} the mean squared change of its "
        f"prediction{_output_note(facts)}.\n\n"
        f"{null}Influence on a prediction describes the network and needs no null; whether the network is right is "
        "measured by the agreement, the correlation over peaks of what a factor adds with the observed height."
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
    return Figure("aitac-influence-null", "Influence on r and its null", caption, _null_chart(rows), rows)


def _null_chart(data: pl.DataFrame) -> alt.HConcatChart:
    """Dots: observed; grey ticks: mean of the null; grey bars: two standard deviations to either side of it."""
    names = data["set"].to_list()
    kinds = ["observed heights", "null: heights of other peaks"]
    rows = data.with_columns(
        low=pl.col("signed_null") - 2 * pl.col("spread"),
        high=pl.col("signed_null") + 2 * pl.col("spread"),
        observed=pl.lit(kinds[0]),
        other=pl.lit(kinds[1]),
    )
    scale = alt.Scale(domain=kinds, range=[NETWORK, NULL])
    base = alt.Chart(rows).encode(alt.Y("set:N", title=None, scale=alt.Scale(domain=names), axis=_names(grid=True)))
    bare = base.encode(
        alt.Y("set:N", title=None, scale=alt.Scale(domain=names), axis=alt.Axis(labels=False, ticks=False, grid=True))
    )

    def dots(chart: alt.Chart, x: alt.X) -> alt.Chart:
        return chart.mark_point(filled=True, size=60, opacity=1).encode(
            x,
            alt.Color("observed:N", title=None, scale=scale),
            tooltip=["set:N", alt.Tooltip(x.shorthand, format=".3g")],
        )

    log = alt.Scale(type="log")
    title = "mean squared change of r"
    positive = base.transform_filter("datum.influence > 0 && datum.null > 0")
    squared = alt.layer(
        positive.mark_tick(thickness=3, size=12, opacity=1).encode(
            alt.X("null:Q", title=title, scale=log), alt.Color("other:N", scale=scale)
        ),
        dots(positive, alt.X("influence:Q", title=title, scale=log, axis=alt.Axis(format="~g", tickCount=5))),
    ).properties(width=240, height=alt.Step(16))
    fall = "mean fall of r"
    signed = alt.layer(
        bare.mark_rule(strokeWidth=6, opacity=0.7).encode(
            alt.X("low:Q", title=fall), alt.X2("high:Q"), alt.Color("other:N", scale=scale)
        ),
        dots(bare, alt.X("signed:Q", title=fall)),
    ).properties(width=240, height=alt.Step(16))
    return alt.hconcat(squared, signed, spacing=14)


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
    chart = _map_chart(data, order, lineages)
    return [Figure("aitac-influence-map", "Influence by cell type", caption, chart, data)]


def _map_chart(data: pl.DataFrame, rows: list[str], lineages: list[str]) -> alt.FacetChart:
    """Sets `rows` from top to bottom, a panel for each lineage."""
    positive = data.filter(pl.col("influence") > 0)
    low, high = (positive["influence"].quantile(share) or 1.0 for share in (0.02, 1.0))
    shades: Any = {"type": "log", "scheme": SEQUENTIAL, "domain": [low, max(high, low * 1.001)], "clamp": True}
    wide = 52 if data["cell type"].n_unique() <= 8 else 20  # so that the names of single-type lineages fit
    legend = alt.Legend(format="~g", tickCount=4, titleLimit=400, titleOrient="top", titleAnchor="start")
    return (
        alt.Chart(positive.select(pl.col("set"), pl.col("cell type").alias("type"), "lineage", "influence"))
        .mark_rect(stroke="white", strokeWidth=0.5)
        .encode(
            alt.X("type:N", title=None, sort=None, axis=alt.Axis(labelAngle=-50, labelOverlap=False)),
            alt.Y("set:N", title=None, scale=alt.Scale(domain=rows), axis=_names(grid=False)),
            alt.Color(
                "influence:Q", title="mean squared change of the prediction", scale=alt.Scale(**shades), legend=legend
            ),
            tooltip=["set:N", "type:N", "lineage:N", alt.Tooltip("influence:Q", format=".3g")],
        )
        .properties(width=alt.Step(wide), height=alt.Step(15))
        .facet(
            column=alt.Column(
                "lineage:N", title=None, sort=lineages, header=alt.Header(labelAnchor="middle", labelFontSize=11)
            ),
            spacing=6,
        )
        .resolve_scale(x="independent")
    )


def _ladder(ranked: pl.DataFrame) -> Figure:
    rows = ranked.filter(pl.col("rank") <= _LADDER)
    caption = (
        f"The {_LADDER} factors with the greatest influence in each lineage, as shares of the sum over all factors. "
        "Colour: the correlation over peaks of what is taken away with what the prediction loses, the mean over cell "
        "types weighted by influence; above 0 the factor opens."
    )
    return Figure("aitac-influence-lineages", "The hierarchy of factors", caption, _ladder_chart(rows), ranked)


def _ladder_chart(data: pl.DataFrame) -> alt.FacetChart:
    order = data["lineage"].unique(maintain_order=True).to_list()
    rows = data.with_columns(row=pl.format("{}", pl.col("set")), order=pl.col("rank")).select(
        "lineage", "row", "order", "share", "direction"
    )
    shades: Any = {"scheme": DIVERGING, "domain": [-1, 1], "reverse": True}
    bars = alt.Chart(rows).encode(
        alt.Y("row:N", title=None, sort=alt.EncodingSortField("order", op="min"), axis=_names(grid=False)),
        alt.X("share:Q", title="share of the influence", axis=alt.Axis(format="%", tickCount=4)),
        alt.Color(
            "direction:Q", title="closes (−1) to opens (1)", scale=alt.Scale(**shades), legend=alt.Legend(tickCount=5)
        ),
        tooltip=["row:N", alt.Tooltip("share:Q", format=".1%"), alt.Tooltip("direction:Q", format=".2f")],
    )
    facet = alt.Facet("lineage:N", title=None, sort=order)
    return (
        bars.mark_bar(stroke="#8C8C8C", strokeWidth=0.5)
        .properties(width=180, height=alt.Step(16))
        .facet(facet=facet, columns=_columns(len(order)))
        .resolve_scale(y="independent")
    )


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
    first = ("set", "filters", *numbers)
    return Table("aitac-influence-factors", "Factors by influence", caption, ranked, formats=formats, first=first)


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
    chart = _network_chart(strongest, factors, lineages)
    return Figure("aitac-pairs-network", "Synergy and antagonism", caption, chart, pairs)


def _network_chart(pairs: pl.DataFrame, factors: list[str], lineages: list[str]) -> alt.FacetChart:
    """Factors on a circle, a panel for each lineage, a line for each pair."""
    rows = _on_a_circle(pairs, factors, lineages)
    base = alt.Chart(rows).encode(
        alt.X("x:Q", scale=alt.Scale(domain=[-1.9, 1.9]), axis=None),
        alt.Y("y:Q", scale=alt.Scale(domain=[-1.3, 1.3]), axis=None),
    )
    greatest: Any = rows["size"].max() or 1.0
    signs = alt.Scale(domain=["synergy", "antagonism"], range=[SYNERGY, ANTAGONISM])
    widths = alt.Scale(domain=[0, greatest], range=[0.6, 6])
    sizes = alt.Legend(
        format=".2g", values=[greatest / 4, greatest / 2, greatest], symbolStrokeColor=SOFT, titlePadding=14
    )
    edges = (
        base.transform_filter("datum.what == 'pair'")
        .mark_rule(opacity=0.85)
        .encode(
            alt.X2("x2:Q"),
            alt.Y2("y2:Q"),
            alt.Color("sign:N", title=None, scale=signs),
            alt.StrokeWidth("size:Q", title="strength", legend=sizes, scale=widths),
            tooltip=["pair:N", "sign:N", alt.Tooltip("difference:Q", format=".3g"), alt.Tooltip("q:Q", format=".2g")],
        )
    )
    points = (
        base.transform_filter("datum.what == 'factor'")
        .mark_point(filled=True, size=45, opacity=1)
        .encode(color=alt.condition("datum.held", alt.value(INK), alt.value("#BDBDBD")), tooltip=["factor:N"])
    )
    words = [
        base.transform_filter(f"datum.what == 'factor' && datum.side == '{side}'")
        .mark_text(align=side, fontSize=10)
        .encode(
            alt.X("lx:Q"),
            alt.Y("ly:Q"),
            text="factor:N",
            color=alt.condition("datum.held", alt.value(INK), alt.value("#8C8C8C")),
        )
        for side in ("left", "right", "center")
    ]
    return (
        alt.layer(edges, points, *words)
        .properties(width=290, height=200)
        .facet(facet=alt.Facet("lineage:N", title=None, sort=lineages), columns=_columns(len(lineages)))
    )


def _on_a_circle(pairs: pl.DataFrame, factors: list[str], lineages: list[str]) -> pl.DataFrame:
    """One row per pair, from (x, y) to (x2, y2), and per factor and lineage at (x, y), its name at (lx, ly)."""
    turns = [2 * math.pi * i / len(factors) for i in range(len(factors))]
    places = {name: (math.sin(turn), math.cos(turn)) for name, turn in zip(factors, turns, strict=True)}
    rows: list[dict[str, Any]] = []
    for lineage, first, second, difference, q in pairs.select(
        "lineage", "first", "second", "difference", "q"
    ).iter_rows():
        (x, y), (x2, y2) = places[first], places[second]
        ends = {"x": x, "y": y, "x2": x2, "y2": y2}
        strength = {"difference": difference, "size": abs(difference), "q": q}
        sign = "synergy" if difference > 0 else "antagonism"
        rows.append(
            {"lineage": lineage, "what": "pair", "pair": f"{first} + {second}", "sign": sign, **ends, **strength}
        )
    for lineage in lineages:
        own_pairs = pairs.filter(pl.col("lineage") == lineage)
        linked = {*own_pairs["first"], *own_pairs["second"]}
        for name, (x, y) in places.items():
            side = "left" if x > 0.01 else "right" if x < -0.01 else "center"
            above = 1.22 if side == "center" else 1.1
            place = {"x": x, "y": y, "lx": 1.13 * x, "ly": above * y, "side": side}
            rows.append({"lineage": lineage, "what": "factor", "factor": name, "held": name in linked, **place})
    words, numbers = ("lineage", "what", "factor", "pair", "sign", "side"), ("x", "y", "x2", "y2", "lx", "ly")
    schema: dict[str, Any] = dict.fromkeys(words, pl.String) | dict.fromkeys(numbers, pl.Float64)
    schema |= dict.fromkeys(("difference", "size", "q"), pl.Float64) | {"held": pl.Boolean}
    return pl.DataFrame(rows, schema=schema)


def _distances(scanned: pl.DataFrame, facts: Mapping[str, Any]) -> Figure:
    words = pl.format("{} + {}, {}", "first", "second", "cell type")
    caption = (
        f"Synergy of two motifs planted into {facts['backgrounds']} shuffled peaks (dinucleotides kept), the first on "
        "the left, against the distance of their centres, on the prediction of the cell type named, where the pair "
        "interacts most. Grey: mean and two standard errors with the bases of the second motif in random order."
    )
    if scanned["planted"].count():
        caption += " Broken line: the distance that was planted."
    chart = _distance_chart(scanned.with_columns(panel=words))
    return Figure("aitac-pairs-distance", "Synergy against distance", caption, chart, scanned)


def _distance_chart(data: pl.DataFrame) -> alt.FacetChart:
    order = data["panel"].unique(maintain_order=True).to_list()
    kinds = data["orientation"].unique(maintain_order=True).to_list()
    rows = data.with_columns(
        low=pl.col("null") - 2 * pl.col("null_error"), high=pl.col("null") + 2 * pl.col("null_error")
    )
    base = alt.Chart(rows).encode(
        alt.X("distance:Q", title="distance of the centres (bases)", scale=alt.Scale(zero=False, nice=False))
    )
    band = (
        base.transform_filter(f"datum.orientation == '{kinds[0]}'")
        .mark_area(color=NULL, opacity=0.4)
        .encode(alt.Y("low:Q", title="synergy (prediction)"), alt.Y2("high:Q"))
    )
    scale = alt.Scale(domain=kinds, range=colours(kinds, "strands of first and second"))
    line = base.mark_line(strokeWidth=1.5).encode(
        alt.Y("synergy:Q"),
        alt.Color("orientation:N", title="strands of first and second", scale=scale),
        tooltip=["panel:N", "orientation:N", "distance:Q", alt.Tooltip("synergy:Q", format=".3g")],
    )
    layers: list[alt.Chart] = [band, line]
    if "planted" in data.columns and data["planted"].count():
        layers.append(
            base.transform_filter("isValid(datum.planted)")
            .mark_rule(strokeDash=[4, 3], color=INK)
            .encode(alt.X("planted:Q"))
        )
    return (
        alt.layer(*layers)
        .properties(width=200, height=130)
        .facet(facet=alt.Facet("panel:N", title=None, sort=order), columns=_columns(len(order)))
        .resolve_scale(y="independent")
    )


def _names(*, grid: bool) -> alt.Axis:
    return alt.Axis(labelLimit=260, labelOverlap=False, labelFlush=False, grid=grid)


def _columns(panels: int) -> int:
    return 2 if panels in (2, 4) else 3


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
