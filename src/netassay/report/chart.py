"""Line charts, alone or one panel a group, as any study draws them.

Every constructor takes a long data frame and returns an Altair chart that may be changed further. Column names
and the strings in the data are free: inside the chart the columns are x, y, series, panel. What was done to the
data before drawing (thinning, points that cannot be drawn) stands in the chart's `usermeta["notes"]`, and the page
prints it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import polars as pl

from netassay.report.theme import DASHES, ORDERED, PALETTE, SHAPES, SOFT
from netassay.report.trace import LABEL_WIDTH, MARKS, Trace, trace

_ZOOM = "wheel![event.ctrlKey || event.metaKey]"  # a bare wheel must go on scrolling the page
_DRAG = "[pointerdown[event.pointerType === 'mouse'], window:pointerup] > window:pointermove!"
_IN_VIEW = "domain('y').length < 2 || inrange(datum.y, domain('y')) ? 1 : 0"  # labels stand outside the clip
_DASHED = 200  # up to so many points a line; a dash is lost on a line that oscillates from pixel to pixel


@dataclass(frozen=True)
class Axis:
    """A column and how it is shown. `domain` bounds the axis; without it the data does."""

    column: str
    title: str = ""
    unit: str = ""
    log: bool = False
    domain: tuple[float, float] | None = None

    @property
    def label(self) -> str:
        words = self.title or self.column
        return f"{words} ({self.unit})" if self.unit else words


@dataclass(frozen=True)
class Rule:
    """A labelled horizontal line at `value`, in the colour of `series` and only in `panel` where these are given."""

    value: float
    label: str
    series: Any = None
    panel: Any = None


def lines(
    data: pl.DataFrame,
    x: Axis | str,
    y: Axis | str,
    series: Axis | str | None = None,
    *,
    rules: Sequence[Rule] = (),
    width: int = 640,
    height: int = 320,
) -> alt.LayerChart:
    """One line a value of `series`, told apart by colour and, up to six, by dash and point shape.

    Lines of more than 1,000 points are thinned to the least and greatest of each stretch, so that peaks stay; null
    and not finite values, and on a logarithmic axis those not above zero, leave a gap. Raises DataError for a
    column that is missing or not numeric.
    """
    x, y, by = _axis(x), _axis(y), _axis(series) if series is not None else None
    drawn = trace(data, x, y, by, None, rules)
    layers = alt.layer(*_layers(drawn, x, y, by, width, width))
    return layers.properties(width=width, height=height, usermeta=_meta(drawn))


def small_multiples(
    data: pl.DataFrame,
    x: Axis | str,
    y: Axis | str,
    panel: Axis | str,
    series: Axis | str | None = None,
    *,
    rules: Sequence[Rule] = (),
    columns: int = 2,
    width: int = 290,
    height: int = 190,
) -> alt.FacetChart:
    """`lines`, one panel a value of `panel`, on shared axes; `width` and `height` are one panel's, in pixels."""
    x, y, by, group = _axis(x), _axis(y), _axis(series) if series is not None else None, _axis(panel)
    drawn = trace(data, x, y, by, group, rules)
    layers = alt.layer(*_layers(drawn, x, y, by, width, columns * width))
    facet = alt.Facet("panel:N", title=None, sort=drawn.panels, header=alt.Header(labelPadding=6))
    panels = layers.properties(width=width, height=height).facet(facet=facet, columns=columns)
    spacing = {"column": 24 + drawn.label_width, "row": 24}
    return panels.properties(spacing=spacing, usermeta=_meta(drawn))


def _axis(axis: Axis | str) -> Axis:
    return Axis(axis) if isinstance(axis, str) else axis


def _meta(drawn: Trace) -> dict[str, Any]:
    return {"notes": list(drawn.notes), "legendEntry": _entry_width(drawn.series), "labelWidth": drawn.label_width}


def _entry_width(series: Sequence[str]) -> int:
    return 48 + min(150, 7 * max((len(name) for name in series), default=0))


def _colours(series: Sequence[str], ordered: bool) -> list[str]:
    if len(series) <= len(PALETTE) or not ordered:
        return [PALETTE[i % len(PALETTE)] for i in range(len(series))]
    return [ORDERED[round(i * (len(ORDERED) - 1) / (len(series) - 1))] for i in range(len(series))]


