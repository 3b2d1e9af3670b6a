"""Charts of factors: influence by cell type and lineage, a network of pairs, synergy against distance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import altair as alt
import polars as pl

from netassay.reporting.theme import DIVERGING, INK, NETWORK, NULL, SEQUENTIAL, SOFT, colours

SYNERGY, ANTAGONISM = colours(("synergy", "antagonism"), "kind")


def influence_map(data: pl.DataFrame, rows: Sequence[str], lineages: Sequence[str]) -> alt.FacetChart:
    """Influence (set, cell type, lineage, influence) as colour on a logarithmic scale, one panel per lineage.

    `rows` are the sets from top to bottom, `lineages` the panels from left to right.
    """
    positive = data.filter(pl.col("influence") > 0)
    low, high = (positive["influence"].quantile(share) or 1.0 for share in (0.02, 1.0))
    shades: Any = {
        "type": "log",
        "scheme": SEQUENTIAL,
        "domain": [low, max(high, low * 1.001)],
        "clamp": True,
    }
    wide = 52 if data["cell type"].n_unique() <= 8 else 20  # so that the names of single-type lineages fit
    legend = alt.Legend(format="~g", tickCount=4, titleLimit=400, titleOrient="top", titleAnchor="start")
    return (
        alt.Chart(positive.select(pl.col("set"), pl.col("cell type").alias("type"), "lineage", "influence"))
        .mark_rect(stroke="white", strokeWidth=0.5)
        .encode(
            alt.X("type:N", title=None, sort=None, axis=alt.Axis(labelAngle=-50, labelOverlap=False)),
            alt.Y("set:N", title=None, scale=alt.Scale(domain=list(rows)), axis=_names(grid=False)),
            alt.Color(
                "influence:Q", title="mean squared change of the prediction", scale=alt.Scale(**shades), legend=legend
            ),
            tooltip=["set:N", "type:N", "lineage:N", alt.Tooltip("influence:Q", format=".3g")],
        )
        .properties(width=alt.Step(wide), height=alt.Step(15))
        .facet(
            column=alt.Column(
                "lineage:N", title=None, sort=list(lineages), header=alt.Header(labelAnchor="middle", labelFontSize=11)
            ),
            spacing=6,
        )
        .resolve_scale(x="independent")
    )


def against_null(data: pl.DataFrame) -> alt.HConcatChart:
    """Squared (influence, null) and signed influence (signed, signed_null, spread) of each set on r, beside its null.

    Dots: observed; grey ticks: mean of the null; grey bars: two standard deviations either side of it.
    """
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


def ladder(data: pl.DataFrame) -> alt.FacetChart:
    """The first sets of each lineage (lineage, rank, set, share, direction) as bars, coloured by direction."""
    order = data["lineage"].unique(maintain_order=True).to_list()
    rows = data.with_columns(row=pl.format("{}", pl.col("set")), order=pl.col("rank")).select(
        "lineage", "row", "order", "share", "direction"
    )
    shades: Any = {"scheme": DIVERGING, "domain": [-1, 1], "reverse": True}
    bars = alt.Chart(rows).encode(
        alt.Y(
            "row:N",
            title=None,
            sort=alt.EncodingSortField("order", op="min"),
            axis=_names(grid=False),
        ),
        alt.X("share:Q", title="share of the influence", axis=alt.Axis(format="%", tickCount=4)),
        alt.Color(
            "direction:Q",
            title="closes (−1) to opens (1)",
            scale=alt.Scale(**shades),
            legend=alt.Legend(tickCount=5),
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


def network(pairs: pl.DataFrame, factors: Sequence[str], lineages: Sequence[str]) -> alt.FacetChart:
    """Factors on a circle, one panel per lineage, one line per pair (lineage, first, second, difference, q).

    Blue lines are synergies, orange ones antagonisms, wider if stronger; a lineage without any shows its factors only.
    """
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
        .facet(facet=alt.Facet("lineage:N", title=None, sort=list(lineages)), columns=_columns(len(lineages)))
    )


def _on_a_circle(pairs: pl.DataFrame, factors: Sequence[str], lineages: Sequence[str]) -> pl.DataFrame:
    """One row per pair, from (x, y) to (x2, y2), and per factor and lineage at (x, y), its name at (lx, ly)."""
    turns = [2 * math.pi * i / len(factors) for i in range(len(factors))]
    places = {name: (math.sin(turn), math.cos(turn)) for name, turn in zip(factors, turns, strict=True)}
    rows: list[dict[str, Any]] = []
    for lineage, first, second, difference, q in pairs.select(
        "lineage", "first", "second", "difference", "q"
    ).iter_rows():
        (x, y), (x2, y2) = places[first], places[second]
        rows.append(
            {
                "lineage": lineage,
                "pair": f"{first} + {second}",
                "x": x,
                "y": y,
                "x2": x2,
                "y2": y2,
                "what": "pair",
                "difference": difference,
                "size": abs(difference),
                "q": q,
                "sign": "synergy" if difference > 0 else "antagonism",
            }
        )
    for lineage in lineages:
        own_pairs = pairs.filter(pl.col("lineage") == lineage)
        linked = {*own_pairs["first"], *own_pairs["second"]}
        for name, (x, y) in places.items():
            side = "left" if x > 0.01 else "right" if x < -0.01 else "center"
            above = 1.22 if side == "center" else 1.1
            rows.append(
                {
                    "lineage": lineage,
                    "factor": name,
                    "x": x,
                    "y": y,
                    "lx": 1.13 * x,
                    "ly": above * y,
                    "side": side,
                    "what": "factor",
                    "held": name in linked,
                }
            )
    words, numbers = ("lineage", "what", "factor", "pair", "sign", "side"), ("x", "y", "x2", "y2", "lx", "ly")
    schema: dict[str, Any] = dict.fromkeys(words, pl.String) | dict.fromkeys(numbers, pl.Float64)
    schema |= dict.fromkeys(("difference", "size", "q"), pl.Float64) | {"held": pl.Boolean}
    return pl.DataFrame(rows, schema=schema)


def distances(data: pl.DataFrame, *, unit: str) -> alt.FacetChart:
    """Synergy (panel, orientation, distance, synergy, null, null_error) against distance, the null as a grey band."""
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
        .encode(alt.Y("low:Q", title=f"synergy ({unit})"), alt.Y2("high:Q"))
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


def count_bars(data: pl.DataFrame, *, x: str, y: str, colour: str) -> alt.Chart:
    """Bars of counts `y` side by side over the integers `x`, one colour per kind, in the order of the rows."""
    kinds = data[colour].unique(maintain_order=True).to_list()
    rows = data.select(x=pl.col(x), y=pl.col(y), kind=pl.col(colour))
    return (
        alt.Chart(rows)
        .mark_bar()
        .encode(
            alt.X("x:O", title=x, axis=alt.Axis(labelAngle=0), scale=alt.Scale(paddingInner=0.25, paddingOuter=0.1)),
            alt.Y("y:Q", title=y),
            alt.XOffset("kind:N", sort=kinds),
            alt.Color("kind:N", title=None, scale=alt.Scale(domain=kinds, range=colours(kinds, colour))),
            tooltip=[alt.Tooltip("kind:N", title=colour), alt.Tooltip("x:O", title=x), alt.Tooltip("y:Q", title=y)],
        )
        .properties(width=460, height=240)
    )


def recovery_dots(data: pl.DataFrame, *, threshold: float) -> alt.LayerChart:
    """One row per planted motif (`factor`), one dot per source (`by`) at `strength`, a line at `threshold`."""
    sources = data["by"].unique(maintain_order=True).to_list()
    names = data["factor"].unique(maintain_order=True).to_list()
    rows = data.select("factor", "by", "strength")
    marks = ["circle", "diamond", "square"][: len(sources)]
    title = "-log10 q of the surest finding"
    dots = (
        alt.Chart(rows)
        .mark_point(filled=True, size=80, opacity=0.9)
        .encode(
            alt.X("strength:Q", title=title, scale=alt.Scale(domain=[0, 10.3], nice=False)),
            alt.Y("factor:N", title=None, scale=alt.Scale(domain=names), axis=alt.Axis(grid=True)),
            alt.YOffset("by:N", sort=sources, scale=alt.Scale(domain=sources, paddingOuter=0.4)),
            alt.Color("by:N", title=None, scale=alt.Scale(domain=sources, range=colours(sources, "by"))),
            alt.Shape("by:N", title=None, scale=alt.Scale(domain=sources, range=marks)),
            tooltip=["factor", "by", alt.Tooltip("strength:Q", title=title, format=".2f")],
        )
    )
    rule = alt.Chart(pl.DataFrame({"at": [threshold]})).mark_rule(strokeDash=[4, 3]).encode(alt.X("at:Q"))
    chart = alt.layer(rule, dots).properties(width=440, height=max(80, 22 * len(names)))
    return cast(alt.LayerChart, chart)
