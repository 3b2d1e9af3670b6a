import math
from itertools import pairwise
from typing import Any

import altair as alt
import polars as pl
import pytest

from netassay.errors import DataError
from netassay.reporting import Axis, Figure, Rule, heat_map, lines, small_multiples
from netassay.reporting.chart import LINE_POINTS, MOST_LINES
from netassay.reporting.export import CHART_ROWS, vega_lite
from netassay.reporting.theme import RUNS

WAVE = pl.DataFrame(
    [(name, step, 1.5 + math.sin(step + k)) for k, name in enumerate("abc") for step in range(20)],
    schema={"run": pl.String, "step": pl.Int64, "loss": pl.Float64},
    orient="row",
)


def spec_of(chart: Any, data: pl.DataFrame = WAVE) -> dict[str, Any]:
    return vega_lite(Figure("f", "Title", "Caption", chart, data))


def rows_of(chart: Any) -> list[dict[str, Any]]:
    (rows,) = spec_of(chart)["datasets"].values()
    return rows


def encodings(spec: Any, channel: str) -> list[dict[str, Any]]:
    if isinstance(spec, list):
        return [found for part in spec for found in encodings(part, channel)]
    if not isinstance(spec, dict):
        return []
    own = [spec["encoding"][channel]] if channel in spec.get("encoding", {}) else []
    return own + [found for key, part in spec.items() if key != "datasets" for found in encodings(part, channel)]


def test_the_points_of_the_chart_are_those_of_the_data() -> None:
    drawn = [(row["series"], row["x"], row["y"]) for row in rows_of(lines(WAVE, "step", "loss", "run"))]
    assert drawn == WAVE.rows()


def test_axes_carry_title_unit_and_scale() -> None:
    spec = spec_of(lines(WAVE, Axis("step"), Axis("loss", "training loss", "nats", log=True), "run"))
    y = encodings(spec, "y")
    assert {one["title"] for one in y} == {"training loss (nats)"}
    assert {one["scale"]["type"] for one in y} == {"log"}
    assert encodings(spec, "x")[0]["title"] == "step"


@pytest.mark.parametrize("number", [1, 2, 6])
def test_up_to_six_series_differ_by_colour_dash_and_shape(number: int) -> None:
    data = pl.DataFrame({"k": [*range(number)] * 2, "x": [0] * number + [1] * number, "y": [1.0] * 2 * number})
    spec = spec_of(lines(data, "x", "y", "k"))
    for channel in ("color", "strokeDash", "shape"):
        scale = encodings(spec, channel)[0]["scale"]
        assert scale["domain"] == [str(k) for k in range(number)]
        assert len({str(value) for value in scale["range"]}) == number


def test_no_shape_is_at_the_end_of_a_long_line_where_the_frame_would_cut_it() -> None:
    data = pl.DataFrame({"k": [k for k in range(3) for _ in range(101)], "x": [*range(101)] * 3, "y": 1.0})
    marked = [row["x"] for row in rows_of(lines(data, "x", "y", "k")) if row["marked"]]
    assert len(marked) > 12
    assert min(marked) > 1
    assert max(marked) < 99


def test_many_series_still_look_different_from_each_other() -> None:
    words = pl.DataFrame({"k": [f"w{i}" for i in range(20)], "x": [0.0] * 20, "y": [1.0] * 20})
    for data in (words, words.with_columns(k=pl.int_range(20))):
        spec = spec_of(lines(data, "x", "y", "k"))
        looks = zip(
            encodings(spec, "color")[0]["scale"]["range"],
            map(str, encodings(spec, "strokeDash")[0]["scale"]["range"]),
            strict=True,
        )
        assert len(set(looks)) == 20
        colours = encodings(spec, "color")[0]["scale"]["range"]
        assert (colours[0], colours[-1]) == (RUNS[0], RUNS[-1])


def test_numeric_series_are_sorted_and_two_that_agree_in_six_digits_stay_two() -> None:
    data = pl.DataFrame({"eta": [0.2, 0.1, 0.1000000001], "x": [0, 0, 0], "y": [1, 2, 3]})
    spec = spec_of(lines(data, "x", "y", "eta"))
    assert encodings(spec, "color")[0]["scale"]["domain"] == ["0.1", "0.1000000001", "0.2"]


def test_a_long_line_keeps_its_peaks_and_its_ends_and_says_that_it_was_thinned() -> None:
    steps = 50_000
    y = [math.sin(i / 300) for i in range(steps)]
    y[12_345], y[40_001], y[777] = 9.0, -7.0, math.nan
    data = pl.DataFrame({"x": range(steps), "y": y})
    chart = lines(data, "x", "y")
    drawn = {row["x"]: row["y"] for row in rows_of(chart)}
    assert len(drawn) <= 1.6 * LINE_POINTS
    assert drawn[12_345] == 9.0 and drawn[40_001] == -7.0 and drawn[777] is None
    assert {0, steps - 1} <= set(drawn)
    thinned = [note for note in spec_of(chart)["usermeta"]["notes"] if "Drawn from" in note]
    assert thinned == [
        f"Drawn from {len(drawn):,} of 50,000 points: the least and greatest of each stretch of a line; "
        "the CSV holds them all."
    ]


