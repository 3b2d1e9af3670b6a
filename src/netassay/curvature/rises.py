"""How a loss rises along a line, and how much of that is noise."""

from __future__ import annotations

import math
from typing import NamedTuple

from netassay.curvature import line_search
from netassay.curvature.displacement import Direction
from netassay.curvature.line_search import Bracket
from netassay.curvature.passes import ROUNDINGS, Losses, Passes, rise
from netassay.errors import ModelError

HIDDEN = "hidden by noise"
DEVIATIONS = 2.0  # standard errors beyond which the sign of a sampled rise is trusted
PROBE = 0.02  # of the critical rate: this near, the loss is a straight line and any bend is noise


class Line(NamedTuple):
    """A direction and what is known of it before the first pass: the slope of the loss along it, exact, or as a hint;
    the learning rate of the optimiser whose update it is, the bytes that took, and the losses at the weights.
    """

    direction: Direction
    slope: float | None = None
    hint: float | None = None
    step: float | None = None
    memory: int = 0
    losses: Losses | None = None


class Rises:
    """The rise of the loss along a line, with its noise."""

    def __init__(self, passes: Passes, line: Line, base: Losses | float, sample: bool) -> None:
        self.passes, self.line, self.base, self.sample = passes, line, base, sample
        self.loss = base if isinstance(base, float) else base.total
        self._errors: dict[float, float] = {}
        if sample and not (isinstance(base, Losses) and len(base.values) > 1):
            raise ModelError(
                "sample=True takes the noise from the spread between batches: give two or more, without present_loss"
            )

    def rise(self, rate: float) -> float:
        """The rise at a rate; infinite if the loss is not finite."""
        after = self.passes.losses(rate, self.line.direction)
        if after is None:
            return math.inf
        if isinstance(self.base, float):
            return after.total - self.base
        change = rise(self.base, after)
        self._errors[rate] = change.error
        return change.value

    def noise(self, bracket: Bracket, before: float) -> float:
        """The rise that is indistinguishable from none near the crossing; `before` is that of an earlier look, or 0."""
        noise = ROUNDINGS * self.passes.epsilon * abs(self.loss)
        if self.passes.is_coarse and before > 0:
            noise = max(noise, before)
        elif self.passes.is_coarse and (rate := bracket.crossing) > 0:
            # in the sum of the rises ahead and behind the slope cancels; it has three independent errors, one of them
            # twice, and a rise has two
            bend = self.rise(PROBE * rate) + self.rise(-PROBE * rate)
            noise = max(noise, DEVIATIONS * abs(bend) / math.sqrt(3))
        if self.sample and self._errors:
            end = bracket.upper if bracket.upper in self._errors else bracket.lower
            noise += DEVIATIONS * self._errors.get(end, max(self._errors.values()))
        return noise

    def interval(self, bracket: Bracket, noise: float) -> tuple[float, float, float, str]:
        """Critical sharpness, its lower and upper bound, and the status."""
        rises = bracket.points.values()
        if bracket.status == line_search.NO_DESCENT:
            hidden = bool(rises) and all(abs(value) <= noise for value in rises)
            return math.nan, math.nan, math.nan, HIDDEN if hidden else bracket.status
        if bracket.status == line_search.NO_RISE:
            return 0.0, 0.0, 2 / bracket.lower, bracket.status
        lower, upper = bracket.lower, bracket.upper
        rate = bracket.crossing
        if bracket.status == line_search.MEASURED and min(-bracket.points[lower], bracket.points[upper]) < noise:
            # the quadratic that falls by `depth` half-way to the crossing passes +-noise here
            depth = -self.rise(rate / 2)
            if depth <= noise:
                return 2 / rate, 0.0, math.inf, HIDDEN
            lower = min(lower, rate * (1 + math.sqrt(1 - noise / depth)) / 2)
            upper = max(upper, rate * (1 + math.sqrt(1 + noise / depth)) / 2)
        if not rate > 0:
            rate = lower if upper == math.inf else upper
        return 2 / rate, 2 / upper, 2 / lower if lower > 0 else math.inf, bracket.status
