"""Heat maps over two discrete axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import altair as alt
import numpy as np
import polars as pl
from jaxtyping import Float64

from netassay.errors import DataError
from netassay.reporting.section import Axis
from netassay.reporting.theme import DIVERGING, INK, SEQUENTIAL
from netassay.reporting.trace import shown_names

_LABELLED = 120  # maximum number of cells for which each shows its number
_EMPTY = "#E6E6E3"


def heat_map(
    data: pl.DataFrame,
    x: Axis | str,
    y: Axis | str,
    colour: Axis | str,
    *,
    scheme: Literal["sequential", "diverging"] = "sequential",
    centre: float = 0.0,
    width: int = 640,
    height: int | None = None,
) -> alt.LayerChart:
    """One cell per (x, y) pair, coloured by `colour`; numbers on the axes are sorted, words keep their order.

    Up to 120 cells show their number. A cell whose value is null or not finite (or not above zero if the
    colour is logarithmic) is grey with a cross and counted in a note. `diverging` has its neutral colour at
    `centre`. Raises DataError for a repeated pair and for a column that is missing or not numeric.
    """
    x, y, colour = (Axis(axis) if isinstance(axis, str) else axis for axis in (x, y, colour))
    names_x, names_y = shown_names(data, x), shown_names(data, y)
    cells = _cells(data, x, y, colour, scheme, centre)
    bounds = colour.domain or _bounds(cells["value"], scheme, centre)
    shaded = _shaded(cells, bounds, colour.log, scheme)
    missing = shaded["value"].null_count()
    notes = [f"{missing:,} of {shaded.height:,} cells have no value to colour (grey, ×)."] if missing else []
    chart = _layers(shaded, x, y, colour, scheme, bounds, (names_x, names_y))
    tall = height or max(120, min(640, 34 * len(names_y)))
    return chart.properties(width=width, height=tall, usermeta={"notes": notes})


def _layers(
    cells: pl.DataFrame,
    x: Axis,
    y: Axis,
    colour: Axis,
    scheme: str,
    bounds: Sequence[float],
    names: tuple[Mapping[Any, str], Mapping[Any, str]],
) -> alt.LayerChart:
    fields = {"x": x, "y": y, "shown": colour}
    # of numbers the reader can fill in those between, so that labels may be left out where they would overlap
    straight = [
        alt.Axis(
            labelAngle=0,
            labelFlush=False,
            labelOverlap=all(isinstance(value, int | float) for value in shown),
            labelSeparation=8,
        )
        for shown in names
    ]
    base = alt.Chart(cells).encode(
        alt.X("x:N", title=x.label, scale=alt.Scale(domain=list(names[0].values())), axis=straight[0]),
        alt.Y("y:N", title=y.label, scale=alt.Scale(domain=list(names[1].values())), axis=straight[1]),
        tooltip=[alt.Tooltip(f"{field}:N", title=axis.label) for field, axis in fields.items()],
    )
    scale: dict[str, Any] = {"type": "log"} if colour.log else {}
    scale |= {"scheme": SEQUENTIAL if scheme == "sequential" else DIVERGING, "domain": list(bounds)}
    legend = alt.Legend(format="~g", tickCount=4, titleLimit=280)
    fill = alt.Color("value:Q", title=colour.label, scale=alt.Scale(**scale), legend=legend)
    blank = base.transform_filter("!isValid(datum.value)").mark_rect(stroke="white", color=_EMPTY)
    rect = base.transform_filter("isValid(datum.value)").mark_rect(stroke="white").encode(color=fill)
    layers = [blank.properties(name="missing"), rect.properties(name="cells")]
    if cells.height <= _LABELLED:
        ink = alt.when("datum.light").then(alt.value("white")).otherwise(alt.value(INK))
        numbers = base.mark_text(fontSize=11).encode(text="label:N", color=ink)
        layers.append(numbers.properties(name="numbers"))
    return alt.LayerChart(layer=layers)


def _cells(data: pl.DataFrame, x: Axis, y: Axis, colour: Axis, scheme: str, centre: float) -> pl.DataFrame:
    if colour.column not in data.columns:
        raise DataError(f"no column {colour.column!r} to draw; the data has: {', '.join(data.columns)}")
    if not (data[colour.column].dtype.is_numeric() or data[colour.column].dtype == pl.Null):
        raise DataError(f"column {colour.column!r} is of type {data[colour.column].dtype}; colours stand for numbers")
    if colour.log and scheme == "diverging":
        raise DataError("a diverging scheme has a neutral value in its middle; give the logarithm itself as the data")
    names_x, names_y = shown_names(data, x), shown_names(data, y)
    value = data[colour.column].cast(pl.Float64)
    cells = pl.DataFrame(
        {
            "x": pl.Series([names_x[v] for v in data[x.column].to_list()], dtype=pl.String),
            "y": pl.Series([names_y[v] for v in data[y.column].to_list()], dtype=pl.String),
            "given": value,
        }
    )
    twice = cells.filter(pl.struct("x", "y").is_duplicated())
    if twice.height:
        pair = twice.row(0)[:2]
        raise DataError(f"cell {pair} comes more than once in the data; aggregate it to one row a cell first")
    full = pl.DataFrame({"x": list(names_x.values())}, schema={"x": pl.String}).join(
        pl.DataFrame({"y": list(names_y.values())}, schema={"y": pl.String}), how="cross"
    )
    number = pl.col("given")
    sound = number.is_finite() & ((number > 0) | pl.lit(not colour.log))
    return full.join(cells, on=["x", "y"], how="left").with_columns(value=pl.when(sound).then(number))


def _bounds(values: pl.Series, scheme: str, centre: float) -> tuple[float, ...]:
    numbers = values.drop_nulls().to_list()
    if scheme == "diverging":
        reach = max((abs(value - centre) for value in numbers), default=1.0) or 1.0
        return (centre - reach, centre, centre + reach)
    low, high = min(numbers, default=1.0), max(numbers, default=2.0)
    return (low, high) if low < high else (low, low + (abs(low) or 1.0))


def _shaded(cells: pl.DataFrame, bounds: tuple[float, ...], log: bool, scheme: str) -> pl.DataFrame:
    """Adds the label of each cell and whether it is written in white."""
    low, high = bounds[0], bounds[-1]

    def on_dark(value: float | None) -> bool:
        if value is None:
            return False
        part = math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
        return part < 0.6 if scheme == "sequential" else abs(part - 0.5) > 0.36

    values = cells["value"].to_list()
    return cells.select("x", "y", "value").with_columns(
        light=pl.Series([on_dark(value) for value in values], dtype=pl.Boolean),
        label=pl.Series(["×" if value is None else _short(value) for value in values], dtype=pl.String),
        shown=pl.Series([_plain(value) for value in cells["given"].to_list()], dtype=pl.String),
    )


def _short(value: float) -> str:
    """Three digits; thousands in full, as 2,040 reads better than 2.04e+03."""
    return (f"{value:,.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.3g}").replace("-", "−")


def _plain(value: float | None) -> str:
    return "no value" if value is None else f"{value:.6g}"


def cluster_order(values: Float64[np.ndarray, "rows columns"]) -> list[int]:
    """An order of the rows that puts similar profiles together: average linkage of 1 - r, optimal leaf order.

    Constant rows are equally far from all others. Bar-Joseph, Gifford and Jaakkola, Bioinformatics 17 (2001).
    """
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering

    n = len(values)
    if n < 3:
        return list(range(n))
    centred = values - values.mean(1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = np.divide(centred, norms, out=np.zeros_like(centred), where=norms > 0)
    distances = np.clip(1 - unit @ unit.T, 0, 2)[np.triu_indices(n, 1)]
    tree = linkage(distances, "average")
    return leaves_list(optimal_leaf_ordering(tree, distances)).tolist()
