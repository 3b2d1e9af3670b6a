"""Letters of DNA as outlines that can be stretched, and charts of signed letters along a sequence."""

from __future__ import annotations

import math
from functools import lru_cache

import altair as alt
import polars as pl

from netassay.errors import DataError
from netassay.reporting.theme import SOFT

COLOURS = {"A": "#009E73", "C": "#0072B2", "G": "#E69F00", "T": "#D55E00"}
"""Green, blue, orange, red as in most papers, in shades that colour-blind readers can tell apart."""

_LEAST = 0.01  # letters below this share of the tallest are no more than a line
_STEPS = 10  # corners of a quarter of a round letter's outline

Outline = tuple[tuple[float, float], ...]


@lru_cache
def outline(letter: str) -> Outline:
    """Corners of A, C, G or T in a square of width and height 1, its origin at the lower left, as one closed path."""
    return {"A": _a, "C": _c, "G": _g, "T": _t}[letter]()


def _a() -> Outline:
    legs = [
        (0.0, 0.0),
        (0.39, 1.0),
        (0.61, 1.0),
        (1.0, 0.0),
        (0.78, 0.0),
        (0.71, 0.2),
        (0.29, 0.2),
        (0.22, 0.0),
    ]
    # the hole is walked the other way round, to it and back along one line
    hole = [(0.355, 0.37), (0.645, 0.37), (0.5, 0.78), (0.355, 0.37)]
    return (*legs, (0.0, 0.0), *hole, (0.0, 0.0))


def _t() -> Outline:
    return (
        (0.0, 1.0),
        (1.0, 1.0),
        (1.0, 0.83),
        (0.61, 0.83),
        (0.61, 0.0),
        (0.39, 0.0),
        (0.39, 0.83),
        (0.0, 0.83),
    )


def _arc(begin: float, end: float, wide: float, tall: float) -> list[tuple[float, float]]:
    """Points of an ellipse about the middle of the square, from one angle to another (degrees)."""
    count = max(2, round(_STEPS * abs(end - begin) / 90))
    turns = [math.radians(begin + (end - begin) * i / count) for i in range(count + 1)]
    return [(0.5 + wide * math.cos(turn), 0.5 + tall * math.sin(turn)) for turn in turns]


def _c() -> Outline:
    return (*_arc(42, 318, 0.5, 0.5), *_arc(312, 48, 0.29, 0.34))


def _g() -> Outline:
    bar = [(1.0, 0.47), (0.56, 0.47), (0.56, 0.32), (0.79, 0.32), (0.79, 0.24)]
    return (*_arc(42, 318, 0.5, 0.5), (1.0, 0.17), *bar, *_arc(308, 48, 0.29, 0.34))


def signed_letters(
    data: pl.DataFrame,
    *,
    position: str,
    letter: str,
    value: str,
    panel: str,
    title: str,
    width: int = 640,
    height: int = 84,
) -> alt.FacetChart:
    """A letter a position as tall as its value, hanging upside down where that is negative; one panel below the other.

    Each panel has a scale of its own. Rows whose letter is none of A, C, G, T stay empty. Raises DataError for a
    column that is missing.
    """
    for column in (position, letter, value, panel):
        if column not in data.columns:
            raise DataError(f"no column {column!r} to draw; the data has: {', '.join(data.columns)}")
    rows = _corners(data.select(position, letter, value, panel))
    base = alt.Chart(rows)
    glyphs = base.mark_line(filled=True, strokeWidth=0, interpolate="linear").encode(
        alt.X("x:Q", title="position in the sequence", scale=alt.Scale(nice=False, zero=False, padding=4),
              axis=alt.Axis(format="d", tickMinStep=1)),
        alt.Y("y:Q", title=title, axis=alt.Axis(tickCount=3, grid=False)),
        alt.Detail("glyph:N"), alt.Order("corner:Q"),
        alt.Fill("letter:N", scale=alt.Scale(domain=list(COLOURS), range=list(COLOURS.values())), legend=None),
    )  # fmt: skip
    zero = base.mark_rule(color=SOFT, strokeWidth=0.6).encode(y=alt.datum(0))
    header = alt.Header(labelLimit=width)
    facet = alt.Facet("panel:N", title=None, sort=alt.EncodingSortField("rank", op="min"), header=header)
    layers = alt.layer(zero, glyphs).properties(width=width, height=height).facet(facet=facet, columns=1)
    return layers.resolve_scale(y="independent", x="independent").properties(spacing=18)


def _corners(data: pl.DataFrame) -> pl.DataFrame:
    tallest: dict[str, float] = {}
    for _, _, value, panel in data.iter_rows():
        tallest[panel] = max(tallest.get(panel, 0.0), abs(value))
    ranks = {panel: i for i, panel in enumerate(tallest)}
    rows = []
    for glyph, (position, letter, value, panel) in enumerate(data.iter_rows()):
        if letter not in COLOURS:
            continue
        low = abs(value) < _LEAST * tallest[panel]
        path = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)) if low else outline(letter)
        rows += [
            (
                round(position - 0.47 + 0.94 * x, 3),
                float(f"{value * y:.4g}"),
                glyph,
                corner,
                letter,
                panel,
                ranks[panel],
            )
            for corner, (x, y) in enumerate(path)
        ]
    names = {"x": pl.Float64, "y": pl.Float64, "glyph": pl.Int64, "corner": pl.Int64, "letter": pl.String,
             "panel": pl.String, "rank": pl.Int64}  # fmt: skip
    return pl.DataFrame(rows, schema=names, orient="row")
