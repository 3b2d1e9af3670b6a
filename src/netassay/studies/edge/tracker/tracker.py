"""The tracker that a user adds to a training loop."""

from __future__ import annotations

import atexit
import itertools
import math
import os
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from netassay.curvature.critical import CriticalSharpness
from netassay.curvature.forward import Batches, Head, Loss, Weights, lasting
from netassay.curvature.largest_curvature import Sharpness
from netassay.curvature.line_search import MEASURED
from netassay.curvature.model import Blocks
from netassay.curvature.outlook import Forecast, forecast
from netassay.curvature.weighing import NoNumber
from netassay.errors import ConfigError, ModelError, NotFinite
from netassay.numerics import devices
from netassay.runs import Run, State
from netassay.runs.folders import store_folder
from netassay.studies.edge.tracker.alarm import EdgeWarning, TrackerWarning, in_words, optimiser_name
from netassay.studies.edge.tracker.budget import LONGEST_WAIT, Budget
from netassay.studies.edge.tracker.config import TrackerConfig
from netassay.studies.edge.tracker.exact_level import ROOT, ExactLevel, ExactLook
from netassay.studies.edge.tracker.forward_level import PASSES_OF_EXACT, ForwardLevel, numbers, stepping
from netassay.studies.edge.tracker.journal import Journal
from netassay.studies.edge.tracker.module import Silence, decides, inside, together
from netassay.studies.edge.tracker.motion import Motion
from netassay.studies.edge.tracker.motion import motion as motion_of
from netassay.training import Metric

__all__ = ["ROOT", "EdgeWarning", "Level", "MotionOf", "SharpnessTracker", "TrackerWarning"]

Level = Literal["forward", "leading", "layers"]

MotionOf = Callable[[Any, Mapping[str, nn.Parameter]], Motion | str]
"""motion(optimizer, trainable parameters by name) -> Motion, or the reason in words why there is none."""

REMEMBERED_LOOKS = 1000
"""Maximum number of past ratios for a forecast."""
QUIET_STEPS, QUIET_SECONDS = 100, 1.0
"""Maximum number of steps, and seconds of training, between decisions: reading the clock and estimating the cost of a
look takes 50 to 100 microseconds in a training step whose own code fills the caches.
"""
_SERIAL = itertools.count()


def warn_of_edge(tracker: SharpnessTracker) -> None:
    """The warning that replaces `on_edge` where none is given."""
    if tracker.sharpness is None:
        assert tracker.critical is not None
        warnings.warn(
            f"step {tracker.steps}: the learning rate is at {tracker.critical.edge_ratio:.2f} of the critical one "
            "along the next update (above 1 that step raises the loss on the tracked examples): warm up longer or "
            "lower it",
            EdgeWarning,
            stacklevel=3,
        )
        return
    ahead = tracker.forecast()
    advice = "" if ahead is None else f": {ahead.in_words(optimiser_name(tracker.optimizer))}"
    warnings.warn(
        f"step {tracker.measured_at}: the sharpness {float(tracker.sharpness.values[0]):.4g} is at "
        f"{tracker.edge_ratio:.2f} of the edge of stability (1: the loss may rise, and above it training oscillates or "
        f"diverges){advice}",
        EdgeWarning,
        stacklevel=3,
    )


