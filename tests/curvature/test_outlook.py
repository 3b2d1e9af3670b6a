"""Forecasts of the edge, on ratios whose future is known."""

import math

import pytest

from netassay.curvature import forecast
from netassay.errors import ModelError

STEPS = [*range(0, 200, 10)]


def test_a_straight_line_is_carried_on():
    said = forecast(STEPS, [0.2 + 0.003 * s for s in STEPS], rate=0.5)
    assert said.crossing.value == pytest.approx((1 - 0.2) / 0.003)
    assert said.crossing.low < said.crossing.value < said.crossing.high
    assert said.ratio_later.value == pytest.approx(0.2 + 0.003 * 290)
    now = 0.2 + 0.003 * 190
    assert said.largest == pytest.approx(0.5 / now)
    assert [step for step, _ in said.warm_up] == [215, 240, 265, 290]
    # the rate that is named keeps the ratio below the edge at the end of the horizon, with a margin
    assert said.rate_later / 0.5 * (0.2 + 0.003 * 290) == pytest.approx(1 / 1.1)
    assert (said.since, said.ratio, said.step) == (None, pytest.approx(now), 190)
    assert said.in_words("Adam") == (
        "Adam at 0.77 of its edge, which it will reach at about step 267 (255 to 374, right in 58% of tests): for the "
        "next 100 steps keep the rate below 0.425, right in 91% of tests"
    )


def test_only_the_last_half_horizon_counts():
    bent = [0.9 - 0.004 * s if s < 100 else 0.5 + 0.002 * (s - 100) for s in STEPS]
    assert forecast(STEPS, bent).crossing.value == pytest.approx(350)
    # the horizon is of steps, so that looks further apart and steps further on are the same forecast
    far = forecast([7 * s for s in STEPS], bent, horizon=700)
    assert far.crossing.value == pytest.approx(7 * 350)


def test_a_falling_ratio_reaches_nothing_and_leaves_room():
    said = forecast(STEPS, [0.8 - 0.002 * s for s in STEPS])
    assert said.crossing is None
    assert said.ratio_later.value == pytest.approx(0.8 - 0.002 * 290)
    # nothing is promised from a fall: the rate is that of now
    assert said.rate_later == pytest.approx(1 / (1.1 * said.ratio))
    assert "which it will not reach within 300 steps" in said.in_words("SGD")


def test_the_edge_is_dated_from_its_unbroken_stretch():
    ratios = [0.95 if s in (30, 40) or s >= 130 else 0.6 for s in STEPS]
    said = forecast(STEPS, ratios)
    assert said.since == 130
    words = said.in_words("AdamW")
    assert words.startswith("AdamW at 0.95 of its edge since step 130: warm up longer or lower the rate (")
    assert words.endswith(", right in 91% of tests)")
    above = forecast(STEPS, [1.2] * 20, rate=0.3)
    assert (above.crossing, above.since) == (None, 0)
    assert above.largest == pytest.approx(0.25)
    # how often it is right was measured before the edge, and at the usual horizon
    assert "tests" not in above.in_words("SGD")
    assert "tests" not in forecast(STEPS, ratios, horizon=50).in_words("SGD")


def test_looks_at_other_rates_are_scaled_to_the_present():
    rates = [0.01 * (1 + i) for i in range(20)]  # a warm-up
    sharpness = [3 + 0.03 * s for s in STEPS]
    said = forecast(STEPS, [r * v / 2 for r, v in zip(rates, sharpness, strict=True)], rate=rates)
    assert said.crossing.value == pytest.approx((2 / rates[-1] - 3) / 0.03)
    # a ratio is dated as it was then
    level = forecast(STEPS, [0.92 * r / 0.2 for r in rates], rate=rates)
    assert level.since == STEPS[-1]


def test_few_looks_say_what_they_can():
    said = forecast([4], [0.5], rate=0.1)
    assert (said.crossing, said.ratio_later, said.largest) == (None, None, 0.2)
    assert said.in_words("SGD") == "SGD at 0.50 of its edge; when it will reach it can be said after 4 looks"
    assert said.rate_later == pytest.approx(0.1 / (1.1 * 0.5))
    assert forecast([1], [-0.1]).largest == math.inf
    # four looks make a line, wherever they lie
    assert forecast([0, 300, 600, 900], [0.1, 0.4, 0.7, 0.97]).crossing is not None


@pytest.mark.parametrize(
    ("steps", "ratios", "words"),
    [
        ([], [], "0 steps and 0 ratios"),
        ([1, 2], [0.1], "2 steps and 1 ratios"),
        ([2, 2], [0.1, 0.2], "increasing"),
        ([1, 2], [0.1, math.nan], "not finite"),
    ],
)
def test_looks_that_cannot_be_are_refused(steps, ratios, words):
    with pytest.raises(ModelError, match=words):
        forecast(steps, ratios)


@pytest.mark.parametrize("words", [{"rate": 0.0}, {"horizon": 0}])
def test_settings_that_cannot_be_are_refused(words):
    with pytest.raises(ModelError, match=next(iter(words))):
        forecast([1], [0.1], **words)
