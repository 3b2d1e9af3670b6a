import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netassay import study
from netassay.errors import ConfigError
from netassay.sweeps import Plan, shipped


def test_a_grid_is_every_combination_in_order():
    plan = Plan(study="edge", base={"steps": 5}, axes={"depth": [1, 2], "step_size": [0.1, 0.2, 0.4]})
    got = [(config.depth, config.step_size, config.steps) for config in plan.configs()]
    assert got == [(d, s, 5) for d, s in itertools.product([1, 2], [0.1, 0.2, 0.4])]
    assert plan.varied == ("depth", "step_size")


def test_cases_override_axes_and_axes_override_base():
    plan = Plan(study="edge", base={"width": 9, "depth": 9}, axes={"depth": [1]}, cases=[{"width": 3}, {"depth": 4}])
    assert [(config.depth, config.width) for config in plan.configs()] == [(1, 3), (4, 9)]


def test_repeats_count_seeds_up():
    plan = Plan(study="edge", base={"seed": 10}, repeats=3)
    assert [config.seed for config in plan.configs()] == [10, 11, 12]
    assert plan.varied == ("seed",)


def test_equal_runs_are_one():
    plan = Plan(study="edge", axes={"depth": [1, 1, 2]}, repeats=2)
    assert (plan.size, len(plan.configs())) == (6, 4)


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True),
    st.lists(st.floats(1e-3, 1), min_size=1, max_size=4, unique=True),
    st.integers(1, 3),
)
def test_size_is_the_number_of_runs(depths, sizes, repeats):
    plan = Plan(study="edge", axes={"depth": depths, "step_size": sizes}, repeats=repeats)
    assert plan.size == len(plan.configs()) == len(depths) * len(sizes) * repeats


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"study": "egde"}, ["'egde'", "did you mean 'edge'?"]),
        ({"study": "edge", "axis": {}}, ["unknown key 'axis'", "did you mean 'axes'?"]),
        ({"study": "edge", "axes": {"dept": [1]}}, ["'dept'", "did you mean 'depth'?"]),
        ({"study": "edge", "base": {"widht": 1}}, ["'widht'", "did you mean 'width'?"]),
        ({"study": "edge", "axes": {"depth": []}}, ["axis 'depth'", "at least one"]),
        ({"study": "edge", "axes": {"depth": 3}}, ["axes.depth", "list"]),
        ({"study": "edge", "repeats": 0}, ["repeats", "0"]),
        (
            {"study": "edge", "axes": {"seed": list(range(2000)), "width": list(range(1, 1001))}},
            ["2,000,000 runs"],
        ),
        ({}, ["key 'study' is missing"]),
        ({"study": "edge", "self": 1}, ["unknown key 'self'"]),
        ({"study": "edge", "base": {"seed": 2**63}}, ["seed = 9223372036854775808"]),
    ],
)
def test_refusals(values, words):
    with pytest.raises(ConfigError) as refused:
        Plan(**values)
    for word in words:
        assert word in str(refused.value)


def test_values_out_of_range_are_refused_before_anything_runs():
    with pytest.raises(ConfigError, match="depth = 99"):
        Plan(study="edge", axes={"depth": [1, 99]})


def test_errors_name_the_file(tmp_path):
    (tmp_path / "p.toml").write_text('study = "edge"\n[axes]\ndept = [1]\n')
    with pytest.raises(ConfigError, match=r"p\.toml.*dept"):
        Plan.from_file(tmp_path / "p.toml")


def test_every_study_ships_a_demo_that_says_what_to_expect():
    plans = shipped("demo")
    assert [plan.study for plan in plans] == list(study.names())
    for plan in plans:
        assert plan.name
        assert "minute" in plan.expect
        assert plan.configs()


def test_a_shipped_plan_is_named_by_its_study():
    plan = Plan.named("edge:depth")
    assert plan.study == "edge"
    assert plan.size == 8
    assert Plan.named("edge-stepsize:map").size == 32
    with pytest.raises(ConfigError, match="ships no plan 'dept'; did you mean 'depth'"):
        Plan.named("edge:dept")
    with pytest.raises(ConfigError, match="cannot be read"):
        Plan.named("nothing:depth")


def test_a_file_goes_before_a_shipped_plan(tmp_path):
    (tmp_path / "edge:depth.toml").write_text('study = "edge"')
    assert Plan.named(tmp_path / "edge:depth.toml").size == 1


@pytest.mark.parametrize("name", study.names())
def test_every_shipped_plan_is_whole_and_says_what_it_shows(name):
    from importlib import resources

    folder = resources.files(study.find(name).package) / "plans"
    found = [home.name.removesuffix(".toml") for home in folder.iterdir()]
    assert "demo" in found
    for plan in found:
        made = Plan.named(f"{name}:{plan}")
        assert made.configs()
        assert len(made.expect) > 80
        assert any(word in made.expect for word in ("second", "minute", "hour"))
