"""Line charts for any study, alone or with one panel per group.

Every constructor takes a long data frame and returns an Altair chart that may be changed further. Column
names and the strings in the data are free: inside the chart the columns are x, y, series, panel. What was
done to the data before drawing (thinning, points that cannot be drawn) is in the chart's
`usermeta["notes"]`, and the page prints it. `trace` is where that happens: lines are named, ordered and thinned.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import altair as alt
import polars as pl

from netassay.errors import DataError
from netassay.reporting.section import Axis, Rule
from netassay.reporting.theme import DASHES, NETWORK, SHAPES, SOFT, colours

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


LINE_POINTS = 1_000
"""Points above which a line is thinned; twice as many as the widest chart can show side by side."""
MOST_LINES = 80
"""Maximum number of lines of a chart, over all its panels; of more, an even sample is drawn."""
_BYTES = 170_000
"""Size of a chart's rows on a page, above which each line is thinned further; ends, gaps and rules come on top."""
_ROW_BYTES = 110
"""Of a row without its names."""
_FEWEST_POINTS = 16

_HOVER_POINTS = 150
_LABEL_HEIGHT = 13
_LABEL_DIGITS = 5e-3  # labels mostly show three digits
LABEL_WIDTH = 150  # pixels after which the label of a rule is cut
_MARGIN = 50  # a long line carries no shape on its outermost 1 / 50 at either end
MARKS = 30  # every point of a line with at most this many is marked; of longer lines a few are
_SPARSE = 7
_SHAPED_SERIES = 6
_LINE = ("panel", "series")


@dataclass(frozen=True)
class Trace:
    """Rows (panel, rank, series, x, y, label, kind "point" or "rule", near, marked, shift) and their properties.

    `series` is in drawing order; `ordered` says that the series are numbers, `longest` is the
    number of points of the longest line, `shaped` says that lines differ by shape too.
    """

    rows: pl.DataFrame
    series: tuple[str, ...]
    ordered: bool
    longest: int
    rules: int
    label_width: int
    shaped: bool
    notes: tuple[str, ...]


def trace(
    data: pl.DataFrame,
    x: Axis,
    y: Axis,
    by: Axis | None,
    group: Axis | None,
    rules: Sequence[Rule],
    height: int,
) -> Trace:
    """Brings `data` into the form for line charts of `height` pixels.

    A series or panel that only a rule names (a run without numbers yet) also appears in legend or grid.
    """
    data, rules, sampled = _sampled(data, by, group, rules)
    series = shown_names(data, by, (rule.series for rule in rules))
    panels = shown_names(data, group, (rule.panel for rule in rules))
    points = pl.DataFrame(
        {
            "panel": _name_column(data, group, panels),
            "series": _name_column(data, by, series),
            "x": _numbers(data, x),
            "y": _numbers(data, y),
        },
        schema_overrides={"panel": pl.String, "series": pl.String},
    )
    drawable, notes = _drawable(points, x.log, y.log)
    thinned, note = _thinned(drawable)
    lines = _rule_rows(rules, series, panels, y)
    shifted = _with_shifts(lines, thinned["y"], y, height)
    shaped = len(series) <= _SHAPED_SERIES and (bool(series) or thinned.height <= MARKS)
    rows = pl.concat([_with_marks(thinned, list(series.values()), shaped), shifted], how="diagonal")
    rank = pl.col("panel").replace_strict(list(panels.values()), range(len(panels)), default=0)
    rows = rows.drop("panel") if group is None else rows.with_columns(rank=rank)
    return Trace(
        rows=rows if rules else rows.drop("label", "shift"),
        series=tuple(series.values()),
        ordered=by is not None and by.column in data.columns and data[by.column].dtype.is_numeric(),
        longest=thinned.group_by(_LINE).len()["len"].max() or 0,  # type: ignore[arg-type]
        rules=lines.height,
        label_width=min(LABEL_WIDTH, max((10 + 6 * len(rule.label) for rule in rules), default=0)),
        shaped=shaped,
        notes=(*sampled, *notes, *note),
    )


