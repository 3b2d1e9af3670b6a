"""Points in groups, and the straight lines fitted through them."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import polars as pl

from netassay.errors import DataError
from netassay.reporting.chart import Axis
from netassay.reporting.theme import PALETTE, SHAPES


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
    """One point a row, told apart by colour and shape; `lines` maps a series to (intercept, slope) of its line.

    A line is drawn from the least to the greatest x of its series, on axes that are not logarithmic. At most six
    series. Raises DataError for more, for a column that is missing, and for values that are no numbers.
    """
    x, y, by = (Axis(axis) if isinstance(axis, str) else axis for axis in (x, y, series))
    for axis in (x, y, by):
        if axis.column not in data.columns:
            raise DataError(f"no column {axis.column!r} to draw; the data has: {', '.join(data.columns)}")
    for axis in (x, y):
        if not data[axis.column].dtype.is_numeric():
            raise DataError(
                f"column {axis.column!r} is of type {data[axis.column].dtype}; an axis shows numbers"
            )
    rows = data.select(
        pl.col(x.column).cast(pl.Float64).alias("x"), pl.col(y.column).cast(pl.Float64).alias("y"),
        pl.col(by.column).cast(pl.String).alias("series"),
    )  # fmt: skip
    names = rows["series"].unique(maintain_order=True).to_list()
    if len(names) > len(SHAPES):
        raise DataError(f"{len(names)} series of points; at most {len(SHAPES)} can be told apart")
    legend = alt.Legend(title=by.label)
    colour = alt.Color(
        "series:N", scale=alt.Scale(domain=names, range=list(PALETTE[: len(names)])), legend=legend
    )
    shape = alt.Shape(
        "series:N", scale=alt.Scale(domain=names, range=list(SHAPES[: len(names)])), legend=legend
    )
    channels = (_channel(alt.X, "x", x, rows["x"]), _channel(alt.Y, "y", y, rows["y"]))
    points = alt.Chart(rows).mark_point(filled=True, size=70, opacity=1, stroke="white", strokeWidth=0.9)
    tips = [alt.Tooltip("series:N", title=by.label), alt.Tooltip("x:Q", title=x.label, format=",.6~g"),
            alt.Tooltip("y:Q", title=y.label, format=",.6~g")]  # fmt: skip
    drawn = points.encode(*channels, color=colour, shape=shape, tooltip=tips)
    ends = _ends(rows, lines or {})
    fitted = alt.Chart(ends).mark_line().encode(*channels, color=colour)
    return alt.LayerChart(layer=[fitted, drawn]).properties(width=width, height=height)


def _channel(channel: type[alt.X] | type[alt.Y], field: str, axis: Axis, values: pl.Series) -> alt.X | alt.Y:
    scale = alt.Scale(type="log") if axis.log else alt.Scale(zero=False, nice=False)
    domain = axis.domain if axis.domain is not None or axis.log else _with_room(values)
    if domain is not None:
        scale.domain = list(domain)
    return channel(f"{field}:Q", title=axis.label, scale=scale)


def _with_room(values: pl.Series) -> tuple[float, float] | None:
    """The values' range and a little on either side, but not below zero where none of them is."""
    sound = values.filter(values.is_finite()).drop_nulls()
    if not sound.len():
        return None
    low, high = float(sound.min()), float(sound.max())  # type: ignore[arg-type]
    room = 0.04 * ((high - low) or abs(high) or 1.0)
    return (max(low - room, 0.0) if low >= 0 else low - room), high + room


def _ends(rows: pl.DataFrame, lines: Mapping[str, tuple[float, float]]) -> pl.DataFrame:
    ends = []
    for name, (intercept, slope) in lines.items():
        held = rows.filter(pl.col("series") == name)["x"].drop_nulls()
        ends += [(at, intercept + slope * at, name) for at in (held.min(), held.max()) if held.len()]  # type: ignore[operator]
    return pl.DataFrame(ends, schema={"x": pl.Float64, "y": pl.Float64, "series": pl.String}, orient="row")
