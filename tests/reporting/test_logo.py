"""Sequence logos: letters where and as high as they should be."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from netassay.errors import DataError
from netassay.reporting import Figure, save_figure
from netassay.reporting.logo import _GLYPHS, logo, logos


def rows_of(chart):
    spec = chart
    while not hasattr(spec, "layer"):
        spec = spec.spec
    return (
        spec.layer[1].data if spec.layer[1].data is not None and hasattr(spec.layer[1].data, "columns") else chart.data
    )


def extents(rows):
    return rows.drop_nulls("base").with_columns(top=pl.col("bottom") + pl.col("size"))


def test_letters_are_stacked_from_the_least_to_the_greatest():
    heights = np.array([[0.5, 0], [1.25, 0], [0, 2.0], [0.001, 0]])
    found = extents(rows_of(logo(heights, first=7)))
    assert found.select("at", "base", "bottom", "top").rows() == [
        (7, "A", 0.001, 0.501), (7, "C", 0.501, 1.751), (8, "G", 0.0, 2.0),
    ]  # fmt: skip
    assert found["left"].to_list() == pytest.approx([6.52, 6.52, 7.52])


def test_negative_heights_hang_under_the_axis():
    heights = np.array([[-0.5, 1.0], [0, 0], [0, -3.0], [0.25, -1.0]])
    found = extents(rows_of(logo(heights, domain=None))).sort("at", "bottom")
    assert found.select("at", "base", "bottom", "top").rows() == [
        (1, "A", -0.5, 0.0), (1, "T", 0.0, 0.25), (2, "G", -4.0, -1.0), (2, "T", -1.0, 0.0), (2, "A", 0.0, 1.0),
    ]  # fmt: skip


@pytest.mark.parametrize("base", "ACGT")
def test_letters_fill_their_box_and_close(base):
    corners = np.array(_GLYPHS[base])
    assert (corners[0] == corners[-1]).all()
    assert corners.min(0).tolist() == [0, 0]
    assert corners.max(0).tolist() == [1, 1]


LETTERS = """
....####....  ....######..  ....#####...  ############
....####....  ..#########.  ..#########.  ############
....####....  .####....#..  .###....##..  .....##.....
...######...  .###........  .##.........  .....##.....
...##..##...  ###.........  ###.........  .....##.....
..###..###..  ###.........  ###....#####  .....##.....
..###..###..  ###.........  ###....#####  .....##.....
..########..  ###.........  ###......###  .....##.....
.##########.  .###........  .##......###  .....##.....
.###....###.  .####....#..  .####...####  .....##.....
.##......##.  ..#########.  ..########..  .....##.....
###......###  ....######..  ....#####...  .....##.....
"""


def is_inside(x, y, corners):
    """By the winding number, as browsers fill: ways round the point that cross a line from it to the right."""
    turns = 0
    for (a, b), (p, q) in pairwise(corners):
        if (b <= y) != (q <= y) and a + (y - b) * (p - a) / (q - b) > x:
            turns += 1 if q > b else -1
    return turns != 0


@pytest.mark.parametrize("base", "ACGT")
def test_letters_have_the_shape_of_letters(base):
    """On 12 x 12 points, as the eye sees them above."""
    picture = [row.split()["ACGT".index(base)] for row in LETTERS.strip().splitlines()]
    drawn = [
        "".join("#" if is_inside((i + 0.5) / 12, (11.5 - j) / 12, _GLYPHS[base]) else "." for i in range(12))
        for j in range(12)
    ]
    assert drawn == picture


def test_the_hole_of_a_is_cut_out():
    x, y = np.array(_GLYPHS["A"]).T
    area = abs((x[:-1] * y[1:] - x[1:] * y[:-1]).sum()) / 2
    legs = [
        (0.0, 0.0),
        (0.38, 1.0),
        (0.62, 1.0),
        (1.0, 0.0),
        (0.78, 0.0),
        (0.69, 0.24),
        (0.31, 0.24),
        (0.22, 0.0),
    ]
    u, v = np.array([*legs, legs[0]]).T
    outer = abs((u[:-1] * v[1:] - u[1:] * v[:-1]).sum()) / 2
    assert area == pytest.approx(outer - 0.26 * 0.38 / 2)


def test_panels_are_drawn_even_if_flat_or_of_one_name(tmp_path):
    panels = [("same", np.eye(4)), ("same", np.zeros((4, 4))), ("x<b>", np.eye(4) * 2)]
    chart = logos(panels, first=[1, 3, -1], positions=(0, 5))
    held = rows_of(chart)
    assert held["panel"].n_unique() == 3
    assert held["at"].min() >= 0 and held["at"].max() <= 5
    save_figure(Figure("logos", "Logos", "", chart, pl.DataFrame({"a": [1]})), tmp_path)
    svg = (tmp_path / "logos.svg").read_text()
    assert svg.count("x&lt;b&gt;") >= 1
    assert all(colour in svg.upper() for colour in ("#009E73", "#0072B2", "#E69F00", "#D55E00"))


@pytest.mark.parametrize("heights", [np.zeros((3, 4)), np.zeros(4), np.full((4, 2), np.nan)])
def test_heights_that_cannot_be_drawn(heights):
    with pytest.raises(DataError, match=r"logo 'm' has heights of shape .*; give four rows, A, C, G, T"):
        logos([("m", heights)])
    with pytest.raises(DataError, match="no motifs to draw"):
        logos([])
