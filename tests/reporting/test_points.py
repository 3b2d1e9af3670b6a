import polars as pl
import pytest

from netassay.errors import DataError
from netassay.reporting import Axis, Figure, save_figure, scatter
from netassay.reporting.export import vega_lite

DATA = pl.DataFrame({"n": [1, 2, 4, 1, 3], "k": [10, 20, 40, 5, 7], "kind": ["a", "a", "a", "b", "b"]})


def drawn(**more):
    chart = scatter(DATA, "n", Axis("k", title="parameters"), "kind", **more)
    spec = vega_lite(Figure("points", "Points", "", chart, DATA))
    return [list(spec["datasets"][layer["data"]["name"]]) for layer in spec["layer"]]


def test_every_row_is_a_point_and_lines_end_where_their_points_do():
    ends, points = drawn(lines={"a": (1.0, 10.0)})
    assert [(row["x"], row["y"], row["series"]) for row in points] == DATA.select("n", "k", "kind").rows()
    assert [(row["x"], row["y"]) for row in ends] == [(1.0, 11.0), (4.0, 41.0)]


def test_it_is_drawn_without_lines(tmp_path):
    figure = Figure("points", "Points", "", scatter(DATA, "n", "k", "kind"), DATA)
    (path,) = save_figure(figure, tmp_path, formats=("svg",))
    assert "parameters" not in path.read_text()


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(DataError, match="no column 'm'"):
        scatter(DATA, "m", "k", "kind")
    with pytest.raises(DataError, match="an axis shows numbers"):
        scatter(DATA, "kind", "k", "n")
    with pytest.raises(DataError, match="7 series"):
        many = pl.DataFrame({"x": range(7), "y": range(7), "s": [f"s{i}" for i in range(7)]})
        scatter(many, "x", "y", "s")


def test_axes_of_counts_do_not_begin_below_zero():
    data = pl.DataFrame({"x": [0.0, 1000.0], "y": [-1.0, 1.0], "kind": ["a", "a"]})
    spec = scatter(data, "x", "y", "kind").to_dict()
    encoding = spec["layer"][-1]["encoding"]
    assert encoding["x"]["scale"]["domain"] == [0, 1040]
    low, high = encoding["y"]["scale"]["domain"]
    assert low < -1
    assert high > 1


@pytest.mark.parametrize("intercept", [-300.0, 0.0])
def test_a_line_that_falls_below_zero_takes_no_axis_of_a_count_there(intercept):
    data = pl.DataFrame({"x": [10, 100, 200], "y": [5, 200, 700], "kind": ["a"] * 3})
    spec = scatter(data, "x", "y", "kind", lines={"a": (intercept, 5.0)}).to_dict()
    line, points = spec["layer"]
    low, high = points["encoding"]["y"]["scale"]["domain"]
    assert (low, line["mark"]["clip"]) == (0.0, True)
    assert high > max(700, intercept + 5.0 * 200)
    assert line["encoding"]["y"]["scale"] == points["encoding"]["y"]["scale"]
    assert points["encoding"]["y"]["scale"]["nice"] is False
