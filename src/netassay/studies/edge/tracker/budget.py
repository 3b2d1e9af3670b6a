"""The time that looking may take, as a share of the time of training."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from netassay.errors import ConfigError

SEARCH_EVERY = 5
"""Number of looks between searches with a random vector for an eigenvalue that came up unseen, which cost more."""

REMEMBERED = SEARCH_EVERY + 1
"""Number of last looks whose largest cost is the expected cost of the next: they include one with a search, or the
first, which costs more than twice as much and counts half."""

LONGEST_WAIT = 10
"""Consecutive failed looks wait 1, 2, 4, ... steps, up to two to this power."""

TIMED, COLD = 100, 10.0
"""Repetitions of a step without a decision that give its cost, and how many times as long one takes between the steps
of a training, whose own code fills the caches: 4 to 5 microseconds were measured for 0.5.
"""


class Budget:
    """Counts seconds of `clock`: those `spent` inside `spending`, and those of training in between.

    A look is affordable when it is expected to keep spent / training at or below `share` (above 0), with `reserved`
    seconds kept back for the end. The first comes at once, so that there is a number at the start, and is paid off
    before the next. A look has parts, the whole network and layers, whose costs are counted separately.
    """

    def __init__(self, share: float, clock: Callable[[], float]) -> None:
        if not 0 < share < float("inf"):
            raise ConfigError(f"budget={share}: give the share of the training time, above 0, such as 0.2 for 20 %")
        self.share, self.clock = share, clock
        self.spent = self.trained = self.reserved = 0.0
        self._left: float | None = None  # when the last block of `spending` ended, and the present one began
        self._entered: float | None = None
        self._costs: dict[str, deque[float]] = {}
        self._unseen = 0.0  # seconds of a step outside `spending`
        self._cold = 0.0  # the most expensive first look at any part

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Time inside is spent; the time since the last such block was training."""
        entered = self._entered = self.clock()
        if self._left is not None:
            self.trained += entered - self._left
        try:
            yield
        finally:
            self._left, self._entered = self.clock(), None
            self.spent += self._left - entered

    def calibrate(self, step: Callable[[], object]) -> None:
        """Times what every step outside `spending` costs."""
        begin = self.clock()
        for _ in range(TIMED):
            step()
        self._unseen = COLD * (self.clock() - begin) / TIMED

    def spent_unseen(self, steps: int) -> None:
        """Counts this many steps outside `spending`, which the clock counted as training."""
        seconds = min(steps * self._unseen, self.trained)
        self.spent, self.trained = self.spent + seconds, self.trained - seconds

    @contextmanager
    def looking(self, part: str = "") -> Iterator[None]:
        """Within `spending`: the time inside becomes the expected cost of `part` of the next look.

        The part "" is the whole network, others are layers.
        """
        entered = self.clock()
        try:
            yield
        finally:
            cost = self.clock() - entered
            costs = self._costs.setdefault(part, deque(maxlen=REMEMBERED))
            if not costs:
                self._cold = max(self._cold, cost)
            costs.append(cost if costs else cost / 2)

    def expected(self, part: str = "") -> float:
        """Expected seconds of a part of a look; for a new part, those of the most expensive first look."""
        costs = self._costs.get(part)
        return max(costs) if costs else self._cold

    def affords_a_look(self, beside: Iterable[str] = ()) -> bool:
        """Whether the budget allows a look at the whole network and the parts `beside` it now."""
        return "" not in self._costs or self.affords(self.expected() + sum(map(self.expected, beside)))

    def seconds_before_a_look(self, beside: Iterable[str] = ()) -> float:
        """Seconds of training until such a look is affordable, if nothing else is spent; 0 if it is already."""
        return 0.0 if "" not in self._costs else self.seconds_before(self.expected() + sum(map(self.expected, beside)))

    def seconds_before(self, cost: float) -> float:
        """Seconds of training until this many more seconds are affordable, if nothing else is spent."""
        return max(0.0, (self.spent + cost + self.reserved) / self.share - self.trained)

    def affords(self, seconds: float) -> bool:
        """Whether this many more seconds, within `spending`, keep to the share."""
        total = self.spent if self._entered is None else self.spent + self.clock() - self._entered
        return total + seconds + self.reserved <= self.share * self.trained

    @property
    def used(self) -> float:
        """spent / training so far; infinite before any training."""
        return self.spent / self.trained if self.trained > 0 else float("inf")
