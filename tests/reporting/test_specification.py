"""Figures and tables as data: what is filled in, what is drawn, what is offered."""

import polars as pl

from netassay.reporting import Axis, FigureSpec, TableSpec, lines

DATA = pl.DataFrame({"step": [0, 1, 2], "loss": [4.0, 2.0, 1.0]})


def test_a_figure_is_drawn_by_its_axes_and_options():
    drawn = []

    def draw(data, *axes, **options):
        drawn.append((axes, options))
        return lines(data, Axis("step"), Axis("loss"))

    spec = FigureSpec("loss-{n}", "Loss {n}", "Of {what}.", draw, (Axis("step"), Axis("loss")), {"height": 3, "a": 1})
    figure = spec.of(DATA, "more", words={"n": 2, "what": "{braces}"}, height=4, csv=DATA.head(1))
    assert drawn == [((Axis("step"), Axis("loss"), "more"), {"height": 4, "a": 1})]
    assert (figure.name, figure.title, figure.caption) == ("loss-2", "Loss 2", "Of {braces}.")
    assert figure.data.height == 1


def test_a_table_takes_the_formats_of_the_columns_it_has():
    spec = TableSpec("runs", "Runs", "All.", {"loss": ".3f", "gap": ".1f"}, {"step": "steps", "gap": "nats"})
    table = spec.of(DATA, formats={"step": "d"})
    assert table.formats == {"loss": ".3f", "step": "d"}
    assert table.units == {"step": "steps"}
