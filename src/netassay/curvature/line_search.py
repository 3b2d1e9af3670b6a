"""The smallest rate at which a function of one rate rises above its value at 0, between two rates that enclose it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

MEASURED = "measured"
NO_DESCENT = "not a descent direction"
NO_RISE = "no rise"
OUT_OF_PASSES = "out of passes"

FARTHEST = 1e12
"""Largest distance of a search from its start, up or down, as a factor."""

_LEAP = 16.0  # largest factor by which one guess moves an open end
_CREEP = 4.0  # after two guesses that moved an open end by less, a leap follows
_STEEP = 8.0  # ratio of the two ends' rise / rate above which they are halved
_FAR = 50.0  # exponent of the largest factor that a guess moves by
_NEAR = 0.4  # share of the first rise / rate from which on guesses are good
_TRUSTED = 6  # number of guesses after which some go to the middle
_ASCENTS, _FLAT = 3, 0.25  # number of rises that must be proportional to their rates, and their tolerance


@dataclass(frozen=True)
class Bracket:
    """`lower` is the largest evaluated rate below `upper` at which the function does not rise, 0 if none; `upper` the
    smallest at which it does, infinite if none; `points` every evaluated rate -> the rise there; `status` the outcome.
    """

    lower: float
    upper: float
    points: Mapping[float, float]
    status: str

    @property
    def crossing(self) -> float:
        """Where the rise passes 0 between the two ends, by the line through rise / rate, exact for a quadratic."""
        if not 0 < self.lower < self.upper < math.inf:
            return math.nan
        low, high = (self.points[rate] / rate for rate in (self.lower, self.upper))
        if not math.isfinite(high) or high <= low:
            return math.sqrt(self.lower * self.upper)
        return self.lower + (self.upper - self.lower) * -low / (high - low)


def find_bracket(
    rise: Callable[[float], float],
    start: float,
    *,
    slope: float | None = None,
    hint: float | None = None,
    warm: bool = False,
    small: float = math.inf,
    tolerance: float = 0.05,
    max_passes: int = 60,
) -> Bracket:
    """Two rates around the one at which `rise` (0 at rate 0, infinite where it is not finite) turns positive.

    Exponential search from `start` > 0 and then a search between the ends, as Kalra et al. (2026, arXiv 2601.16979)
    do, with guesses from the line through rise / rate, which for a quadratic is straight, in place of bisection.
    `slope` is that of the rise at 0, if known exactly: one of 0 or more is no descent. `hint` is a slope that may be
    another function's and only guides the guesses; `warm` says that the crossing is expected at `start`. The ends are
    within `tolerance` of their middle unless `max_passes` evaluations did not suffice. A rise up to `small`
    that is in proportion to the rate is an ascent. Which of several crossings it finds depends on the start.
    """
    points: dict[float, float] = {}
    width = (1 + tolerance) / (1 - tolerance)
    if slope is not None and slope >= 0:
        return Bracket(0.0, math.inf, points, NO_DESCENT)
    guide = slope if slope is not None else hint if hint is not None and hint < 0 else None
    rate = start * math.sqrt(width) if warm else start
    while len(points) < max_passes:
        points[rate] = rise(rate)
        lower, upper = _ends(points)
        if lower > 0 and upper <= lower * width * (1 + 1e-9):
            return Bracket(lower, upper, points, MEASURED)
        if upper == math.inf and lower > FARTHEST * start:
            return Bracket(lower, upper, points, NO_RISE)
        doubtful = lower == 0 and slope is None
        if doubtful and (upper < start / FARTHEST or (guide is None and _ascends(points, small))):
            return Bracket(lower, upper, points, NO_DESCENT)
        rate = _next(points, lower, upper, width, guide, warm)
    lower, upper = _ends(points)
    return Bracket(lower, upper, points, OUT_OF_PASSES)


def _ends(points: Mapping[float, float]) -> tuple[float, float]:
    upper = min((rate for rate, rise in points.items() if rise > 0), default=math.inf)
    return max((rate for rate in points if rate < upper), default=0.0), upper


def _ascends(points: Mapping[float, float], small: float) -> bool:
    """Whether the rises at the smallest rates are small and proportional to the rates, as on a rising straight line:
    far from 0 the rise of many losses is proportional too, but large.
    """
    smallest = sorted((rate, rise / rate) for rate, rise in points.items() if math.isfinite(rise))[:_ASCENTS]
    if len(smallest) < _ASCENTS or not 0 < smallest[0][0] * smallest[0][1] <= small:
        return False
    return all(b[0] >= 3 * a[0] and abs(b[1] / a[1] - 1) <= _FLAT for a, b in pairwise(smallest))


def _next(
    points: Mapping[float, float], lower: float, upper: float, width: float, guide: float | None, warm: bool
) -> float:
    guess = _root(points, lower, upper, guide)
    if guess is None and warm and len(points) == 1:
        return lower * width if lower else upper / width
    if upper == math.inf:
        leap = min(2.0 ** len(points), _LEAP)
        guess = min(guess if guess is not None and guess > lower else leap * lower, _LEAP * lower)
        guess = max(guess, 2 * lower) if _creeps(points, lower, min(points)) else guess
        return lower * width if guess <= lower * width else guess * math.sqrt(width)
    if lower == 0:
        guess = max(guess if guess is not None and guess < upper else upper / 4, upper / _LEAP)
        if _creeps(points, upper, max(points)):
            guess = min(guess, upper / (4 if len(points) <= _TRUSTED else _LEAP))
        return upper / width if guess >= upper / width else guess / math.sqrt(width)
    # guesses that stay at one end would never close the other: after some, every second one goes to the middle
    if guess is None or not lower < guess < upper or (len(points) > _TRUSTED and len(points) % 2):
        guess = math.sqrt(lower * upper)
    if guess <= lower * width:
        return min(lower * width, math.sqrt(lower * upper) if upper < lower * width else math.inf)
    return upper / width if guess >= upper / width else guess / math.sqrt(width)


def _creeps(points: Mapping[float, float], end: float, first: float) -> bool:
    """Whether the last two guesses moved an open end by little, with the crossing not yet near."""
    nearest = sorted(points, key=lambda rate: abs(math.log(rate / end)))[:3]
    slow = len(nearest) == 3 and max(nearest) < min(nearest) * _CREEP
    near = points[end] < 0 and points[end] / end > _NEAR * points[first] / first
    return slow and not near


def _root(points: Mapping[float, float], lower: float, upper: float, guide: float | None) -> float | None:
    """Where rise / rate passes 0, by the nearest two or three points, on either side if possible.

    None where they do not rise towards it.
    """
    heights = {rate: rise / rate for rate, rise in points.items() if math.isfinite(rise)}
    if guide is not None and (len(heights) == 1 or lower == 0):
        heights[0.0] = guide
    below = sorted((rate for rate in heights if rate <= lower), reverse=True)
    above = sorted(rate for rate in heights if rate >= upper)
    nearest = [below[0], above[0]] if below and above else (below or above)[:2]
    if len(nearest) < 2:
        return None
    a, b = sorted(nearest)
    if guide is not None and a > 0 and guide < heights[a] < heights[b]:
        # q = guide + c r^p through both
        power = math.log((heights[b] - guide) / (heights[a] - guide)) / math.log(b / a)
        root = a * math.exp(min(math.log(guide / (guide - heights[a])) / power, _FAR))
        if lower < root < upper:
            return root
    if guide is not None and below and above and heights[b] > _STEEP * abs(heights[a]):
        return None  # a straight line would stay at the lower end
    bend = (heights[b] - heights[a]) / (b - a)
    straight = b - heights[b] / bend if bend > 0 else None
    further = sorted(rate for rate in heights if rate not in nearest)
    if straight is None or not further:
        return straight
    c = min(further, key=lambda rate: abs(rate - straight))
    bent = _inverse([(heights[rate], rate) for rate in (a, b, c)])
    inside = lower < bent < upper and straight / 2 < bent < 2 * straight
    return bent if inside else straight


def _inverse(three: list[tuple[float, float]]) -> float:
    """The rate at height 0 of the parabola through three (height, rate); NaN where two heights are the same."""
    (p, a), (q, b), (r, c) = three
    if len({p, q, r}) < 3:
        return math.nan
    return a * q * r / ((p - q) * (p - r)) + b * p * r / ((q - p) * (q - r)) + c * p * q / ((r - p) * (r - q))
