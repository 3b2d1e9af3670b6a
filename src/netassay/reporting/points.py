"""Points in groups, and the straight lines fitted through them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from netassay.errors import DataError
from netassay.reporting.chart import shown_names
from netassay.reporting.section import Axis
from netassay.reporting.theme import SHAPES, SOFT, colours, role_colours


def scatter(
    data: pl.DataFrame,
    x: Axis | str,
    y: Axis | str,
    series: Axis | str,
    *,
    lines: Mapping[str, tuple[float, float]] | None = None,
    width: int = 640,
    height: int = 320,
) -> alt.LayerChart:
    """One point per row, series distinguished by colour and shape; `lines` maps a series to its (intercept, slope).

    A line runs from the smallest to the largest x of its series, on linear axes. The axes include it, but begin below
    zero only if a point does. Raises DataError for more than six series, for a missing column and for values that are
    not numbers.
    """
    x, y, by = (Axis(axis) if isinstance(axis, str) else axis for axis in (x, y, series))
    for axis in (x, y, by):
        if axis.column not in data.columns:
            raise DataError(f"no column {axis.column!r} to draw; the data has: {', '.join(data.columns)}")
    for axis in (x, y):
        if not data[axis.column].dtype.is_numeric():
            raise DataError(f"column {axis.column!r} is of type {data[axis.column].dtype}; an axis shows numbers")
    rows = data.select(
        pl.col(x.column).cast(pl.Float64).alias("x"),
        pl.col(y.column).cast(pl.Float64).alias("y"),
        pl.col(by.column).cast(pl.String).alias("series"),
    )
    names = rows["series"].unique(maintain_order=True).to_list()
    if len(names) > len(SHAPES):
        raise DataError(f"{len(names)} series of points; at most {len(SHAPES)} can be distinguished")
    legend = alt.Legend(title=by.label)
    colour = alt.Color("series:N", scale=alt.Scale(domain=names, range=colours(names, by.label)), legend=legend)
    shape = alt.Shape("series:N", scale=alt.Scale(domain=names, range=list(SHAPES[: len(names)])), legend=legend)
    ends = _ends(rows, lines or {})
    channels = (_channel(alt.X, "x", x, rows["x"], ends["x"]), _channel(alt.Y, "y", y, rows["y"], ends["y"]))
    points = alt.Chart(rows).mark_point(filled=True, size=70, opacity=1, stroke="white", strokeWidth=0.9)
    tips = [
        alt.Tooltip("series:N", title=by.label),
        alt.Tooltip("x:Q", title=x.label, format=",.6~g"),
        alt.Tooltip("y:Q", title=y.label, format=",.6~g"),
    ]
    marks = points.encode(*channels, color=colour, shape=shape, tooltip=tips)
    fits = alt.Chart(ends).mark_line(clip=True).encode(*channels, color=colour)
    return alt.LayerChart(layer=[fits, marks] if ends.height else [marks]).properties(width=width, height=height)


def _channel(
    channel: type[alt.X] | type[alt.Y], field: str, axis: Axis, values: pl.Series, ends: pl.Series
) -> alt.X | alt.Y:
    scale = alt.Scale(type="log") if axis.log else alt.Scale(zero=False, nice=False)
    domain = axis.domain if axis.domain is not None or axis.log else _with_room(values, ends)
    if domain is not None:
        scale.domain = list(domain)
    return channel(f"{field}:Q", title=axis.label, scale=scale)


def _with_room(values: pl.Series, ends: pl.Series) -> tuple[float, float] | None:
    """The range of values and line ends with a margin on either side, but not below zero unless a value is."""
    sound = values.filter(values.is_finite()).drop_nulls()
    if not sound.len():
        return None
    extent = pl.concat([sound, ends.filter(ends.is_finite())])
    low, high = float(extent.min()), float(extent.max())  # type: ignore[arg-type]
    room = 0.04 * ((high - low) or abs(high) or 1.0)
    return (max(low - room, 0.0) if float(sound.min()) >= 0 else low - room), high + room  # type: ignore[arg-type]


def _ends(rows: pl.DataFrame, lines: Mapping[str, tuple[float, float]]) -> pl.DataFrame:
    ends = []
    for name, (intercept, slope) in lines.items():
        span = rows.filter(pl.col("series") == name)["x"].drop_nulls()
        ends += [(at, intercept + slope * at, name) for at in (span.min(), span.max()) if span.len()]  # type: ignore[operator]
    return pl.DataFrame(ends, schema={"x": pl.Float64, "y": pl.Float64, "series": pl.String}, orient="row")


_HIGH = 24  # pixels per row


def forest(
    data: pl.DataFrame,
    value: Axis | str,
    row: Axis | str,
    series: Axis | str | None = None,
    panel: Axis | str | None = None,
    *,
    low: str = "low",
    high: str = "high",
    reference: float | None = None,
    columns: int = 2,
    width: int = 300,
) -> alt.LayerChart | alt.FacetChart:
    """One point per row with a bar from column `low` to column `high`, and a dashed line at `reference`.

    Rows and panels keep their order; `series` distinguishes points by colour and shape, up to six. A null value leaves
    its row empty, a null end omits the bar. `width` is that of a panel. Raises DataError for a
    column that is missing or not numeric, and for more than six series.
    """
    value, row = (Axis(axis) if isinstance(axis, str) else axis for axis in (value, row))
    by = Axis(series) if isinstance(series, str) else series
    group = Axis(panel) if isinstance(panel, str) else panel
    for name in (value.column, low, high):
        if name not in data.columns:
            raise DataError(f"no column {name!r} to draw; the data has: {', '.join(data.columns)}")
        if not (data[name].dtype.is_numeric() or data[name].dtype == pl.Null):
            raise DataError(f"column {name!r} is of type {data[name].dtype}; a point needs a number")
    rows, kinds, panels = (shown_names(data, axis) for axis in (row, by, group))
    if len(kinds) > len(SHAPES):
        raise DataError(f"{len(kinds)} series of points; at most {len(SHAPES)} can be distinguished")
    frame = pl.DataFrame(
        {
            "row": [rows[key] for key in data[row.column].to_list()],
            "series": [kinds[key] for key in data[by.column].to_list()] if by else [""] * len(data),
            "panel": [panels[key] for key in data[group.column].to_list()] if group else [""] * len(data),
            "value": data[value.column].cast(pl.Float64),
            "low": data[low].cast(pl.Float64),
            "high": data[high].cast(pl.Float64),
        },
        schema_overrides={"row": pl.String, "series": pl.String, "panel": pl.String},
    ).filter(pl.col("value").is_finite())
    rank = pl.col("panel").replace_strict(list(panels.values()) or [""], range(max(1, len(panels))), default=0)
    layers = _layers(frame.with_columns(rank=rank, reference=pl.lit(reference)), value, by, list(rows.values()), kinds)
    sized = layers.properties(width=width, height=max(50, _HIGH * len(rows)))
    if group is None:
        return sized
    order = alt.EncodingSortField("rank", op="min", order="ascending")
    facet = alt.Facet("panel:N", title=None, sort=order, header=alt.Header(labelPadding=6))
    return sized.facet(facet=facet, columns=columns).resolve_axis(x="independent")


def _layers(data: pl.DataFrame, value: Axis, by: Axis | None, rows: list[str], kinds: dict[Any, str]) -> alt.LayerChart:
    scale: dict[str, Any] = {"type": "log"} if value.log else {"zero": False, "padding": 10}
    if value.domain is not None:
        scale |= {"domain": list(value.domain), "padding": 0, "clamp": True}
    x = alt.X("value:Q", title=value.label, scale=alt.Scale(**scale), axis=alt.Axis(grid=True, tickCount=5))
    y = alt.Y(
        "row:N",
        title=None,
        scale=alt.Scale(domain=rows),
        axis=alt.Axis(grid=False, labelLimit=260, labelOverlap=False, labelFlush=False),
    )
    # without series a row has the colour of its role: a null is grey wherever it is drawn
    colour: Any = alt.Color("row:N", scale=alt.Scale(domain=rows, range=role_colours(rows)), legend=None)
    shape: Any = alt.value(SHAPES[0])
    if by is not None:
        names = list(kinds.values())
        legend = alt.Legend(title=by.label, columns=3) if len(names) > 1 else None
        colour = alt.Color("series:N", scale=alt.Scale(domain=names, range=colours(names, by.label)), legend=legend)
        shape = alt.Shape("series:N", scale=alt.Scale(domain=names, range=list(SHAPES[: len(names)])), legend=legend)
    base = alt.Chart(data)
    numbers = {"value": value.label, "low": "from", "high": "to"}
    tips = [alt.Tooltip(f"{field}:Q", title=title, format=".4g") for field, title in numbers.items()]
    bars = base.transform_filter("isValid(datum.low) && isValid(datum.high)").mark_rule(strokeWidth=1.8)
    points = base.mark_point(filled=True, size=70, opacity=1, stroke="white", strokeWidth=0.8)
    line = base.mark_rule(color=SOFT, strokeDash=[4, 3], strokeWidth=1).encode(alt.X("mean(reference):Q"))
    begin = alt.X("low:Q", title=value.label, scale=alt.Scale(**scale))
    layers = [
        bars.encode(begin, y, alt.X2("high:Q"), color=colour),
        points.encode(x, y, color=colour, shape=shape, tooltip=[alt.Tooltip("row:N", title=" "), *tips]),
    ]
    return alt.LayerChart(layer=[line, *layers] if data["reference"].is_not_null().any() else layers)
