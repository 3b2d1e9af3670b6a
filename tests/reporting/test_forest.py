"""Forest plots: what they draw of nulls, names and panels, and what they refuse."""

import json

import polars as pl
import pytest

from netassay.errors import DataError
from netassay.reporting import Axis, Figure, forest, save_figure

DATA = pl.DataFrame(
    {
        "what": ["influence", 'motif\'s "score"', "GC", "null"] * 2,
        "kind": ["network", "database", "baseline", "null"] * 2,
        "group": ["all"] * 4 + ["K562"] * 4,
        "area": [0.7, 0.8, None, 0.5, 0.6, 0.9, 0.55, float("nan")],
        "low": [0.6, 0.75, None, 0.45, None, 0.8, 0.5, 0.4],
        "high": [0.8, 0.85, None, 0.55, None, 0.95, 0.6, 0.6],
    }
)


def rows_of(chart):
    spec = chart.to_dict()
    return [row for rows in spec["datasets"].values() for row in rows], spec


def test_rows_without_a_value_are_not_drawn_and_keep_their_place():
    rows, spec = rows_of(forest(DATA, "area", "what", "kind", "group", reference=0.5))
    assert [(row["row"], row["panel"]) for row in rows] == [
        ("influence", "all"), ("motif's \"score\"", "all"), ("null", "all"),
        ("influence", "K562"), ("motif's \"score\"", "K562"), ("GC", "K562"),
    ]  # fmt: skip
    scale = spec["spec"]["layer"][1]["encoding"]["y"]["scale"]
    assert scale["domain"] == ["influence", 'motif\'s "score"', "GC", "null"]
    assert {row["panel"]: row["rank"] for row in rows} == {"all": 0, "K562": 1}
    assert [row["low"] for row in rows if row["row"] == "influence"] == [0.6, None]


def test_the_reference_is_drawn_only_where_given():
    layers = [len(forest(DATA, "area", "what", reference=value).to_dict()["layer"]) for value in (None, 0.5)]
    assert layers == [2, 3]


def test_a_chart_of_nothing_and_of_odd_names_can_be_saved(tmp_path):
    odd = pl.DataFrame({"what": ["a.b[0]'\\", "</script>"], "area": [1.0, 2], "low": [0.5, 1], "high": [2.0, 3]})
    figure = Figure("odd", "t", "c", forest(odd, Axis("area", log=True), "what"), odd)
    save_figure(figure, tmp_path, formats=("svg",))
    json.dumps(forest(odd.clear(), Axis("area", log=True), "what").to_dict())
    assert "&lt;/script&gt;" in (tmp_path / "odd.svg").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": "size"}, "no column 'size'"),
        ({"low": "least"}, "no column 'least'"),
        ({"value": "kind"}, "column 'kind' is of type String"),
        ({"row": "nothing"}, "no column 'nothing'"),
        ({"panel": "nothing"}, "no column 'nothing'"),
    ],
)
def test_columns_that_cannot_be_drawn_are_refused(change, message):
    with pytest.raises(DataError, match=message):
        forest(**{"data": DATA, "value": "area", "row": "what", **change})


def test_more_series_than_can_be_told_apart_are_refused():
    many = pl.DataFrame({"what": [f"r{i}" for i in range(7)], "area": [1.0] * 7, "low": [0.5] * 7, "high": [2.0] * 7})
    with pytest.raises(DataError, match="7 series of points; at most 6"):
        forest(many, "area", "what", "what")
    json.dumps(forest(many, "area", "what").to_dict())
