"""Charts of what was found again: by other runs, and of what a simulated atlas planted."""

from __future__ import annotations

from typing import cast

import altair as alt
import polars as pl

from netassay.reporting import PALETTE


def counted_bars(data: pl.DataFrame, *, x: str, y: str, colour: str) -> alt.Chart:
    """Bars of counts `y` side by side over the whole numbers `x`, a colour each kind, in the order of the rows."""
    kinds = data[colour].unique(maintain_order=True).to_list()
    shown = data.select(x=pl.col(x), y=pl.col(y), kind=pl.col(colour))
    return (
        alt.Chart(shown)
        .mark_bar()
        .encode(
            alt.X("x:O", title=x, axis=alt.Axis(labelAngle=0), scale=alt.Scale(paddingInner=0.25, paddingOuter=0.1)),
            alt.Y("y:Q", title=y),
            alt.XOffset("kind:N", sort=kinds),
            alt.Color("kind:N", title=None, scale=alt.Scale(domain=kinds, range=PALETTE[: len(kinds)])),
            tooltip=[alt.Tooltip("kind:N", title=colour), alt.Tooltip("x:O", title=x), alt.Tooltip("y:Q", title=y)],
        )
        .properties(width=460, height=240)
    )  # fmt: skip


def found_dots(data: pl.DataFrame, *, threshold: float) -> alt.LayerChart:
    """A row a planted motif (`factor`), a dot each way of finding (`by`) at `strength`, a line at `threshold`."""
    ways = data["by"].unique(maintain_order=True).to_list()
    names = data["factor"].unique(maintain_order=True).to_list()
    shown = data.select("factor", "by", "strength")
    marks = ["circle", "diamond", "square"][: len(ways)]
    title = "-log10 q of the surest finding"
    dots = (
        alt.Chart(shown)
        .mark_point(filled=True, size=80, opacity=0.9)
        .encode(
            alt.X("strength:Q", title=title, scale=alt.Scale(domain=[0, 10.3], nice=False)),
            alt.Y("factor:N", title=None, scale=alt.Scale(domain=names), axis=alt.Axis(grid=True)),
            alt.YOffset("by:N", sort=ways, scale=alt.Scale(domain=ways, paddingOuter=0.4)),
            alt.Color("by:N", title=None, scale=alt.Scale(domain=ways, range=PALETTE[: len(ways)])),
            alt.Shape("by:N", title=None, scale=alt.Scale(domain=ways, range=marks)),
            tooltip=["factor", "by", alt.Tooltip("strength:Q", title=title, format=".2f")],
        )
    )  # fmt: skip
    rule = alt.Chart(pl.DataFrame({"at": [threshold]})).mark_rule(strokeDash=[4, 3]).encode(alt.X("at:Q"))
    chart = alt.layer(rule, dots).properties(width=440, height=max(80, 22 * len(names)))
    return cast(alt.LayerChart, chart)
