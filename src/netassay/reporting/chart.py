"""Line charts for any study, alone or with one panel per group.

Every constructor takes a long data frame and returns an Altair chart that may be changed further. Column
names and the strings in the data are free: inside the chart the columns are x, y, series, panel. What was
done to the data before drawing (thinning, points that cannot be drawn) is in the chart's
`usermeta["notes"]`, and the page prints it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import polars as pl

from netassay.reporting.palette import NETWORK, colours
from netassay.reporting.section import Axis, Rule
from netassay.reporting.theme import DASHES, SHAPES, SOFT
from netassay.reporting.trace import LABEL_WIDTH, MARKS, Trace, trace

_ZOOM = "wheel![event.ctrlKey || event.metaKey]"  # a bare wheel must go on scrolling the page
_DRAG = "[pointerdown[event.pointerType === 'mouse'], window:pointerup] > window:pointermove!"
_IN_VIEW = "domain('y').length < 2 || inrange(datum.y, domain('y')) ? 1 : 0"  # labels are outside the clip
_DASHED = 200  # maximum number of points of a dashed line; a dash is lost on a line that oscillates from pixel to pixel


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
    """One line per value of `series`, distinguished by colour and, up to six, by dash and point shape.

    Lines of more than 1,000 points are thinned to the minimum and maximum of each stretch, so that peaks remain.
    Null and non-finite values, and those not above zero on a logarithmic axis, leave a gap. Raises DataError
    for a column that is missing or not numeric, and for a rule at a value that cannot be drawn.
    """
    x, y, by = _axis(x), _axis(y), _axis(series) if series is not None else None
    curves = trace(data, x, y, by, None, rules, height)
    layers = _layers(curves, x, y, by, width, width)
    return layers.properties(width=width, height=height, usermeta=_meta(curves))


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
    """`lines` with one panel per value of `panel`, on shared axes; `width` and `height` are those of one panel."""
    x, y, by, group = _axis(x), _axis(y), _axis(series) if series is not None else None, _axis(panel)
    curves = trace(data, x, y, by, group, rules, height)
    layers = _layers(curves, x, y, by, width, columns * width)
    # sorted by a number, as a list of names would become an expression with the names in it
    order = alt.EncodingSortField("rank", op="min", order="ascending")
    # a name wider than its panel is broken at its commas
    long = max((len(name) for name in curves.rows["panel"].drop_nulls().unique()), default=0)
    split: dict[str, Any] = {"labelExpr": "split(datum.label, ', ')"} if 7 * long > width else {}
    facet = alt.Facet("panel:N", title=None, sort=order, header=alt.Header(labelPadding=6, **split))
    panels = layers.properties(width=width, height=height).facet(facet=facet, columns=columns)
    spacing = {"column": 24 + curves.label_width, "row": 24}
    if curves.rows["panel"].n_unique() % columns:
        # a last row that is not full would leave an axis under no panel
        panels = panels.resolve_axis(x="independent")
    return panels.properties(spacing=spacing, usermeta=_meta(curves))


def _axis(axis: Axis | str) -> Axis:
    return Axis(axis) if isinstance(axis, str) else axis


def _meta(curves: Trace) -> dict[str, Any]:
    """For the page: notes for the reader, and the widths in pixels that it needs to fit the chart."""
    widths = {"legendEntry": _entry_width(curves.series), "labelWidth": curves.label_width}
    return {"notes": list(curves.notes), **widths}


def _entry_width(series: Sequence[str]) -> int:
    return 48 + min(250, 7 * max((len(name) for name in series), default=0))


def _dashes(curves: Trace) -> list[Sequence[int]]:
    count = len(curves.series)
    if count <= len(DASHES):
        return list(DASHES[:count]) if curves.longest <= _DASHED else [DASHES[0]] * count
    # neighbours in a long row of colours differ by their dashes too
    return [DASHES[0] if curves.ordered else DASHES[i % len(DASHES)] for i in range(count)]


def _quantity(channel: Any, curves: Trace, axis: Axis, ticks: int, padding: int) -> Any:
    field = "x" if channel is alt.X else "y"
    scale: dict[str, Any] = {"padding": padding, "nice": False}
    scale |= {"type": "log"} if axis.log else {"zero": False}
    scale |= {} if axis.domain is None else {"domain": list(axis.domain), "padding": 0}
    tick_options: dict[str, Any] = {"tickCount": ticks} | ({"format": "~g"} if axis.log else {})
    values: list[float] = curves.rows[field].drop_nulls().to_list()
    if values and not axis.log and all(map(float.is_integer, values)):  # no tick at half a token or half a step
        low, high = axis.domain or (min(values), max(values))
        tick_options["tickCount"] = min(ticks, max(1, int(high - low)))
    return channel(f"{field}:Q", title=axis.label, scale=alt.Scale(**scale), axis=alt.Axis(**tick_options))


def _styles(curves: Trace, by: Axis | None, width: int) -> tuple[Any, Any, Any]:
    """Colour, dash and shape of the series, with one legend for the three."""
    if by is None:
        return alt.value(NETWORK), alt.value([1, 0]), alt.value("circle")
    names = list(curves.series)
    columns = max(1, min(len(names), width // _entry_width(names)))
    legend = alt.Legend(title=by.label, columns=columns)
    scale = alt.Scale(domain=names, range=colours(names, by.label))
    colour = alt.Color("series:N", scale=scale, legend=legend)
    # a dashed outline would spoil the shapes of the legend, which distinguish the lines as well
    dash_legend = None if curves.shaped else legend
    dash = alt.StrokeDash("series:N", scale=alt.Scale(domain=names, range=_dashes(curves)), legend=dash_legend)
    shapes = list(SHAPES[: len(names)]) if curves.shaped else ["stroke"] * len(names)
    shape = alt.Shape("series:N", scale=alt.Scale(domain=names, range=shapes), legend=legend)
    return colour, dash, shape


def _layers(curves: Trace, x: Axis, y: Axis, by: Axis | None, width: int, full_width: int) -> alt.LayerChart:
    base = alt.Chart(curves.rows)
    # room for the shapes on the first and last points of a short line
    horizontal = _quantity(alt.X, curves, x, max(3, width // 90), 8 if curves.longest <= MARKS else 0)
    vertical = _quantity(alt.Y, curves, y, 5, 8)
    colour, dash, shape = _styles(curves, by, full_width)
    pick = alt.selection_point(name="pick", fields=["series"], bind="legend")
    zoom = alt.selection_interval(name="zoom", bind="scales", zoom=_ZOOM, translate=_DRAG)
    faded: Any = alt.when(pick).then(alt.value(1)).otherwise(alt.value(0.12)) if by else alt.value(1)
    points = base.transform_filter("datum.kind === 'point'")
    line = points.mark_line(clip=True).encode(horizontal, vertical, color=colour, strokeDash=dash)
    layers = [line.encode(opacity=faded).properties(name="lines").add_params(zoom, *([pick] if by else []))]
    if curves.shaped or curves.rows["marked"].any():
        marked = base.transform_filter("datum.marked")
        dots = marked.mark_point(clip=True, filled=True, size=58, stroke="white", strokeWidth=0.9, aria=False)
        dots = dots.encode(horizontal, vertical, color=colour, opacity=faded)
        layers.append(dots.encode(shape=shape) if curves.shaped else dots)
    if curves.rules:
        layers += _rules(base.transform_filter("datum.kind === 'rule'"), vertical, curves, by)
    tips = [alt.Tooltip("series:N", title=by.label)] if by else []
    tips += [alt.Tooltip(f"{field}:Q", title=axis.label, format=".6~g") for field, axis in (("x", x), ("y", y))]
    hover = base.transform_filter("datum.near").mark_point(opacity=0, size=120, clip=True, aria=False)
    targets = hover.encode(horizontal, vertical, tooltip=tips).properties(name="hover")
    return alt.layer(*layers, targets).resolve_legend(strokeDash="independent" if curves.shaped else "shared")


def _rules(rules: alt.Chart, vertical: Any, curves: Trace, by: Axis | None) -> list[alt.Chart]:
    paint: Any = alt.value(SOFT)
    if by is not None:
        scale = alt.Scale(domain=list(curves.series), range=colours(curves.series, by.label))
        coloured = alt.Color("series:N", scale=scale)
        paint = alt.when("isValid(datum.series)").then(coloured).otherwise(alt.value(SOFT))
    line = rules.mark_rule(strokeDash=[3, 3], strokeWidth=1.1, clip=True).encode(vertical, color=paint)
    alignment: Any = {
        "baseline": "middle",
        "align": "left",
        "dx": 6,
        "dy": {"expr": "datum.shift"},
        "clip": False,
    }
    label = rules.mark_text(fontSize=11, limit=LABEL_WIDTH, opacity={"expr": _IN_VIEW}, **alignment)
    label = label.encode(vertical, text="label:N", color=paint, x=alt.value("width"))
    return [line.properties(name="reference"), label.properties(name="reference_label")]