def test_a_constant_line_is_thinned_too() -> None:
    assert len(rows_of(lines(pl.DataFrame({"x": range(9999), "y": [1.0] * 9999}), "x", "y"))) <= LINE_POINTS + 2


def test_what_cannot_be_drawn_is_a_gap_and_is_counted() -> None:
    data = pl.DataFrame({"x": [0.0, 1, 2, 3, math.inf, 5], "y": [1.0, 0.0, math.nan, None, 2.0, -math.inf]})
    chart = lines(data, "x", Axis("y", log=True))
    assert [(row["x"], row["y"]) for row in rows_of(chart)] == [
        (0, 1),
        (1, None),
        (2, None),
        (3, None),
        (5, None),
    ]
    assert spec_of(chart)["usermeta"]["notes"][0].startswith("5 of 6 points cannot be drawn (not finite, or not")
    plain = lines(data, "x", "y")
    assert spec_of(plain)["usermeta"]["notes"][0].startswith("4 of 6 points cannot be drawn (not finite);")


def test_rules_stand_in_their_panel_or_in_all() -> None:
    panels = pl.concat([WAVE.with_columns(layer=pl.lit(name)) for name in ("first", "last")])
    rules = [Rule(2.0, "everywhere"), Rule(1.0, "one", series="b", panel="last")]
    rows = rows_of(small_multiples(panels, "step", "loss", "layer", "run", rules=rules))
    found = [(row["panel"], row["series"], row["y"], row["label"]) for row in rows if row["kind"] == "rule"]
    assert found == [
        ("first", None, 2.0, "everywhere"),
        ("last", None, 2.0, "everywhere"),
        ("last", "b", 1.0, "one"),
    ]


def test_rules_whose_labels_cannot_tell_them_apart_are_one() -> None:
    rules = [Rule(20.01, "2/η = 20", series="a"), Rule(20.03, "2/η = 20", series="b"), Rule(40.0, "2/η = 40")]
    rules += [Rule(30.0, "goal", series="a"), Rule(31.0, "goal", series="a")]
    data = pl.DataFrame({"step": [0, 1], "loss": [1.0, 2.0], "run": ["a", "b"]})
    found = [row for row in rows_of(lines(data, "step", "loss", "run", rules=rules)) if row["kind"] == "rule"]
    drawn = [(row["y"], row["label"], row["series"]) for row in found]
    assert drawn == [
        (pytest.approx(20.02), "2/η = 20", None),
        (40.0, "2/η = 40", None),
        (30.0, "goal", "a"),
        (31.0, "goal", "a"),
    ]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Rule(math.inf, "r"), "finite"),
        (Rule(0.0, "r"), "above zero"),
    ],
)
def test_a_rule_that_cannot_be_drawn_is_refused(rule: Rule, words: str) -> None:
    with pytest.raises(DataError, match=words):
        lines(WAVE, "step", Axis("loss", log=True), "run", rules=[rule])


def test_a_series_and_a_panel_without_points_still_have_their_rule_and_their_place() -> None:
    rules = [Rule(1.0, "r", series="not yet", panel="q")]
    for data in (WAVE, WAVE.clear()):
        chart = small_multiples(data.with_columns(p=pl.lit("p")), "step", "loss", "p", "run", rules=rules)
        (rule,) = (row for row in rows_of(chart) if row["kind"] == "rule")
        assert (rule["panel"], rule["series"], rule["y"]) == ("q", "not yet", 1.0)
        assert encodings(spec_of(chart), "color")[0]["scale"]["domain"][-1] == "not yet"


def test_labels_of_rules_are_moved_apart_no_further_than_needed() -> None:
    values = [1.0, 1.01, 1.02, 2.4]
    chart = lines(WAVE, "step", Axis("loss", domain=(0.5, 2.5)), rules=[Rule(v, str(v)) for v in values], height=200)
    shifts = [row["shift"] for row in rows_of(chart) if row["kind"] == "rule"]
    places = [(2.5 - value) * 100 + shift for value, shift in zip(values, shifts, strict=True)]
    assert [round(before - after, 6) for before, after in pairwise(places[:3])] == [13.0, 13.0]
    assert places[1] == pytest.approx(149.0) and shifts[3] == 0


@pytest.mark.parametrize("domain", [(2.0, 1.0), (1.0, 1.0), (0.0, 1.0), (1.0, math.inf), (math.nan, 1.0)])
def test_an_impossible_domain_is_refused(domain: tuple[float, float]) -> None:
    with pytest.raises(DataError, match="'loss'"):
        Axis("loss", log=True, domain=domain)


