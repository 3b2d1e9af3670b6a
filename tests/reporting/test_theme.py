"""One colour has one meaning on a whole page, and a thing one colour."""

from collections import defaultdict
from pathlib import Path

import polars as pl
import pytest

from netassay.reporting import Axis, Figure, lines, theme
from netassay.reporting.export import vega_lite
from netassay.reporting.points import forest
from netassay.reporting.theme import NETWORK, NULL
from netassay.runs import Store
from netassay.study import drawable, find

BASELINE = Path(__file__).parents[1] / "baseline" / "0.1.0"
ROLES = {colour: role for role, _, shades in theme.ROLES for colour in shades} | {theme.DATA: "data"}


def scales(spec):
    """Kind, name and colour of every entry of every scale of colours in a chart."""
    if isinstance(spec, list):
        for part in spec:
            yield from scales(part)
    elif isinstance(spec, dict):
        for channel in ("color", "fill", "stroke"):
            encoding = spec.get("encoding", {}).get(channel, {})
            scale = encoding.get("scale") or {}
            if isinstance(scale.get("range"), list) and {*scale["domain"]} != {*"ACGT"}:
                kind = (encoding.get("legend") or {}).get("title") or encoding.get("title") or ""
                for name, colour in zip(scale["domain"], scale["range"], strict=True):
                    yield str(kind).strip(), str(name), colour
        for key, part in spec.items():
            if key not in ("datasets", "data", "encoding"):
                yield from scales(part)


def clashes(charts):
    """Colours with several meanings and things with several colours, over charts by name."""
    meanings, colours = defaultdict(dict), defaultdict(dict)
    for chart, spec in charts.items():
        for kind, name, colour in scales(spec):
            thing = name.partition(": ")[0]  # "run: sharpness" is of the run
            meanings[colour].setdefault(ROLES.get(colour, f"{kind} {thing}"), chart)
            colours[f"{kind} {name}"].setdefault(colour, chart)
    return [(what, dict(uses)) for what, uses in [*meanings.items(), *colours.items()] if len(uses) > 1]


def figures_of(runs):
    """All figures of a page of these runs, of every study."""
    items = [
        item
        for name in drawable()
        if (members := [run for run in runs if run.study == name])
        for section in find(name, tracked=True).pages.sections(members)
        for item in section.items
    ]
    return {item.name: item for item in items if isinstance(item, Figure) and item.data.height}


@pytest.mark.parametrize("state", ["finished", pytest.param("interrupted", marks=pytest.mark.slow)])
def test_one_colour_means_one_thing_on_a_page_and_a_thing_has_one_colour(state):
    charts = {name: vega_lite(figure) for name, figure in figures_of(Store(BASELINE / state).runs()).items()}
    assert len(charts) > 20
    assert clashes(charts) == []


def test_a_clash_is_seen():
    data = pl.DataFrame({"x": [0, 1, 0, 1], "y": [1.0, 2, 3, 4], "k": ["a", "a", "b", "b"]})
    one, other = (lines(data, "x", "y", Axis("k", title=title)).to_dict() for title in ("depth", "momentum"))
    assert clashes({"one": one, "again": one}) == []
    assert {what for what, _ in clashes({"one": one, "other": other})} == {theme.RUNS[0], theme.RUNS[-1]}


def test_a_name_has_its_colour_whatever_is_beside_it():
    alone, together = theme.colours(["bound"]), theme.colours(["gap", "bound", "loss"], "curve")
    assert alone == together[1:2] == [theme.BOUND]
    assert theme.colours(["loss"]) == together[2:] == [theme.NETWORK]
    assert theme.colours(["null: rows"]) == theme.colours(["x", "null: other peaks"])[1:] == [theme.NULL]
    nulls = theme.colours(["null: rows", "null: peaks"])
    assert nulls == [theme.NULL, theme.OTHER_NULL]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_series_of_a_chart_have_different_colours(count):
    for kind in ("run", "neurons m", "layer", "tracked run", "lineage"):
        names = [str(i) for i in range(count)]
        assert len(set(theme.colours(names, kind))) == count
        assert theme.colours([f"{name}: λ" for name in names], kind) == theme.colours(names, kind)


def test_rows_without_series_have_the_colours_of_their_roles():
    data = pl.DataFrame({"what": ["model", "null: rows", "layer 1"], "r": [0.6, 0.0, 0.5], "low": [0.5, -0.1, 0.4]})
    chart = forest(data.with_columns(high=pl.col("r") + 0.1), "r", "what").to_dict()
    scales = [layer["encoding"]["color"]["scale"] for layer in chart["layer"] if "scale" in layer["encoding"]["color"]]
    assert scales
    for scale in scales:
        assert dict(zip(scale["domain"], scale["range"], strict=True)) == {
            "model": NETWORK,
            "null: rows": NULL,
            "layer 1": NETWORK,
        }
