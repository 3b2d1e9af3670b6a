"""The search for a crossing, on functions whose crossing is known."""

import math

import pytest

from netassay.curvature.line_search import find_bracket

RATE = 0.3


def quadratic(r):
    return -r + r * r / RATE


def stiff(r):
    return -r + 0.5 * r * r / RATE + 0.5 * r**4 / RATE**3


def softer(r):
    return -r + r**1.5 / RATE**0.5


def cliff(r):
    return -r if r <= RATE else math.inf


def step(r):
    return -1e-9 * r if r <= RATE else 1e9


@pytest.mark.parametrize("rise", [quadratic, stiff, softer, cliff, step])
@pytest.mark.parametrize("start", [1e-5, 1e-2, 0.29, 0.31, 7.0, 1e4])
@pytest.mark.parametrize("tolerance", [0.05, 1e-3])
def test_the_ends_enclose_the_crossing_as_narrowly_as_asked(rise, start, tolerance):
    found = find_bracket(rise, start, tolerance=tolerance)
    assert found.status == "measured"
    assert found.lower <= RATE * (1 + 1e-12) and found.upper >= RATE
    assert found.upper - found.lower <= tolerance * (found.upper + found.lower) * (1 + 1e-6)
    assert found.points[found.lower] <= 0 < found.points[found.upper]
    assert found.lower <= found.crossing <= found.upper


def test_the_crossing_of_a_quadratic_is_exact():
    assert find_bracket(quadratic, 0.02).crossing == pytest.approx(RATE, rel=1e-12)


@pytest.mark.parametrize("rise", [quadratic, stiff, softer])
def test_few_evaluations(rise):
    assert all(len(find_bracket(rise, start).points) <= 9 for start in (0.03, 0.1, 0.8, 3.0))
    assert all(len(find_bracket(rise, start).points) <= 15 for start in (1e-5, 10.0, 1e4))
    assert len(find_bracket(rise, 1e-3, slope=-1.0).points) <= 7
    for hint in (None, -1.0, -3.0):
        for off in (0.96, 1.0, 1.04):
            assert len(find_bracket(rise, off * RATE, warm=True, hint=hint).points) <= 3
    assert len(find_bracket(quadratic, RATE, warm=True).points) == 2


@pytest.mark.parametrize("bend", [0.0, 1.0, -0.01])
def test_what_rises_from_the_start_is_no_descent(bend):
    found = find_bracket(lambda r: r + bend * r * r, 1.0)
    assert found.status == "not a descent direction"
    assert len(found.points) <= 6
    assert find_bracket(quadratic, 1.0, slope=0.0).status == "not a descent direction"


def test_far_away_a_rise_in_proportion_to_the_rate_is_no_ascent():
    found = find_bracket(lambda r: math.sqrt(1 + (r - 1) ** 2) - math.sqrt(2), 1e6, small=0.01)
    assert (found.status, found.crossing) == ("measured", pytest.approx(2.0, rel=0.05))


def test_a_function_that_never_rises_says_so():
    found = find_bracket(lambda r: -r, 1.0)
    assert found.status == "no rise"
    assert (found.upper, len(found.points) < 20) == (math.inf, True)


def test_evaluations_are_bounded():
    found = find_bracket(quadratic, 1e-8, max_passes=3)
    assert found.status == "out of passes"
    assert len(found.points) == 3
    assert found.lower <= RATE <= found.upper
