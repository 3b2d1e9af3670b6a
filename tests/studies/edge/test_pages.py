"""How runs are told apart on the page."""

from netassay.performing import perform
from netassay.runs import Run
from netassay.studies.edge.config import EdgeConfig
from netassay.studies.edge.pages import sections

SMALL = EdgeConfig(examples=20, width=2, depth=1, steps=1, curvature_every=1)


def series(runs):
    """Names of the lines of the first figure, in order, and its numbers of rows."""
    figure = sections(runs)[0].items[0]
    return list(dict.fromkeys(figure.data["run"])), figure.data.height


def test_step_sizes_that_differ_in_a_late_digit_stay_apart_and_in_order(tmp_path):
    sizes = [0.5, 0.1, 2.0, 0.1000000001]
    runs: list[Run] = [perform(SMALL.replace(step_size=size), tmp_path, threads=1) for size in sizes]
    for given in (runs, runs[::-1]):
        assert series(given) == (["0.1", "0.1000000001", "0.5", "2"], 8)


def test_one_config_in_two_stores_is_two_lines(tmp_path):
    runs = [perform(SMALL, tmp_path / name, threads=1) for name in ("a", "b")]
    assert series(runs) == ([f"0.1 ({tmp_path / 'a'})", f"0.1 ({tmp_path / 'b'})"], 4)