def test_wrong_columns_are_named() -> None:
    with pytest.raises(DataError, match=r"'los'.*run, step, loss"):
        lines(WAVE, "step", "los")
    with pytest.raises(DataError, match="'run' is of type String"):
        lines(WAVE, "step", "run")


def test_a_heat_map_has_all_cells_each_once_and_counts_those_without_a_value() -> None:
    data = pl.DataFrame({"w": [16, 32, 16], "d": ["b", "a", "a"], "v": [1.0, math.nan, 3.0]})
    chart = heat_map(data, "w", "d", Axis("v", log=True))
    cells = {(row["x"], row["y"]): (row["value"], row["label"]) for row in rows_of(chart)}
    assert cells == {
        ("16", "b"): (1.0, "1"),
        ("16", "a"): (3.0, "3"),
        ("32", "a"): (None, "×"),
        ("32", "b"): (None, "×"),
    }
    spec = spec_of(chart)
    assert spec["usermeta"]["notes"] == ["2 of 4 cells have no value to colour (grey, ×)."]
    assert encodings(spec, "color")[0]["scale"]["domain"] == [1.0, 3.0]
    with pytest.raises(DataError, match="more than once"):
        heat_map(pl.concat([data, data]), "w", "d", "v")


def test_a_diverging_map_is_symmetric_about_its_centre() -> None:
    data = pl.DataFrame({"x": ["a", "b"], "y": ["c", "c"], "v": [0.5, 4.0]})
    spec = spec_of(heat_map(data, "x", "y", "v", scheme="diverging", centre=1.0))
    assert encodings(spec, "color")[0]["scale"]["domain"] == [-2.0, 1.0, 4.0]


def test_empty_data_make_a_chart_and_the_same_data_the_same_chart() -> None:
    for chart in (lines, heat_map):
        spec_of(chart(WAVE.clear(), "step", "loss", "loss"))
    spec_of(lines(WAVE.clear(), "step", Axis("loss", log=True)))
    spec_of(small_multiples(WAVE.clear(), "step", "loss", "run", "run"))
    assert spec_of(lines(WAVE, "step", "loss", "run")) == spec_of(lines(WAVE, "step", "loss", "run"))


def test_the_theme_is_on_only_while_a_chart_is_written() -> None:
    spec_of(lines(WAVE, "step", "loss"))
    assert alt.theme.active == "default"
    assert alt.data_transformers.active == "default" and not alt.data_transformers.options


def test_a_line_of_one_point_is_seen_among_many_series() -> None:
    data = pl.DataFrame(
        {"x": [0, 1] * 7 + [0], "y": [float(i) for i in range(15)], "s": [f"s{i // 2}" for i in range(15)]}
    )
    rows = rows_of(lines(data, "x", "y", "s"))
    assert [row["series"] for row in rows if row["marked"]] == ["s7"]


def test_a_name_that_is_wider_than_its_panel_is_broken() -> None:
    data = pl.DataFrame({"x": [0, 1], "y": [0.0, 1.0], "p": ["network aitac, normalisation batch"] * 2})
    for width, broken in ((120, True), (400, False)):
        spec = small_multiples(data, "x", "y", "p", width=width).to_dict()
        assert ("labelExpr" in spec["facet"]["header"]) == broken


def test_fifty_long_lines_fit_one_chart_with_the_extremes_of_each() -> None:
    data = pl.DataFrame(
        {
            "x": [step for _ in range(50) for step in range(1200)],
            "y": [math.sin(step * (1 + run / 50)) for run in range(50) for step in range(1200)],
            "run": [f"run {run}" for run in range(50) for _ in range(1200)],
        }
    )
    drawn = rows_of(lines(data, "x", "y", series="run"))
    assert len(drawn) <= CHART_ROWS
    for (name,), rows in data.group_by("run"):
        values = [row["y"] for row in drawn if row["series"] == name]
        assert (min(values), max(values)) == (rows["y"].min(), rows["y"].max())


def test_of_thousands_of_lines_some_are_drawn_and_said_so() -> None:
    data = pl.DataFrame({"x": [0, 1] * 3000, "y": 1.0, "run": [run for run in range(3000) for _ in "01"]})
    chart = lines(data, "x", "y", series="run", rules=[Rule(run, "level", series=run) for run in range(3000)])
    names = {row["series"] for row in rows_of(chart) if row["kind"] == "point"}
    assert len(names) == MOST_LINES
    assert {"0", "2999"} <= names
    notes = spec_of(chart)["usermeta"]["notes"]
    assert notes[0] == f"{MOST_LINES} of 3,000 lines are drawn, evenly chosen; the CSV holds them all."
