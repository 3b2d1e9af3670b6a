"""How much time looking may take, as a share of the time that training takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from netassay.errors import ConfigError

SEARCH_EVERY = 5
"""Looks after which a random vector searches for an eigenvalue that came up unseen, a look dearer than others."""

REMEMBERED = SEARCH_EVERY + 1
"""How many of the last looks the expected cost of the next is the largest of: one with a search is among them, or the
first, which costs more than twice as much and counts half."""


class Budget:
    """Counts seconds of `clock`: what is `spent` inside `spending`, and what training took in between.

    A look is affordable when it is expected to keep spent / training at or below `share` (above 0), with `reserved`
    seconds kept back for what comes at the end. The first is taken at once, so that there is a number at the start; its
    debt is paid off before the next.
    """

    def __init__(self, share: float, clock: Callable[[], float]) -> None:
        if not 0 < share < float("inf"):
            raise ConfigError(
                f"budget={share}: give the share of the training time, above 0, such as 0.2 for 20 %"
            )
        self.share, self.clock = share, clock
        self.spent = self.trained = self.reserved = 0.0
        self._left: float | None = None
        self._costs: deque[float] = deque(maxlen=REMEMBERED)

    @contextmanager
    def spending(self) -> Iterator[None]:
        """What happens inside is spent; the time since the last such block was training."""
        entered = self.clock()
        if self._left is not None:
            self.trained += entered - self._left
        try:
            yield
        finally:
            self._left = self.clock()
            self.spent += self._left - entered

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Within `spending`: the cost of what happens inside is what the next look is expected to cost."""
        entered = self.clock()
        try:
            yield
        finally:
            cost = self.clock() - entered
            self._costs.append(cost if self._costs else cost / 2)

    def affords_a_look(self) -> bool:
        return not self._costs or self.spent + max(self._costs) + self.reserved <= self.share * self.trained

    @property
    def used(self) -> float:
        """spent / training so far; infinite before any training."""
        return self.spent / self.trained if self.trained > 0 else float("inf")
