"""When a training will reach its edge of stability, and which steps will still be stable, from past measurements.

The ratio of a training to its edge (eta lambda / 2 for gradient descent, 1 is the edge) is extrapolated by a straight
line through the measurements of the last half horizon, at an unchanged learning rate. The error was measured on
trainings of digits (three activations, one to three layers, two losses, descent, momentum and Adam; looks 5 or 10 steps
apart), whose quantiles the intervals are; on trainings of other kinds, which were not used, the intervals held as
`benchmarks/results/forecast.txt` says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from typing import Any, NamedTuple

from netassay.errors import ModelError

BEYOND = 3
"""Maximum number of horizons ahead for which a crossing is predicted."""

NEAR = 0.9
"""Ratio from which on a training is at its edge."""

ARRIVAL = (0.85, 2.4)
"""Actual over predicted steps to the edge, 10 % and 90 % quantiles: sharpening slows down near the edge."""

LATER = (0.95, 1.13)
"""Actual over predicted ratio a horizon later, 10 % and 90 % quantiles."""

MARGIN = 1.1
"""In 9 trainings of 10 the ratio within the next horizon exceeded the larger of now and then by at most this factor."""

CROSSINGS_RIGHT = 0.58
"""Share of the crossings predicted in trainings of other kinds that fell within their intervals; those that had not
happened when a training ended count as wrong.
"""

RATES_RIGHT = 0.91
"""Share of the rates given for a horizon in trainings of other kinds that stayed below the edge throughout."""

_TESTED_HORIZON = 100
_FEWEST = 4  # measurements needed for a line


class Prediction(NamedTuple):
    """A value, and an interval that held the truth in 8 cases of 10 where it was measured, and in 7 of 10 on trainings
    of other kinds.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Forecast:
    """What the ratio to the edge implies for the coming steps, if the learning rate does not change.

    Attributes:
        step: Step of the last look.
        ratio: Ratio to the edge there (1 at the edge).
        horizon: Number of steps looked ahead.
        since: First step of the unbroken stretch of looks at `NEAR` of the edge or above that lasts; None if none does.
        crossing: Step at which the edge will be reached; None if it was already or will not be within `BEYOND`
            horizons.
        ratio_later: Ratio a horizon later; None with fewer than four looks.
        largest: Largest stable learning rate now.
        warm_up: The largest for each quarter of the horizon, as (step, rate); a warm-up below them is stable.

    Example:
        >>> import netassay
        >>> ahead = netassay.forecast([0, 10, 20, 30], [0.5, 0.55, 0.6, 0.65])
        >>> isinstance(ahead, netassay.Forecast), ahead.ratio
        (True, 0.65)
    """

    step: int
    ratio: float
    horizon: int
    since: int | None
    crossing: Prediction | None
    ratio_later: Prediction | None
    largest: float
    warm_up: tuple[tuple[int, float], ...]

    def plot(self) -> Any:
        """The largest stable learning rate now and in the coming steps, as an Altair chart."""
        return import_module("netassay.plotting").plot(self)

    @property
    def rate_later(self) -> float:
        """The largest learning rate for the entire horizon."""
        return self.warm_up[-1][1]

    def in_words(self, optimiser: str) -> str:
        """One line that says what to do, as in "AdamW at 0.97 of its edge since step 410: warm up longer or lower the
        rate (...)".
        """
        now = f"{optimiser} at {self.ratio:.2f} of its edge"
        if self.since is not None:
            return (
                f"{now} since step {self.since}: warm up longer or lower the rate (stable now below "
                f"{self.largest:.3g}, for the next {self.horizon} steps below {self.rate_later:.3g}"
                f"{self._right(RATES_RIGHT)})"
            )
        if self.ratio_later is None:
            return f"{now}; when it will reach it can be said after {_FEWEST} looks"
        if self.crossing is None:
            return f"{now}, which it will not reach within {BEYOND * self.horizon} steps"
        about, low, high = self.crossing
        return (
            f"{now}, which it will reach at about step {about:.0f} ({low:.0f} to {high:.0f}"
            f"{self._right(CROSSINGS_RIGHT)}): for the next {self.horizon} steps keep the rate below "
            f"{self.rate_later:.3g}{self._right(RATES_RIGHT)}"
        )

    def _right(self, share: float) -> str:
        """The share of right predictions; tested only at one horizon, before the edge."""
        tested = self.horizon == _TESTED_HORIZON and self.ratio < 1
        return f", right in {share:.0%} of tests" if tested else ""