def _dashes(drawn: Trace) -> list[Sequence[int]]:
    count = len(drawn.series)
    if count <= len(DASHES):
        return list(DASHES[:count]) if drawn.longest <= _DASHED else [DASHES[0]] * count
    # one dash for each round through the colours, so that no two of up to 42 lines look the same
    return [DASHES[0] if drawn.ordered else DASHES[i // len(PALETTE) % len(DASHES)] for i in range(count)]


def _quantity(channel: Any, field: str, axis: Axis, ticks: int, padding: int) -> Any:
    scale: dict[str, Any] = {"padding": padding, "nice": False}
    scale |= {"type": "log"} if axis.log else {"zero": False}
    scale |= {} if axis.domain is None else {"domain": list(axis.domain), "padding": 0}
    marks = alt.Axis(tickCount=ticks, **({"format": "~g"} if axis.log else {}))
    return channel(f"{field}:Q", title=axis.label, scale=alt.Scale(**scale), axis=marks)


def _styles(drawn: Trace, by: Axis | None, width: int) -> tuple[Any, Any, Any]:
    """Colour, dash and shape of the series, with one legend for the three."""
    if by is None:
        return alt.value(PALETTE[0]), alt.value([1, 0]), alt.value("circle")
    names = list(drawn.series)
    columns = max(1, min(len(names), width // _entry_width(names)))
    legend = alt.Legend(title=by.label, columns=columns)
    shapes = SHAPES[: len(names)] if drawn.shaped else ["stroke"] * len(names)
    ranges = (_colours(names, drawn.ordered), _dashes(drawn), list(shapes))
    channels = (alt.Color, alt.StrokeDash, alt.Shape)
    return tuple(  # type: ignore[return-value]
        channel("series:N", scale=alt.Scale(domain=names, range=values), legend=legend)
        for channel, values in zip(channels, ranges, strict=True)
    )


def _layers(drawn: Trace, x: Axis, y: Axis, by: Axis | None, width: int, whole: int) -> list[alt.Chart]:
    base = alt.Chart(drawn.rows)
    # room for the shapes that stand on the first and last points of a short line
    horizontal = _quantity(alt.X, "x", x, max(3, width // 90), 8 if drawn.longest <= MARKS else 0)
    vertical = _quantity(alt.Y, "y", y, 5, 8)
    colour, dash, shape = _styles(drawn, by, whole)
    pick = alt.selection_point(name="pick", fields=["series"], bind="legend")
    zoom = alt.selection_interval(name="zoom", bind="scales", zoom=_ZOOM, translate=_DRAG)
    faded: Any = alt.when(pick).then(alt.value(1)).otherwise(alt.value(0.12)) if by else alt.value(1)
    points = base.transform_filter("datum.kind === 'point'")
    line = points.mark_line(clip=True).encode(horizontal, vertical, color=colour, strokeDash=dash, opacity=faded)
    layers = [line.properties(name="lines").add_params(zoom, *([pick] if by else []))]
    if drawn.shaped:
        marked = base.transform_filter("datum.marked")
        dots = marked.mark_point(clip=True, filled=True, size=58, stroke="white", strokeWidth=0.9, aria=False)
        layers.append(dots.encode(horizontal, vertical, color=colour, shape=shape, opacity=faded))
    if drawn.rules:
        layers += _rules(base.transform_filter("datum.kind === 'rule'"), vertical, drawn, by)
    tips = [alt.Tooltip("x:Q", title=x.label, format=".6~g"), alt.Tooltip("y:Q", title=y.label, format=".5~g")]
    tips = [alt.Tooltip("series:N", title=by.label), *tips] if by else tips
    hover = base.transform_filter("datum.near").mark_point(opacity=0, size=120, clip=True, aria=False)
    return [*layers, hover.encode(horizontal, vertical, tooltip=tips).properties(name="hover")]


def _rules(rules: alt.Chart, vertical: Any, drawn: Trace, by: Axis | None) -> list[alt.Chart]:
    paint: Any = alt.value(SOFT)
    if by is not None:
        scale = alt.Scale(domain=list(drawn.series), range=_colours(drawn.series, drawn.ordered))
        coloured = alt.Color("series:N", scale=scale)
        paint = alt.when("isValid(datum.series)").then(coloured).otherwise(alt.value(SOFT))
    line = rules.mark_rule(strokeDash=[3, 3], strokeWidth=1.1, clip=True).encode(vertical, color=paint)
    shown: Any = {"expr": _IN_VIEW}
    label = rules.mark_text(fontSize=11, baseline="middle", align="left", dx=6, clip=False, opacity=shown, limit=LABEL_WIDTH)
    label = label.encode(vertical, text="label:N", color=paint, x=alt.value("width"))
    return [line.properties(name="reference"), label.properties(name="reference_label")]
