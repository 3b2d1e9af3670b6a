import math

import numpy as np
import pytest
from scipy.stats import linregress, t

from netassay.errors import DataError
from netassay.numerics.fits import line, slope_ratio


def points(slope, noise, seed, count=9):
    x = np.linspace(100, 900, count)
    return x, 50 + slope * x + noise * np.random.default_rng(seed).standard_normal(count)


def test_a_line_is_that_of_scipy():
    x, y = points(3.0, 40.0, 0)
    mine, theirs = line(x, y), linregress(x, y)
    assert mine.slope == pytest.approx(theirs.slope, rel=1e-12)
    assert mine.intercept == pytest.approx(theirs.intercept, rel=1e-10)
    assert mine.error == pytest.approx(theirs.stderr, rel=1e-10)
    assert mine.r_squared == pytest.approx(theirs.rvalue**2, rel=1e-10)
    reach = t.ppf(0.975, 7) * theirs.stderr
    assert (mine.low, mine.high) == pytest.approx((theirs.slope - reach, theirs.slope + reach))
    assert mine.at(10.0) == pytest.approx(theirs.intercept + 10 * theirs.slope)


def test_intervals_cover_the_true_slope_as_often_as_they_say():
    inside = sum((fit := line(*points(3.0, 40.0, seed))).low <= 3.0 <= fit.high for seed in range(400))
    assert inside / 400 == pytest.approx(0.95, abs=0.035)


def test_the_ratio_interval_is_where_fiellers_inequality_holds():
    upper, lower = line(*points(10.0, 200.0, 1)), line(*points(3.0, 60.0, 2))
    ratio = slope_ratio(upper, lower)
    quantile = t.ppf(0.975, upper.points + lower.points - 4)
    rho = np.linspace(0, 20, 200_001)
    holds = (upper.slope - rho * lower.slope) ** 2 <= quantile**2 * (upper.error**2 + rho**2 * lower.error**2)
    assert (ratio.low, ratio.high) == pytest.approx((rho[holds].min(), rho[holds].max()), abs=2e-4)
    assert ratio.low < ratio.value < ratio.high


def test_a_ratio_to_a_slope_that_may_be_zero_is_unbounded():
    ratio = slope_ratio(line(*points(3.0, 1.0, 0)), line(*points(0.0, 100.0, 3)))
    assert (ratio.low, ratio.high) == (-math.inf, math.inf)


@pytest.mark.parametrize(("x", "y"), [([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [1, 2])])
def test_too_few_points_are_refused(x, y):
    with pytest.raises(DataError, match="three points"):
        line(x, y)
