"""Sequence logos: stacks of letters as high as the information of each base (Schneider and Stephens 1990).

Letters are polygons on the chart's own axes, so they stretch with it and need no font.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import cast

import altair as alt
import numpy as np
import polars as pl
from jaxtyping import Float

from netassay.errors import DataError
from netassay.reporting.theme import BASES as BASE_COLOURS
from netassay.reporting.theme import SOFT

BASES = "ACGT"

_LEAST = 0.012  # of the axis: lower letters cannot be seen
_GAP = 0.04  # of a column, between letters
_ARC = 9  # corners of each bow of C and G

Heights = Float[np.ndarray, "4 width"]


def logos(
    panels: Sequence[tuple[str, Heights]],
    *,
    title: str = "bits",
    domain: tuple[float, float] | None = (0.0, 2.0),
    first: int | Sequence[int] = 1,
    positions: tuple[int, int] | None = None,
    columns: int = 3,
    width: int = 210,
    height: int = 56,
) -> alt.FacetChart:
    """One logo per panel (name, heights of A, C, G, T in each column), `columns` panels per row, on common axes.

    Heights below zero hang under the axis. `domain` bounds the vertical axis; if None, the data do. `first` is the
    number of the first column (of each panel, if several are given), `positions` the first and last that are shown, by
    default all. Raises DataError for no panels and heights that are not (4, width) or not finite.
    """
    if not panels:
        raise DataError("no motifs to draw; give at least one")
    starts = [first] * len(panels) if isinstance(first, int) else list(first)
    for name, heights in panels:
        if heights.ndim != 2 or heights.shape[0] != 4 or not np.isfinite(heights).all():
            raise DataError(
                f"logo {name!r} has heights of shape {heights.shape}; give four rows, A, C, G, T, of finite numbers"
            )
    low, high = domain or _bounds([heights for _, heights in panels])
    ends = [start + heights.shape[1] - 1 for start, (_, heights) in zip(starts, panels, strict=True)]
    left, right = positions or (min(starts), max(ends))
    names = [name for name, _ in panels]
    frames = [
        # an invisible letter distinguishes panels of the same name
        _letters(i, name + "\u200b" * names[:i].count(name), heights, start, (low, high)).filter(
            pl.col("at").is_between(left, right)
        )
        for i, ((name, heights), start) in enumerate(zip(panels, starts, strict=True))
    ]
    return _facets(pl.concat(frames), title, (low, high), (left, right), columns, (width, height))


def logo(
    heights: Heights,
    *,
    title: str = "bits",
    domain: tuple[float, float] | None = (0.0, 2.0),
    first: int = 1,
    width: int = 640,
    height: int = 120,
) -> alt.LayerChart:
    """A single logo; for signed contributions of bases set `domain` to None."""
    low, high = domain or _bounds([heights])
    rows = _letters(0, "", heights, first, (low, high))
    layers = _layers(rows, title, (low, high), (first, first + heights.shape[1] - 1))
    return layers.properties(width=width, height=height)


def _bounds(heights: Sequence[Heights]) -> tuple[float, float]:
    high = max(float(part.clip(min=0).sum(0).max(initial=0)) for part in heights)
    low = min(float(part.clip(max=0).sum(0).min(initial=0)) for part in heights)
    return (low, high) if high > low else (0.0, 1.0)


def _letters(panel: int, name: str, heights: Heights, first: int, domain: tuple[float, float]) -> pl.DataFrame:
    """A row for every visible letter: its left and lower edge, its height, base, position and value.

    The highest letter of a column is farthest from the axis.
    """
    threshold = _LEAST * (domain[1] - domain[0])
    rows: list[tuple[float, float, float, str | None, int, float]] = []
    for column, values in enumerate(heights.T.tolist()):
        for sign in (1, -1):
            level = 0.0
            for base in sorted(range(4), key=lambda b: abs(values[b])):
                size = max(0.0, sign * values[base])
                if size >= threshold:
                    bottom, at = level if sign > 0 else -level - size, first + column
                    left = at - 0.5 + _GAP / 2
                    rows.append((left, round(bottom, 5), round(size, 5), BASES[base], at, round(values[base], 4)))
                level += size
    schema = {
        "left": pl.Float64,
        "bottom": pl.Float64,
        "size": pl.Float64,
        "base": pl.String,
        "at": pl.Int64,
        "value": pl.Float64,
    }
    # a panel without a visible letter is drawn all the same
    letters = pl.DataFrame(rows or [(None, None, None, None, first, None)], schema=schema, orient="row")
    return letters.with_columns(panel=pl.lit(name), rank=pl.lit(panel, pl.Int64))


def _facets(
    rows: pl.DataFrame,
    title: str,
    domain: tuple[float, float],
    span: tuple[int, int],
    columns: int,
    size: tuple[int, int],
) -> alt.FacetChart:
    order = alt.EncodingSortField("rank", op="min", order="ascending")
    header = alt.Header(labelPadding=3, labelFontSize=11, labelFontWeight="normal", labelLimit=size[0])
    facet = alt.Facet("panel:N", title=None, sort=order, header=header)
    panels = _layers(rows, title, domain, span).properties(width=size[0], height=size[1])
    return panels.facet(facet=facet, columns=columns).properties(spacing={"column": 26, "row": 14})


def _layers(rows: pl.DataFrame, title: str, domain: tuple[float, float], span: tuple[int, int]) -> alt.LayerChart:
    low, high = domain
    ticks = [0, high / 2, high] if low >= 0 else [low, 0, high]
    x = alt.X(
        "x:Q",
        title=None,
        scale=alt.Scale(domain=[span[0] - 0.5, span[1] + 0.5], nice=False),
        axis=alt.Axis(values=_marks(*span), format="d", grid=False, domain=low >= 0, tickSize=3),
    )
    y = alt.Y(
        "y:Q",
        title=title,
        scale=alt.Scale(domain=[low, high], nice=False),
        axis=alt.Axis(values=ticks, format=".2~g", grid=False, titlePadding=6),
    )
    colours = alt.Scale(domain=list(BASES), range=list(BASE_COLOURS))
    letters = (
        alt.Chart(rows)
        .transform_filter("datum.size > 0")
        .transform_calculate(corner=_CORNERS)
        .transform_flatten(["corner"])
        .transform_calculate(
            x=f"datum.left + {1 - _GAP} * datum.corner[0]",
            y="datum.bottom + datum.size * datum.corner[1]",
            turn="datum.corner[2]",
        )
        .mark_line(filled=True, strokeWidth=0, clip=True)
        .encode(
            x,
            y,
            fill=alt.Fill("base:N", scale=colours, legend=None),
            order="turn:Q",
            detail="at:O",
            tooltip=[
                alt.Tooltip("at:Q", title="position"),
                alt.Tooltip("base:N"),
                alt.Tooltip("value:Q", title=title, format=".3~g"),
            ],
        )
    )
    line = alt.Chart(rows).mark_rule(strokeWidth=0.7, color=SOFT).encode(y=alt.datum(0))
    return cast(alt.LayerChart, alt.layer(line, letters))


def _marks(first: int, last: int) -> list[int]:
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 10**9) if (last - first) / step <= 10)
    positions = [at for at in range(first, last + 1) if at % step == 0]
    return positions if step > 1 else list(range(first, last + 1))


def _bow(degrees: tuple[float, float], radii: tuple[float, float]) -> list[tuple[float, float]]:
    """Corners on an ellipse about the middle of the unit square."""
    start, stop = (math.radians(angle) for angle in degrees)
    angles = [start + (stop - start) * i / _ARC for i in range(_ARC + 1)]
    return [(0.5 + radii[0] * math.cos(a), 0.5 + radii[1] * math.sin(a)) for a in angles]


def _closed(corners: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Corners that fill the unit square from edge to edge, the first once more at the end."""
    x, y = np.array(corners).T
    x, y = ((part - part.min()) / np.ptp(part) for part in (x, y))
    points = list(zip(x.round(3).tolist(), y.round(3).tolist(), strict=True))
    return [*points, points[0]]