class SharpnessTracker:
    """Follows the sharpness of a network, in total and layer by layer, while your own loop trains it.

    Make one before the loop, call `step()` once in each training step, `close()` after it (or use `with`, or leave it
    to the end of the process).

    It looks when it can afford to: time spent here stays at or below `budget` times the time spent elsewhere, except
    for the first look, which comes at once and is paid off before the next. Each look measures the
    entire network, then layers in turn as far as the budget goes. When the ratio reaches `warn_at` for the first time,
    `on_edge` is called; its exceptions reach the loop. Numbers go to a run in `store`, under `name`, and onto the page
    of `netassay report`.

    With a `level` it also looks along the optimiser's next update, by forward passes alone (`critical`), just before
    the optimiser steps: torch's optimisers announce this, others need `before_step()` between `backward()` and
    `step()`. The level is an upper limit: exact looks, including the first, come when the budget allows, and looks
    along the update take a fifth of it; if exact ones fail, these continue.

    The network, its gradients, the optimiser and all random states are left unchanged. For a network in
    DistributedDataParallel the first process looks, at its own `batches`, and writes the run; in the others `run` is
    None and `step` does nothing. With processes="all", and for a network sharded by `fully_shard`, all look together,
    each at its own list of batches, when the first one's budget allows, and it writes the run.

    Once made, it never ends a training: a failure in a look or in the store is a warning, once for each kind, and an
    event of the run. After a failed look, and when the trainable parameters have changed, tracking starts afresh;
    consecutive failures make looks rarer and rarer.

    Args:
        model: Any module.
        loss: Loss, as for `sharpness`.
        batches: A fixed set of examples that can be iterated repeatedly, all training data or some of it.
        optimizer: The loop's own optimiser, or its step size as a number; it gives the edge ratio, 1 at the edge of
            stability. None: no ratio.
        store: Folder that holds the runs.
        name: Name under which the run is listed.
        level: "forward": critical sharpness along the next update; "leading": also the exact sharpness of the entire
            network; "layers": also that of each layer. None: exact ones only, of layers if there are `blocks`.
        budget: CPU time spent here over CPU time spent elsewhere in this process (0.2: at most 20 % of training time).
        every: Number of steps between looks instead, each at the entire network and all layers whatever the cost.
        blocks: None, "layer", or block name -> parameter names.
        weights: Number of terms of each batch, as for `sharpness`.
        head: The output that enters the loss, as for `sharpness`.
        memory: Bytes for gradient graphs, as for `sharpness`.
        tolerance: Relative tolerance of each value (0 to 1); its estimated error is recorded beside it.
        mode: "eval" looks with dropout off and batch norm by its running statistics, "as_is" leaves the mode.
        motion: For an optimiser whose edge is unknown here: a `Motion`, or a function of the optimiser and the
            trainable parameters by name that returns one (or the reason in words why there is none).
        processes: "first", or "all": looks are at the batches of all processes that train replicas.
        warn_at: Ratio at which `on_edge` is called.
        on_edge: Called with the tracker; by default a Python warning (EdgeWarning).
        clock: Measures time in seconds; by default CPU time of this process, which other programs do not disturb.

    Raises:
        ConfigError: For invalid arguments.
        ModelError: For a module or loss without well-defined curvature.
        StoreError: For a store that cannot be written.

    Source:
        Cohen et al. (2021); Fox (2023); Kalra et al. (2026) for the critical sharpness.

    Example:
        >>> import torch, netassay
        >>> model = torch.nn.Linear(3, 1)
        >>> x, y = torch.randn(20, 3), torch.randn(20, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        >>> with netassay.SharpnessTracker(model, torch.nn.functional.mse_loss, [(x, y)], optimizer) as tracker:
        ...     _ = tracker.step()
        >>> tracker.run.study
        'edge-tracker'
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        batches: Batches,
        optimizer: Any = None,
        *,
        store: Path | str = "runs",
        name: str = "",
        level: Level | None = None,
        budget: float = 0.2,
        every: int | None = None,
        blocks: Literal["layer"] | Blocks | None = "layer",
        tolerance: float = 1e-2,
        mode: Literal["eval", "as_is"] = "eval",
        weights: Weights | None = None,
        head: Head | None = None,
        memory: float | int | None = None,
        motion: Any = None,
        processes: Literal["first", "all"] = "first",
        warn_at: float = 0.9,
        on_edge: Callable[[SharpnessTracker], None] | None = None,
        clock: Callable[[], float] = time.process_time,
    ) -> None:
        if mode not in ("eval", "as_is"):
            raise ConfigError(f'mode={mode!r}: allowed are "eval" and "as_is"')
        if level not in (None, "forward", "leading", "layers"):
            raise ConfigError(f'level={level!r}: allowed are "forward", "leading", "layers" and None')
        if level is not None and optimizer is None:
            raise ConfigError(
                f"level={level!r} looks along the optimiser's next update; give the optimiser, or its step size"
            )
        if isinstance(optimizer, int | float) and not (optimizer > 0 and math.isfinite(optimizer)):
            raise ConfigError(f"optimizer={optimizer}: a step size is a finite number above 0")
        if not (motion is None or isinstance(motion, Motion) or callable(motion)):
            raise ConfigError(f"motion is a {type(motion).__name__}; give a Motion or a function that returns one")
        if memory is not None and not memory >= 0:
            raise ConfigError(f"memory={memory!r}: a number of bytes for gradient graphs, from 0 on")
        if not isinstance(model, nn.Module):
            raise ModelError(f"the model is a {type(model).__name__}; give a torch.nn.Module")
        self.budget = Budget(budget, clock)
        with self.budget.spending():
            self.model, self.loss, self.batches = inside(model), loss, batches
            self.optimizer = stepping(optimizer)
            self.mode, self.warn_at, self.every, self.motion = mode, warn_at, every, motion
            self.tolerance, self.level = tolerance, level
            self.weights, self.head, self.memory = lasting(weights), head, memory
            self.on_edge = on_edge or warn_of_edge
            self.steps = 0
            self.sharpness: Sharpness | None = None
            self.critical: CriticalSharpness | None = None
            self.edge_ratio: float | None = None
            self.edge_unknown = ""
            self.measured_at: int | None = None
            self.run: Run | None = None
            self._journal = Journal(None, Silence())
            self._processes = together(model, processes)
            self._exact = ExactLevel(
                self.model,
                loss,
                self.budget,
                self._motion,
                self._journal,
                blocks=None if level in ("forward", "leading") else blocks,
                every=every,
                tolerance=tolerance,
                mode=mode,
                weights=self.weights,
                head=head,
                memory=memory,
                processes=self._processes,
            )
            self._forward: ForwardLevel | None = None
            if level is not None:
                self._forward = ForwardLevel(
                    self.model, loss, batches, optimizer, head, self.budget, level == "forward", self._processes
                )
            self._ratios: deque[tuple[int, float, float]] = deque(maxlen=REMEMBERED_LOOKS)  # step, ratio, rate
            self._due: tuple[int, bool] | None = None  # a step, and whether its exact look is due
            self._along: dict[Metric, float] = {}  # measured before the step
            self._failures, self._failed_looks, self._not_before = 0, 0, 0
            self._forward_at = -1
            self._failure: Exception | None = None
            self._warned, self._ended = False, False
            self._quiet, self._asked = 0, (0, 0.0)  # at the last decision: the step, and seconds of training
            self._uncounted, self._calibrated = 0, False  # steps without a decision, whose cost no clock shows
            config = TrackerConfig(
                name=name,
                model=type(self.model).__name__,
                parameters=sum(p.numel() for p in self.model.parameters() if p.requires_grad and not is_lazy(p)),
                optimiser=optimiser_name(self.optimizer),
                layers=self._exact.has_layers,
                level=level or "",
                budget=float(budget),
                every=every,
                tolerance=tolerance,
                mode=mode,
                began=f"{datetime.now(UTC).isoformat()} {os.getpid()} {next(_SERIAL)}",
            )
            if self._processes is None and not decides(model):
                self._ended = True
                return
            if self._processes is None or self._processes.rank == 0:
                self.run = Run.create(
                    store_folder(store), study=config.study, config=config.mapping(), digest=config.digest
                )
                self._journal.open(self.run, self.run.writer(devices.environment()))
        # closing the run costs about as much as opening it
        self.budget.reserved = self.budget.spent
        if self._forward is not None:
            self._forward.before_every_step(self)
        atexit.register(self._close_at_exit)

    @property
    def blocks(self) -> Mapping[str, Sequence[str]]:
        """The layers by name, once the first look was taken."""
        return self._exact.blocks

    @property
    def share(self) -> float:
        """Time spent here over time spent training, so far."""
        return self.budget.used

    @property
    def is_quiet(self) -> bool:
        """Whether the present step is known to be none of a look."""
        return self._quiet > 0 and (self.every is None or self.steps % self.every != 0)

    def step(self, loss: Tensor | float | None = None) -> Sharpness | None:
        """Counts one training step and looks if the budget allows; the sharpness if it was measured now, else None.

        `loss` is the loop's own loss at this step, recorded if given. The blocks of the result are those measured now.
        """
        if self._quiet > 0 and (self.every is None or self.steps % self.every):
            if loss is not None:
                self._journal.keep_loss(self.steps, loss)
            self._quiet -= 1
            self.steps += 1
            return None
        if self._ended:
            return None
        sharpness = self._decide(loss)
        if (
            sharpness is not None
            and self.run is not None
            and not self._warned
            and (self.edge_ratio or 0.0) >= self.warn_at
        ):
            self._warned = True
            self.on_edge(self)
        return sharpness

    def _decide(self, loss: Tensor | float | None) -> Sharpness | None:
        """A step that may be one of a look."""
        with self.budget.spending():
            self._journal.step = self.steps
            self.budget.spent_unseen(self._uncounted)
            if loss is not None:
                if not self._calibrated:
                    self._calibrated = True
                    scratch = Journal(None, Silence())
                    self.budget.calibrate(lambda: scratch.keep_loss(0, loss))
                self._journal.keep_loss(self.steps, loss)
            look: ExactLook | None = None
            planned = self._due is not None and self._due[0] == self.steps
            if self._due[1] if planned and self._due is not None else self._agreement(self._is_due()):
                try:
                    look = self._exact.look(self.batches)  # the loop may have given others
                    self._took(look)
                    self._failures = 0
                except Exception as cause:
                    self._look_failed(cause)
            values = self._along | ({} if look is None else look.metrics)
            if "tracked_loss" in values and math.isfinite(self.share):
                values["share"] = self.share
            self._journal.record(values)
            self._along = {}
            self.steps += 1
            self._quiet = self._uncounted = self._quiet_steps()
        return None if look is None else look.sharpness

    def before_step(self) -> CriticalSharpness | None:
        """Looks along the optimiser's next update if the level asks for it and the budget allows; else None.

        Call it between `backward()` and the optimiser's step, unless the optimiser does so itself: if it is not one of
        torch's, or computes its gradients within its step. Gradients must be those of the step: accumulated, unscaled
        and clipped. A second call before `step()` does nothing.
        """
        if self._ended or self._forward is None or self._forward_at == self.steps or self.is_quiet:
            return None
        self._forward_at = self._journal.step = self.steps
        critical = None
        with self.budget.spending():
            # the first look along the update gives the cost of an exact one
            cost_known = self.every is not None or self._forward.seconds_a_pass is not None
            exact = self._agreement(cost_known and self._is_due())
            if self._agreement(self._forward.is_due(self.steps, self.every, exact)):
                critical = self._look_along(self._forward)
            first = critical is not None or self._forward.failures > 0
            self._due = self.steps, self._agreement(exact or (first and self._is_due()))
        if critical is not None and self.run is not None and self.level == "forward" and not self._warned:
            self._warned = critical.edge_ratio >= self.warn_at
            if self._warned:
                self.on_edge(self)
        return critical

    def forecast(self, horizon: int = 100) -> Forecast | None:
        """When the edge will be reached at the present step size, and what is stable now and for the next `horizon`
        steps, from the looks so far; None while the edge is unknown.
        """
        if not self._ratios:
            return None
        steps, ratios, rates = zip(*self._ratios, strict=True)
        return forecast(steps, ratios, rate=rates, horizon=horizon)

    def close(self) -> None:
        """Ends the run as finished, diverged if the last look met non-finite numbers, or failed if no look succeeded; a
        second call does nothing.
        """
        if self._ended:
            return
        with self.budget.spending():
            self.budget.spent_unseen(self._uncounted - self._quiet)
            failing = self._forward is not None and self._forward.failures > 0
            failed = f"{self._failed_looks} looks failed, the last with: {self._failure}" if self._failed_looks else ""
            if failed and self.sharpness is None and self.critical is None:
                self._finish(State.FAILED, f"sharpness was never measured: {failed}")
            elif (self._failures or failing) and isinstance(self._failure, NotFinite | NoNumber):
                self._finish(State.DIVERGED, str(self._failure))
            else:
                took = f"tracking took {self.share:.1%} of the training time"
                self._finish(State.FINISHED, f"{took}; {failed}" if failed else took)

    def __enter__(self) -> SharpnessTracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        elif not self._ended:
            self._finish(State.INTERRUPTED, f"the training ended with {type(error).__name__}: {error}")

    def _agreement(self, decision: bool) -> bool:
        """The decision of the first process, if several look together."""
        return decision if self._processes is None else self._processes.agreed(decision)

    def _is_due(self) -> bool:
        if self.steps < self._not_before or self.level == "forward":
            return False
        if self.every is not None:
            return self.steps % self.every == 0
        pace = None if self._forward is None else self._forward.seconds_a_pass
        if pace is not None and self.sharpness is None:
            return self.budget.affords(PASSES_OF_EXACT * pace)
        return self.budget.affords_a_look(self._exact.next_layers())

    def _look_along(self, forward: ForwardLevel) -> CriticalSharpness | None:
        try:
            critical = forward.measure(self.mode, self._exact.weights)
        except Exception as cause:
            # the next look starts afresh, and comes later the more have failed
            self._failure = cause
            self._failed_looks += 1
            forward.failed(self.steps)
            self._journal.warn("the critical sharpness was not measured", cause)
            if forward.failures == 1:
                self._journal.note("look along the update failed", in_words(cause), again=True)
            return None
        if self._exact.weights is None:
            self._exact.weights = forward.weights
        self.critical, self._along = critical, numbers(critical)
        if critical.status != MEASURED:
            self._journal.note("along the update", critical.status)
        return critical

    def _quiet_steps(self) -> int:
        """Number of next steps without a decision: half of those until a look, at the pace since the last decision."""
        (step, trained), self._asked = self._asked, (self.steps, self.budget.trained)
        if self.every is not None:
            return QUIET_STEPS
        took = (self.budget.trained - trained) / max(1, self.steps - step)
        steps = int(min(QUIET_STEPS, QUIET_SECONDS / took, self._seconds_away() / 2 / took)) if took > 0 else 0
        # one decides for all, as their clocks differ
        return steps if self._processes is None else int(self._processes.gathered(steps)[0])

    def _seconds_away(self) -> float:
        """Seconds of training until the budget allows a look, if nothing else is spent; 0 if it does already."""
        along = math.inf if self._forward is None else self._forward.seconds_away()
        if self.level == "forward":
            return along
        pace = None if self._forward is None else self._forward.seconds_a_pass
        if pace is not None and self.sharpness is None:
            return min(along, self.budget.seconds_before(PASSES_OF_EXACT * pace))
        return min(along, self.budget.seconds_before_a_look(self._exact.next_layers()))

    def _took(self, look: ExactLook) -> None:
        """Keeps what others ask for of a look."""
        self.sharpness, self.measured_at = look.sharpness, self.steps
        if look.is_first:
            self._ratios.clear()
        if not isinstance(look.motion, Motion):
            self.edge_ratio, self.edge_unknown = None, look.motion
            self._journal.note("edge", f"unknown: {look.motion}")
            return
        ratio = look.metrics[("edge_ratio", "")]
        self.edge_ratio, self.edge_unknown = ratio, ""
        if self._ratios and self.steps <= self._ratios[-1][0]:
            self._ratios.clear()  # the loop went back
        if math.isfinite(ratio):
            self._ratios.append((self.steps, ratio, look.motion.step_size))
        self._journal.note("edge", look.motion.remark)

    def _motion(self, parameters: Mapping[str, nn.Parameter]) -> Motion | str:
        if isinstance(self.motion, Motion):
            return self.motion
        if self.motion is None and isinstance(self.optimizer, int | float):
            return Motion(float(self.optimizer), 2.0)
        if self.motion is None and self.optimizer is None:
            return "no optimiser was given"
        try:
            now = (self.motion or motion_of)(self.optimizer, parameters)
        except Exception as cause:
            self._journal.warn("the edge is not known", cause)
            now = in_words(cause)
        return now if isinstance(now, Motion | str) else f"motion returned a {type(now).__name__}, not a Motion"

    def _look_failed(self, cause: Exception) -> None:
        """Tracking starts afresh at the next look, which comes later the more have failed."""
        self._failure = cause
        self._failed_looks += 1
        self._exact.begin_anew({})
        self._ratios.clear()
        self.edge_ratio = None
        self._not_before = self.steps + 2 ** min(self._failures, LONGEST_WAIT)
        self._failures += 1
        self._journal.warn("the sharpness was not measured", cause)
        if self._failures == 1:
            self._journal.note("look failed", in_words(cause), again=True)

    def _finish(self, state: State, message: str) -> None:
        self._ended, self._quiet, self._journal.step = True, 0, self.steps
        if self._forward is not None:
            self._forward.leave()
        atexit.unregister(self._close_at_exit)
        self._journal.finish(state, message)

    def _close_at_exit(self) -> None:
        # an error that reached the top has been reported by now, and is found here
        error = getattr(sys, "last_value", None)
        self.__exit__(None if error is None else type(error), error, None)
