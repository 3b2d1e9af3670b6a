"""The level that needs no second derivative: critical sharpness along the optimiser's next update."""

from __future__ import annotations

import math
import weakref
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from netassay.curvature.critical import CriticalFollower, CriticalSharpness
from netassay.curvature.forward import Batches, Head, Loss, Weights
from netassay.curvature.line_search import MEASURED, NO_RISE
from netassay.curvature.objective import Objective
from netassay.curvature.shards import Processes
from netassay.studies.edge.tracker.budget import LONGEST_WAIT, Budget
from netassay.studies.edge.tracker.module import left_as_it_was
from netassay.training import Metric

PART = "(forward)"
"""Name of this level among the parts of a look, whose costs are counted."""

SHARE = 0.2
"""Share of the budget for looks of this level if there are exact ones too."""

PASSES_OF_EXACT = 100
"""Forward passes that the first exact look is expected to cost: 16 products of two gradients of three passes each."""

_WRAPPERS = ("accelerate", "lightning", "pytorch_lightning")


def stepping(optimizer: Any) -> Any:
    """The optimiser within the wrappers of Accelerate and Lightning, which forward its step."""
    while type(optimizer).__module__.partition(".")[0] in _WRAPPERS:
        inner = getattr(optimizer, "optimizer", None) or getattr(optimizer, "_optimizer", None)
        if inner is None:
            break
        optimizer = inner
    return optimizer


@runtime_checkable
class Tracked(Protocol):
    """What is called before each step, unless the step is known to be none of a look."""

    @property
    def is_quiet(self) -> bool: ...

    def before_step(self) -> Any: ...


class ForwardLevel:
    """Looks along the next update of an optimiser, each starting from the one before, and their cost.

    `optimizer` may be a step size, that of gradient descent along the gradients in the parameters.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        batches: Batches,
        optimizer: Any,
        head: Head | None,
        budget: Budget,
        alone: bool,
        processes: Processes | None = None,
    ) -> None:
        """`alone` says that there are no exact looks, so that the budget is for these."""
        self.budget, self.share = budget, 1.0 if alone else SHARE
        self.failures, self._not_before = 0, 0  # consecutive failures, and the step up to which they make looks wait
        self.processes = processes
        self.model, self.loss, self.batches, self.head = model, loss, batches, head
        self.optimizer = stepping(optimizer)
        if isinstance(optimizer, int | float):
            self.optimizer = torch.optim.SGD(model.parameters(), lr=float(optimizer))
        self.spent = 0.0  # seconds in looks
        self.seconds_a_pass: float | None = None
        self.weights: Weights | None = None
        self._follower: CriticalFollower | None = None
        self._hook: Any = None

    def before_every_step(self, tracker: Tracked) -> None:
        """Calls `before_step` of a tracker just before each step of the optimiser, if it has a hook for this.

        With a closure, an optimiser computes its gradients within its step, so there are none yet.
        """
        register = getattr(self.optimizer, "register_step_pre_hook", None)
        if register is None:
            return
        reference = weakref.ref(tracker)

        def hook(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            tracker = reference()
            if tracker is None or tracker.is_quiet:
                return
            closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
            if closure is None and not self._is_skipped():
                tracker.before_step()

        self._hook = register(hook)

    def leave(self) -> None:
        """Takes the hook off the optimiser."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def is_due(self, step: int, every: int | None, exact: bool) -> bool:
        """Whether to look along the update: always before an `exact` look, so that the two can be compared."""
        if step < self._not_before or self.stands_still:
            return False
        if every is not None:
            return step % every == 0
        cost = self.budget.expected(PART)
        if exact or self.seconds_a_pass is None:
            return True
        return self.budget.affords(cost) and (self.spent + cost <= self.share * self.budget.share * self.budget.trained)

    def seconds_away(self) -> float:
        """Seconds of training until the budget allows a look."""
        if self.seconds_a_pass is None:
            return 0.0
        cost = self.budget.expected(PART)
        own = (self.spent + cost) / (self.share * self.budget.share) - self.budget.trained
        return max(0.0, own, self.budget.seconds_before(cost))

    def measure(self, mode: str, weights: Weights | None) -> CriticalSharpness:
        """A look, its cost counted; `weights` as for `look`."""
        begin = self.budget.clock()
        with self.budget.looking(PART), left_as_it_was(self.model, mode):
            critical = self.look(weights)
        seconds = self.budget.clock() - begin
        self.spent += seconds
        self.seconds_a_pass, self.failures = seconds / max(critical.passes, 1), 0
        return critical

    def failed(self, step: int) -> None:
        """The next look starts afresh, and comes later the more have failed."""
        self.begin_anew()
        self._not_before = step + 2 ** min(self.failures, LONGEST_WAIT)
        self.failures += 1

    def look(self, weights: Weights | None) -> CriticalSharpness:
        """A look at the present weights and gradients; `weights` of the batches, if given or found before."""
        if self._follower is None:
            if weights is None and self.processes is None:
                trial = Objective(self.model, self.loss, self.batches, head=self.head, order=0)
                weights = self.weights = trial.weights.later
            group = None if self.processes is None else self.processes.group
            self._follower = CriticalFollower(
                direction=self.optimizer, weights=weights, head=self.head, processes=group
            )
        return self._follower.follow(self.model, self.loss, self.batches)

    def begin_anew(self) -> None:
        """Forgets the last look, after an error or for other parameters."""
        self._follower, self.weights = None, None

    @property
    def stands_still(self) -> bool:
        """Whether the next step changes nothing, such as the first of a warm-up from zero."""
        return not any(float(group.get("lr", 1.0)) > 0 for group in self.optimizer.param_groups)

    def _is_skipped(self) -> bool:
        """Whether a GradScaler made a fused optimiser skip this step."""
        overflow = getattr(self.optimizer, "found_inf", None)
        return overflow is not None and bool(overflow)


def numbers(critical: CriticalSharpness) -> dict[Metric, float]:
    """Metrics of a look: without a value if no step along the update raises the loss, or every step does."""
    values: dict[Metric, float] = {"critical_passes": float(critical.passes), "tracked_loss": critical.loss}
    if critical.status in (MEASURED, NO_RISE):
        values |= {"critical_sharpness": critical.value, "critical_ratio": critical.edge_ratio}
        ends = {"critical_lower": critical.lower, "critical_upper": critical.upper}
        values |= {name: value for name, value in ends.items() if math.isfinite(value)}
    return values