_OUTER, _INNER = (0.5, 0.5), (0.29, 0.34)

# the hole of A is reached and left along one line, and turns the other way round
_GLYPHS = {
    "A": _closed([
        (0.0, 0.0), (0.38, 1.0), (0.62, 1.0), (1.0, 0.0), (0.78, 0.0), (0.69, 0.24), (0.37, 0.4), (0.63, 0.4),
        (0.5, 0.78), (0.37, 0.4), (0.69, 0.24), (0.31, 0.24), (0.22, 0.0),
    ]),
    "C": _closed([*_bow((42, 318), _OUTER), *_bow((312, 48), _INNER)]),
    "G": _closed([
        *_bow((42, 322), _OUTER), (0.94, 0.22), (0.94, 0.54), (0.54, 0.54), (0.54, 0.4), (0.74, 0.4), (0.74, 0.26),
        *_bow((310, 48), _INNER),
    ]),
    "T": _closed([(0.4, 0.0), (0.4, 0.84), (0.0, 0.84), (0.0, 1.0), (1.0, 1.0), (1.0, 0.84), (0.6, 0.84), (0.6, 0.0)]),
}  # fmt: skip

_CORNERS = (
    json.dumps({base: [[*c, i] for i, c in enumerate(corners)] for base, corners in _GLYPHS.items()}) + "[datum.base]"
)
"""The corners of a letter, numbered, as a Vega expression: a row of data for each letter is all that a page carries."""
