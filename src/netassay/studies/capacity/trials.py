"""The trials of a run, one after another, each chosen from the results of those before."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from netassay.errors import DataError
from netassay.studies.capacity.trial import Trial
from netassay.studies.capacity.widths import Attempt, Next
from netassay.training import Metric

FLOOR_EVERY = 25


class Trials:
    """Runs trials until `choose` returns none; a `training.Trainee` whose steps are numbered over all of them.

    `begin` makes a trial, `choose` says which comes next. A trial ends when its loss, measured in float64, is
    within `gap` times the bound of it, if `stop`; after its last step; when it is proved that it never can be;
    or when its loss is NaN. `facts` are recorded with the first step, `about` is part of the state. `digest` is
    that of the corpus: a state from another one is refused. The state has the weights ("best/...") of the
    narrowest model that met the criterion, or of the one with the smallest gap.
    """

    def __init__(
        self,
        begin: Callable[[Next], Trial],
        choose: Callable[[list[Attempt]], Next | None],
        *,
        bound: float,
        gap: float,
        stop: bool,
        digest: str,
        facts: Mapping[Metric, float],
        about: Mapping[str, Any],
    ) -> None:
        self.begin, self.choose = begin, choose
        self.bound, self.gap, self.stop, self.digest = bound, gap, stop, digest
        self.facts, self.about = facts, about
        self.attempts: list[Attempt] = []
        self.best: dict[str, Tensor] = {}
        self.attempt: Attempt | None = None
        self.first_met: int | None = None
        self.loss = math.nan
        self._next()

    @property
    def over(self) -> bool:
        """Whether no trial remains."""
        return self.next is None

    def measure(self, step: int) -> Mapping[Metric, float]:
        """The loss at every step; at the first step of a trial its width and number, at the last its result."""
        assert self.trial is not None and self.next is not None, "there is nothing left to measure"
        loss = self.trial.measure()
        values: dict[Metric, float] = dict(self.facts) if step == 0 else {}
        if self.trial.step == 0:
            values |= {"width": float(self.next.width), "try": float(self.next.number)}
        diverged = not math.isfinite(loss)
        self.loss = self.loss if diverged else loss
        values["loss"] = self.loss if math.isfinite(self.loss) else loss
        self.attempt = self._result(diverged)
        if self.attempt is not None:
            values |= {
                "exact_loss": self.attempt.loss,
                "gap": self.attempt.gap,
                "met": float(self.attempt.met),
                "proved": float(self.attempt.proved),
                "steps": float(self.attempt.steps),
            }
        return values

    def advance(self) -> None:
        assert self.trial is not None
        if self.attempt is None:
            self.trial.advance()
        else:
            if not any(_rank(earlier) < _rank(self.attempt) for earlier in self.attempts):
                weights = self.trial.finished().state_dict()
                self.best = {f"best/{name}": t.detach().clone() for name, t in weights.items()}
            self.attempts.append(self.attempt)
            self._next()

    def state(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        tensors = {} if self.trial is None else self.trial.state()
        return self.best | tensors, {
            **self.about,
            "corpus": self.digest,
            "attempts": [list(attempt) for attempt in self.attempts],
            "trial_step": 0 if self.trial is None else self.trial.step,
            "first_met": self.first_met,
            "last_loss": None if math.isnan(self.loss) else self.loss,
        }

    def load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        if facts["corpus"] != self.digest:
            raise DataError(
                f"the corpus is not the one this run began with (SHA-256 of its documents {self.digest[:12]}..., then "
                f"{facts['corpus'][:12]}...); restore that one, or begin a run in another store"
            )
        # facts of the corpus stay as recorded, whichever version the run began with
        self.about = {name: facts.get(name, value) for name, value in self.about.items()}
        self.best = {name: t for name, t in tensors.items() if name.startswith("best/")}
        self.attempts = [Attempt(*values) for values in facts["attempts"]]
        self._next()
        self.first_met = facts["first_met"]
        self.loss = math.nan if facts["last_loss"] is None else facts["last_loss"]
        if self.trial is not None:
            self.trial.load(tensors, facts["trial_step"])

    def _next(self) -> None:
        self.next = self.choose(self.attempts)
        self.trial = None if self.next is None else self.begin(self.next)
        self.first_met, self.loss = None, math.nan

    def _result(self, diverged: bool) -> Attempt | None:
        """The result of the trial, if this is its last step."""
        assert self.trial is not None and self.next is not None
        allowed = self.bound * (1 + self.gap)
        last = diverged or self.trial.step == self.trial.steps
        exact = math.nan
        if last or (self.first_met is None and self.loss <= allowed):
            exact = self.loss if diverged else self.trial.exact_loss()
            if exact <= allowed and self.first_met is None:
                self.first_met = self.trial.step
        proved = not last and self.first_met is None and self.trial.step % FLOOR_EVERY == 0
        proved = proved and self.trial.floor() > allowed
        if not (last or proved or (self.stop and self.first_met is not None)):
            return None
        exact = self.trial.exact_loss() if math.isnan(exact) else exact
        steps = self.trial.step if self.first_met is None else self.first_met
        met = self.first_met is not None
        return Attempt(self.next.width, self.next.number, steps, exact, exact / self.bound - 1, met, proved)


def _rank(attempt: Attempt) -> tuple[bool, float]:
    """Smallest for the best model: the narrowest that met the criterion, else the one nearest to it."""
    return (False, attempt.width) if attempt.met else (True, attempt.gap)
