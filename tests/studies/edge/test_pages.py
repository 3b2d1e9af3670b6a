"""How runs are told apart on the page."""

from netassay.performing import perform
from netassay.runs import Run
from netassay.studies.edge.config import EdgeConfig
from netassay.studies.edge.pages import FOLLOWING, sections
from netassay.study import run_names

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


def named(tmp_path, cases):
    runs = [perform(SMALL.replace(**case), tmp_path, threads=1) for case in cases]
    return runs, run_names(runs, FOLLOWING)


def test_what_follows_from_other_keys_is_in_no_name_but_in_the_table_of_runs(tmp_path):
    cases = [
        {"optimiser": "gd", "step_size": 0.2},
        {"optimiser": "polyak", "step_size": 0.1, "momentum": 0.5},
    ]
    runs, names = named(tmp_path, cases)
    assert list(names.of.values()) == ["gd", "polyak"]
    assert set(names.following) == {"step_size", "momentum"}
    table = sections(runs)[-1].items[0].data
    assert table["step_size"].to_list() == ["0.2", "0.1"]


def test_a_series_of_single_changes_is_named_by_the_change(tmp_path):
    cases = [{}, {"bias": False}, {"residual": True}, {"activation": "relu"}, {"normalisation": "layer"}]
    _, names = named(tmp_path, cases)
    assert set(names.of.values()) == {
        "base",
        "bias False",
        "residual True",
        "relu",
        "normalisation layer",
    }


def test_a_full_table_of_two_keys_is_drawn_in_panels(tmp_path):
    cases = [{"seed": seed, "activation": name} for seed in range(4) for name in ("relu", "tanh")]
    runs, names = named(tmp_path, cases)
    assert set(names.grid.values()) == {(f"seed {seed}", name) for seed in range(4) for name in ("relu", "tanh")}
    chart = sections(runs)[0].items[0].chart.to_dict()
    assert "facet" in chart
    assert "facet" not in sections(runs[:3])[0].items[0].chart.to_dict()


def test_layers_stand_in_the_order_of_the_deepest_network(tmp_path):
    runs = [perform(SMALL.replace(depth=depth), tmp_path, threads=1) for depth in (1, 3)]
    data = sections(runs)[1].items[0].data
    assert list(dict.fromkeys(data["part"])) == ["layer1", "layer2", "layer3", "output"]