def forecast(
    steps: Sequence[int],
    ratios: Sequence[float],
    *,
    rate: float | Sequence[float] = 1.0,
    horizon: int = 100,
) -> Forecast:
    """A forecast from past looks at the ratio to the edge, at the last of them.

    Args:
        steps: Steps of the looks, increasing.
        ratios: Ratio to the edge at each (1 at the edge).
        rate: Learning rate, one for all looks or one per look, the last being the present one: ratios at others are
            scaled to it, as they are proportional to the rate.
        horizon: Number of steps to look ahead (1 or more); intervals were measured at 100.

    Returns:
        When the edge will be crossed, and which learning rates are stable until then.

    Raises:
        ModelError: For no look, for lengths or an order that cannot be, and for a ratio that is not finite.

    Example:
        >>> from netassay.curvature import forecast
        >>> ahead = forecast([0, 10, 20, 30, 40], [0.50, 0.55, 0.60, 0.65, 0.70], rate=0.1)
        >>> round(ahead.crossing.value), round(ahead.largest, 3)
        (100, 0.143)
    """
    steps, ratios = [int(step) for step in steps], [float(ratio) for ratio in ratios]
    if not steps or len(steps) != len(ratios) or any(b <= a for a, b in pairwise(steps)):
        raise ModelError(
            f"{len(steps)} steps and {len(ratios)} ratios: give one ratio per look, steps in increasing order"
        )
    if not all(map(math.isfinite, ratios)):
        raise ModelError("a ratio to the edge is not finite; leave out the looks that failed")
    rates = [float(rate)] * len(steps) if isinstance(rate, int | float) else [float(number) for number in rate]
    if horizon < 1 or len(rates) != len(steps) or not all(number > 0 and math.isfinite(number) for number in rates):
        raise ModelError(
            f"horizon={horizon}, rate={rate}: a horizon is at least 1 step; rates, one or one per look, are finite and "
            "above 0"
        )
    present, since = rates[-1], _since(steps, ratios)
    ratios = [ratio * present / then for ratio, then in zip(ratios, rates, strict=True)]
    step, now = steps[-1], ratios[-1]
    slope = _slope(steps, ratios, horizon)
    ahead = None if slope is None or slope <= 0 or now >= 1 else (1 - now) / slope
    if ahead is not None and ahead > BEYOND * horizon:
        ahead = None
    later = None if slope is None else max(now + slope * horizon, now / 4, 0.0)
    highest = [max(now, now + (slope or 0.0) * part * horizon / 4) for part in range(1, 5)]
    warm_up = [
        (step + round(part * horizon / 4), present / (MARGIN * high) if high > 0 else math.inf)
        for part, high in enumerate(highest, 1)
    ]
    return Forecast(
        step,
        now,
        horizon,
        since,
        None if ahead is None else Prediction(step + ahead, *(step + ahead * part for part in ARRIVAL)),
        None if later is None else Prediction(later, *(later * part for part in LATER)),
        present / now if now > 0 else math.inf,
        tuple(warm_up),
    )


def _since(steps: Sequence[int], ratios: Sequence[float]) -> int | None:
    since = None
    for step, ratio in zip(reversed(steps), reversed(ratios), strict=True):
        if ratio < NEAR:
            break
        since = step
    return since


def _slope(steps: Sequence[int], ratios: Sequence[float], horizon: int) -> float | None:
    """Slope by least squares over the last half horizon, at least four looks."""
    first = min(
        next(i for i, step in enumerate(steps) if step >= steps[-1] - horizon / 2),
        max(len(steps) - _FEWEST, 0),
    )
    if len(steps) - first < _FEWEST:
        return None
    x, y = steps[first:], ratios[first:]
    middle, level = sum(x) / len(x), sum(y) / len(y)
    return sum((a - middle) * (b - level) for a, b in zip(x, y, strict=True)) / sum((a - middle) ** 2 for a in x)