def _sampled(
    data: pl.DataFrame, by: Axis | None, group: Axis | None, rules: Sequence[Rule]
) -> tuple[pl.DataFrame, Sequence[Rule], list[str]]:
    """An even sample of panels and series if there are more than MOST_LINES lines, with first and last, and a note."""
    notes, room = [], MOST_LINES
    for axis, key, word in ((group, "panel", "panels"), (by, "series", "lines")):
        if axis is None:
            continue
        names = list(shown_names(data, axis, (getattr(rule, key) for rule in rules)))
        if (count := len(names)) > room:
            sample = [names[i * (count - 1) // max(1, room - 1)] for i in range(room)]
            members = set(sample)
            data = data.filter([name in members for name in data[axis.column].to_list()])
            rules = [rule for rule in rules if getattr(rule, key) in (None, *sample)]
            notes.append(f"{room:,} of {count:,} {word} are drawn, evenly chosen; the CSV holds them all.")
        room = max(1, room // max(1, min(count, room)))
    return data, rules, notes


def _column(data: pl.DataFrame, axis: Axis) -> pl.Series:
    if axis.column not in data.columns:
        raise DataError(f"no column {axis.column!r} to draw; the data has: {', '.join(data.columns)}")
    return data[axis.column]


def _numbers(data: pl.DataFrame, axis: Axis) -> pl.Series:
    values = _column(data, axis)
    if not (values.dtype.is_numeric() or values.dtype == pl.Null or values.dtype == pl.Boolean):
        raise DataError(f"column {axis.column!r} is of type {values.dtype}; a line is drawn through numbers")
    return values.cast(pl.Float64)


def shown_names(data: pl.DataFrame, axis: Axis | None, more: Iterable[Any] = ()) -> dict[Any, str]:
    """Value -> shown name: numbers sorted, everything else in order of appearance."""
    if axis is None:
        return {}
    values = _column(data, axis).unique(maintain_order=True).to_list()
    values += dict.fromkeys(value for value in more if value is not None and value not in values)
    if all(isinstance(value, int | float) for value in values):
        values = sorted(values)
    short = {value: f"{value:g}" if isinstance(value, float) else str(value) for value in values}
    if len(set(short.values())) < len(short):  # two numbers agree in six digits
        short = {value: str(value) for value in values}
    return {value: "(none)" if value is None else name for value, name in short.items()}


def _name_column(data: pl.DataFrame, axis: Axis | None, names: dict[Any, str]) -> pl.Series:
    if axis is None:
        return pl.Series([None] * data.height, dtype=pl.String)
    return pl.Series([names[value] for value in data[axis.column].to_list()], dtype=pl.String)


def _drawable(points: pl.DataFrame, log_x: bool, log_y: bool) -> tuple[pl.DataFrame, list[str]]:
    def sound(name: str, log: bool) -> pl.Expr:
        value = pl.col(name)
        return (value.is_finite() & ((value > 0) | pl.lit(not log))).fill_null(False)

    drawable = points.filter(sound("x", log_x))
    gaps = drawable.with_columns(pl.when(sound("y", log_y)).then(pl.col("y")).alias("y"))
    undrawable = points.height - drawable.height + gaps["y"].null_count()
    if not undrawable:
        return gaps, []
    why = "not finite, or not above zero on a logarithmic axis" if log_x or log_y else "not finite"
    return gaps, [f"{undrawable:,} of {points.height:,} points cannot be drawn ({why}); the CSV holds them."]


def _thinned(points: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Long lines reduced to their ends and the minimum and maximum of each stretch."""
    lines = max(1, points.select(_LINE).n_unique())
    names = points.select(pl.sum_horizontal(pl.col(*_LINE).str.len_bytes()).mean()).item() or 0
    limit = min(LINE_POINTS, max(_FEWEST_POINTS, int(_BYTES / (_ROW_BYTES + names)) // lines))
    ordered = points.sort("panel", "series", "x", maintain_order=True, nulls_last=True)
    index, length = pl.int_range(pl.len()).over(_LINE), pl.len().over(_LINE)
    cells = ordered.with_columns(index=index, length=length).with_columns(
        stretch=pl.col("index") * (limit // 2) // pl.col("length")
    )
    stretch = (*_LINE, "stretch")
    inner, y = pl.int_range(pl.len()).over(stretch), pl.col("y")
    thinned = cells.filter(
        (pl.col("length") <= limit)
        | (pl.col("index") == 0)
        | (pl.col("index") == pl.col("length") - 1)
        | (inner == y.arg_min().over(stretch))
        | (inner == y.arg_max().over(stretch))
        | (y.is_null() & (inner == y.is_null().arg_max().over(stretch)))
    ).select(points.columns)
    if thinned.height == points.height:
        return thinned, []
    return thinned, [
        f"Drawn from {thinned.height:,} of {points.height:,} points: the least and greatest of each stretch "
        "of a line; the CSV holds them all."
    ]


def _with_marks(points: pl.DataFrame, series: Sequence[str], shaped: bool) -> pl.DataFrame:
    """Flags the points of a line that respond to the pointer (`near`) and those that carry its shape (`marked`).

    Without shapes a line of a single point, which would be invisible, is marked.
    """
    index, length = pl.int_range(pl.len()).over(_LINE), pl.len().over(_LINE)
    stride = (length + _HOVER_POINTS - 1) // _HOVER_POINTS
    near = (index % stride == 0) | (index == length - 1)
    # the shapes of neighbouring lines are at different positions, so that they do not cover each other
    turn = pl.col("series").replace_strict(list(series), range(len(series)), default=0, return_dtype=pl.Int64)
    step = length // _SPARSE
    sparse = index % step == (2 * turn + 1) * step // (2 * max(1, len(series)))
    margin = (length + _MARGIN - 1) // _MARGIN  # a shape at the end of a long line would be cut by the frame
    inside = (index >= margin) & (index < length - margin)
    drawable = pl.col("y").is_not_null()
    several = pl.when(length <= MARKS).then(pl.lit(True)).otherwise(sparse & inside)
    return points.with_columns(
        label=pl.lit(None, pl.String),
        kind=pl.lit("point"),
        near=near & drawable,
        marked=drawable & (several if shaped else drawable.sum().over(_LINE) == 1),
    )


def _rule_rows(rules: Sequence[Rule], series: dict[Any, str], panels: dict[Any, str], y: Axis) -> pl.DataFrame:
    rows: list[tuple[Any, ...]] = []
    for rule in _merged_rules(rules):
        if not math.isfinite(rule.value) or (y.log and rule.value <= 0):
            raise DataError(
                f"rule {rule.label!r} at {rule.value}: give a finite value, above zero on a logarithmic axis"
            )
        everywhere: list[str | None] = [*panels.values()] or [None]
        where = [panels[rule.panel]] if rule.panel is not None else everywhere
        name = series[rule.series] if rule.series is not None else None
        label = rule.label.encode("utf-8", "replace").decode()  # a file name may hold half a surrogate pair
        cells = (name, None, float(rule.value), label, "rule", False, False)
        rows.extend((panel, *cells) for panel in where)
    text, number = pl.String, pl.Float64
    schema = {"panel": text, "series": text, "x": number, "y": number, "label": text, "kind": text}
    return pl.DataFrame(rows, schema={**schema, "near": pl.Boolean, "marked": pl.Boolean}, orient="row")


def _merged_rules(rules: Sequence[Rule]) -> list[Rule]:
    """Merges the rules of a panel that have the same label and values that differ by less than labels show.

    A merged rule is at the mean of the values, and belongs to no series if theirs differ.
    """
    alike: list[list[Rule]] = []
    for rule in rules:
        for group in alike:
            first = group[0]
            near = math.isclose(rule.value, first.value, rel_tol=_LABEL_DIGITS, abs_tol=0.0)
            if near and (rule.label, rule.panel) == (first.label, first.panel):
                group.append(rule)
                break
        else:
            alike.append([rule])
    return [
        replace(
            group[0],
            value=sum(rule.value for rule in group) / len(group),
            series=group[0].series if len({rule.series for rule in group}) == 1 else None,
        )
        for group in alike
    ]


def _with_shifts(lines: pl.DataFrame, heights: pl.Series, y: Axis, height: int) -> pl.DataFrame:
    """Adds the shift of each rule's label in pixels, downwards, so that labels of a panel do not overlap."""
    values = [*heights.drop_nulls().to_list(), *lines["y"].to_list()]
    low, high = y.domain or (min(values, default=1.0), max(values, default=2.0))
    scale = math.log if y.log else float
    reach = (scale(high) - scale(low)) or 1.0
    shifts = [0.0] * lines.height
    for _, places in lines.with_row_index().group_by("panel", maintain_order=True):
        rows = places["index"].to_list()
        targets = [height * (scale(high) - scale(value)) / reach for value in places["y"].to_list()]
        for row, before, after in zip(rows, targets, _spread(targets, _LABEL_HEIGHT), strict=True):
            shifts[row] = round(after - before, 1)
    return lines.with_columns(shift=pl.Series(shifts, dtype=pl.Float64))


def _spread(targets: Sequence[float], gap: float) -> list[float]:
    """The positions at least `gap` apart, in the same order, nearest to the targets in least squares.

    Pool adjacent violators (Ayer et al., 1955) on the positions minus the room that their predecessors need.
    """
    order = sorted(range(len(targets)), key=lambda i: targets[i])
    pools: list[tuple[float, int]] = []
    for turn, i in enumerate(order):
        mean, size = targets[i] - turn * gap, 1
        while pools and pools[-1][0] > mean:
            previous, count = pools.pop()
            mean, size = (mean * size + previous * count) / (size + count), size + count
        pools.append((mean, size))
    level = [mean for mean, size in pools for _ in range(size)]
    positions = {i: level[turn] + turn * gap for turn, i in enumerate(order)}
    return [positions[i] for i in range(len(targets))]
