"""Which step size to try next, from the trials so far: a ladder of doublings, then bisection on the logarithm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

LADDER = 2.0
MOST_RUNGS = 20
"""Number of doublings or halvings without a trial that trains after which the search ends."""

FURTHEST_DOWN = 8


class Outcome(StrEnum):
    """How a trial ended: at the goal, beyond all bounds, or neither within its steps."""

    TRAINED = "trained"
    DIVERGED = "diverged"
    UNFINISHED = "unfinished"


class Trial(NamedTuple):
    """Gradient descent at one step size, how it ended, after how many steps, and at which loss."""

    step_size: float
    outcome: Outcome
    steps: int
    loss: float


class Bracket(NamedTuple):
    """`largest` that trained and the smallest failing one above it, with how it failed; NaN if there is none."""

    largest: float
    failing: float
    failing_outcome: str


def bracket(trials: Sequence[Trial]) -> Bracket:
    """The bracket of the largest step size that trains, assuming that smaller ones train and larger ones fail."""
    largest = max((t.step_size for t in trials if t.outcome is Outcome.TRAINED), default=math.nan)
    above = [t for t in trials if t.outcome is not Outcome.TRAINED and not t.step_size < largest]
    if math.isnan(largest) or not above:
        return Bracket(largest, math.nan, "")
    first = min(above, key=lambda t: t.step_size)
    return Bracket(largest, first.step_size, str(first.outcome))


def next_step_size(trials: Sequence[Trial], start: float, resolution: float) -> float | None:
    """The step size to try after `trials`, None when the bracket is within `resolution` or nothing trains.

    From `start` it doubles while networks train or are unfinished, halves while they diverge, and bisects
    geometrically what is in between. A network that trains at none of them is given up when the ladder has
    `MOST_RUNGS` rungs, or unfinished and diverged are as close as `resolution` and nothing trains down to one
    `FURTHEST_DOWN`th of the smallest that diverges.
    """
    if not trials:
        return start
    sizes = [t.step_size for t in trials]
    ends = bracket(trials)
    if not math.isnan(ends.largest):
        if math.isnan(ends.failing):
            return ends.largest * LADDER if ends.largest < start * LADDER**MOST_RUNGS else None
        return _between(ends.largest, ends.failing, resolution)
    diverged = [t.step_size for t in trials if t.outcome is Outcome.DIVERGED]
    unfinished = [t.step_size for t in trials if t.outcome is Outcome.UNFINISHED]
    if len(trials) > MOST_RUNGS:
        return None
    if not diverged:
        return max(sizes) * LADDER
    below = [size for size in unfinished if size < min(diverged)]
    if not below:
        return min(sizes) / LADDER
    lower = min(sizes) / LADDER if min(below) * FURTHEST_DOWN > min(diverged) else None
    return _between(max(below), min(diverged), resolution) or lower


def _between(low: float, high: float, resolution: float) -> float | None:
    # some slack, so that the last bits of a square root do not cost another trial
    return math.sqrt(low * high) if high / low > resolution * (1 + 1e-9) else None
