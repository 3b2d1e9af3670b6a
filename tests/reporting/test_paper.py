"""Figures at the width of a column: sizes, themes, and what is refused."""

import re

import polars as pl
import pytest

from netassay.errors import ConfigError, DataError
from netassay.reporting import Axis, Figure, heat_map, lines, small_multiples
from netassay.reporting.paper import pixels, save_sized

ROWS = [(panel, name, x, 1.0 + x * (1 + len(name))) for panel in "pq" for name in ("a", "bb") for x in range(5)]
DATA = pl.DataFrame(ROWS, schema=["panel", "name", "x", "y"], orient="row")
CHARTS = {
    "lines": lines(DATA.filter(panel="p"), Axis("x"), Axis("y"), Axis("name")),
    "panels": small_multiples(DATA, Axis("x"), Axis("y"), Axis("panel"), Axis("name")),
    "heat": heat_map(DATA.filter(panel="p"), Axis("x"), Axis("name"), Axis("y")),
}


def figure(kind="lines", data=DATA):
    return Figure(kind, "Title", "Caption.", CHARTS[kind], data)


@pytest.mark.parametrize("kind", CHARTS)
@pytest.mark.parametrize(("width", "points"), [("85mm", 240.9), ("170mm", 481.9)])
def test_the_whole_drawing_has_the_width_that_was_asked_for(tmp_path, kind, width, points):
    svg = save_sized(figure(kind), tmp_path / "f.svg", width=width).read_text()
    drawn = float(re.search(r'<svg[^>]*\bwidth="([\d.]+)"', svg)[1]) * 72 / 96
    assert drawn == pytest.approx(points, abs=1.5)


def test_a_pdf_embeds_its_letters(tmp_path):
    data = save_sized(figure(), tmp_path / "f.pdf", width="85mm", theme="print").read_bytes()
    assert data.startswith(b"%PDF") and b"FontFile" in data


def test_print_has_black_letters(tmp_path):
    svg = save_sized(figure(), tmp_path / "f.svg", theme="print").read_text()
    screen = save_sized(figure(), tmp_path / "g.svg").read_text()
    assert 'fill="black"' in svg and "#595959" in screen and svg.count("#595959") < screen.count("#595959")


def test_csv_is_the_data(tmp_path):
    assert pl.read_csv(save_sized(figure(), tmp_path / "f.csv"))["y"].to_list() == DATA["y"].to_list()


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("f.gif", {}, "'.gif' is not one of"),
        ("f.pdf", {"width": "85"}, "a number and a unit"),
        ("f.pdf", {"width": "5mm"}, "give another width"),
        ("f.pdf", {"width": "9999in"}, "give another width"),
        ("f.pdf", {"theme": "poster"}, "not one of screen, print"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(tmp_path, name, words, message):
    with pytest.raises(ConfigError, match=message):
        save_sized(figure(), tmp_path / name, **words)
    assert not list(tmp_path.iterdir())


def test_a_width_that_its_letters_do_not_fit_into_is_refused(tmp_path):
    wide = DATA.with_columns(pl.lit("a name of a row that is far too long to stand beside a map").alias("name"))
    chart = heat_map(wide.unique("x"), Axis("x"), Axis("name"), Axis("y"))
    with pytest.raises(ConfigError, match="give a larger width"):
        save_sized(Figure("f", "t", "c", chart, wide), tmp_path / "f.svg", width="30mm")


def test_a_figure_without_data_is_refused(tmp_path):
    with pytest.raises(DataError, match="no data yet"):
        save_sized(figure(data=DATA.clear()), tmp_path / "f.svg")


def test_units():
    assert pixels("2in") == pixels("50.8mm") == pixels("144pt") == pixels("192px") == 192
