"""Straight lines through few points, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from netassay.errors import DataError


class Line(NamedTuple):
    """y = intercept + slope x by least squares; standard error of the slope, and its interval at `level`.

    `r_squared` is the share of the variance of y that the line explains, `points` (3 or more) the number of points.
    """

    slope: float
    intercept: float
    error: float
    low: float
    high: float
    r_squared: float
    points: int

    def at(self, x: float) -> float:
        return self.intercept + self.slope * x


class Ratio(NamedTuple):
    """A quotient and its interval, which is infinite where the denominator may be zero."""

    value: float
    low: float
    high: float


def line(x: Sequence[float], y: Sequence[float], *, level: float = 0.95) -> Line:
    """The least-squares line with Student's t interval of its slope: equal, independent errors in y are assumed.

    Raises DataError for fewer than three points or a single x.
    """
    a, b = np.asarray(x, float), np.asarray(y, float)
    if len(a) != len(b) or len(a) < 3 or np.ptp(a) == 0:
        raise DataError(f"a line with an interval needs three points at two x or more; {len(a)} points are given")
    from scipy.stats import t

    centred = a - a.mean()
    square = float(centred @ centred)
    slope = float(centred @ b) / square
    intercept = float(b.mean() - slope * a.mean())
    residual = b - intercept - slope * a
    freedom = len(a) - 2
    error = math.sqrt(float(residual @ residual) / freedom / square)
    reach = float(t.ppf((1 + level) / 2, freedom)) * error
    total = float(((b - b.mean()) ** 2).sum())
    explained = 1 - float(residual @ residual) / total if total else 1.0
    return Line(slope, intercept, error, slope - reach, slope + reach, explained, len(a))


def slope_ratio(upper: Line, lower: Line, *, level: float = 0.95) -> Ratio:
    """The slope of one line over that of another, independent one, with the interval of Fieller (1954).

    rho is inside where (b1 - rho b2)^2 <= t^2 (s1^2 + rho^2 s2^2), t with the points of both less four degrees of
    freedom. Infinite on both sides where the lower slope does not differ significantly from zero.
    """
    from scipy.stats import t

    quantile = float(t.ppf((1 + level) / 2, upper.points + lower.points - 4))
    value = upper.slope / lower.slope if lower.slope else math.inf
    a = lower.slope**2 - (quantile * lower.error) ** 2
    b = upper.slope * lower.slope
    c = upper.slope**2 - (quantile * upper.error) ** 2
    if a <= 0:
        return Ratio(value, -math.inf, math.inf)
    root = math.sqrt(max(b * b - a * c, 0.0))
    return Ratio(value, (b - root) / a, (b + root) / a)
