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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from netassay.curvature.blocks import Blocks, resolve_blocks, trainable_parameters
from netassay.curvature.combined import Part, Preconditioned
from netassay.curvature.critical import CriticalSharpness
from netassay.curvature.curvature import Curvature
from netassay.curvature.eigen import Eigenpairs
from netassay.curvature.following import Follower
from netassay.curvature.forward import Batches, Head, Loss, Weights
from netassay.curvature.largest_curvature import Sharpness
from netassay.curvature.line_search import MEASURED
from netassay.curvature.outlook import Forecast, forecast
from netassay.curvature.processes import Summed, in_all
from netassay.curvature.shards import in_one_piece, is_sharded
from netassay.curvature.weighing import NoNumber
from netassay.curvature.weights import lasting
from netassay.errors import ConfigError, ModelError, NetassayError, NotFinite
from netassay.numerics import devices
from netassay.runs import Run, State
from netassay.runs.folders import store_folder
from netassay.studies.edge import quantities
from netassay.studies.edge.tracker.budget import SEARCH_EVERY, Budget
from netassay.studies.edge.tracker.config import TrackerConfig
from netassay.studies.edge.tracker.forward_level import (
    PART,
    PASSES_OF_EXACT,
    SHARE,
    ForwardLevel,
    numbers,
    stepping,
)
from netassay.studies.edge.tracker.module import (
    Silence,
    decides,
    inside,
    left_as_it_was,
    require_alone,
    together,
)
from netassay.studies.edge.tracker.motion import Motion
from netassay.studies.edge.tracker.motion import motion as motion_of
from netassay.training import Checkpoint, Metric

Level = Literal["forward", "leading", "layers"]

MotionOf = Callable[[Any, Mapping[str, nn.Parameter]], Motion | str]
"""motion(optimizer, trainable parameters by name) -> Motion, or the reason in words why there is none."""

FIRST_PRODUCTS = 14
"""Products of the first look, of about two gradients each: half of them for each matrix of an adaptive method. Errors
are stated, and later looks continue from there.
"""

ROOT = "(root)"
"""Name of the block of the module's own parameters, elsewhere the empty string."""

LONGEST_WAIT = 10
"""Consecutive failed looks wait 1, 2, 4, ... steps, up to two to this power."""

COMMIT_SECONDS = 30.0

REMEMBERED_LOOKS = 1000
"""Maximum number of past ratios for a forecast."""
QUIET_STEPS, QUIET_SECONDS = 100, 1.0
"""Maximum number of steps, and seconds of training, between decisions: reading the clock and estimating the cost of a
look takes 50 to 100 microseconds in a training step whose own code fills the caches.
"""
_SERIAL = itertools.count()


class EdgeWarning(UserWarning):
    """A tracked training is close to its edge of stability.

    Example:
        >>> import warnings, netassay
        >>> warnings.simplefilter("error", netassay.EdgeWarning)
    """


class TrackerWarning(UserWarning):
    """Part of the tracking failed; the training goes on.

    Example:
        >>> import warnings, netassay
        >>> warnings.simplefilter("error", netassay.TrackerWarning)
    """


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
            self.tolerance = tolerance
            self.weights, self.head, self.memory = lasting(weights), head, memory
            self._weights: Weights | None = None
            self.on_edge = on_edge or _warn
            self.steps = 0
            self.level = level
            self.sharpness: Sharpness | None = None
            self.critical: CriticalSharpness | None = None
            self.edge_ratio: float | None = None
            self.edge_unknown = ""
            self.measured_at: int | None = None
            self._blocks = _within(self.model, None if level in ("forward", "leading") else blocks)
            self._due: tuple[int, bool] | None = None  # a step, and whether its exact look is due
            self._along: dict[Metric, float] = {}  # measured before the step
            self._forward: ForwardLevel | None = None
            self._processes = together(model, processes)
            if level is not None:
                self._forward = ForwardLevel(self.model, loss, batches, optimizer, head, self._processes)
            Follower(tolerance=tolerance)  # refuses an invalid tolerance
            self.blocks: Mapping[str, Sequence[str]] = {}
            self._now: Motion | None = None
            self._turns: dict[str, int] = {}  # when each layer was last measured, -1 for never
            self._begin_anew({})
            self._failures, self._failed_looks, self._not_before = 0, 0, 0
            self._forward_failures, self._forward_not_before, self._forward_at = 0, 0, -1
            self._failure: Exception | None = None
            self._noted: set[object] = set()
            self._warned, self._ended = False, False
            self._losses: list[tuple[int, Tensor | float]] = []
            self._quiet, self._asked = 0, (0, 0.0)  # at the last decision: the step, and seconds of training
            self.run: Run | None = None
            config = TrackerConfig(
                name=name,
                model=type(self.model).__name__,
                parameters=sum(p.numel() for p in self.model.parameters() if p.requires_grad and not is_lazy(p)),
                optimiser=_optimiser_name(self.optimizer),
                layers=self._blocks is not None and self._blocks != {},
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
            self._writer: Any = Silence()
            if self._processes is None or self._processes.rank == 0:
                self.run = Run.create(
                    store_folder(store), study=config.study, config=config.mapping(), digest=config.digest
                )
                self._writer = self.run.writer(devices.environment())
            self._committed = time.monotonic()
        # closing the run costs about as much as opening it
        self.budget.reserved = self.budget.spent
        if self._forward is not None:
            self._forward.before_every_step(self.before_step)
        atexit.register(self._close_at_exit)

    @property
    def share(self) -> float:
        """Time spent here over time spent training, so far."""
        return self.budget.used

    def step(self, loss: Tensor | float | None = None) -> Sharpness | None:
        """Counts one training step and looks if the budget allows; the sharpness if it was measured now, else None.

        `loss` is the loop's own loss at this step, recorded if given. The blocks of the result are those measured now.
        """
        if self._ended:
            return None
        if loss is not None:
            # a copy, since the loop may overwrite its own; it is converted to a number later, at the next look
            self._losses.append((self.steps, loss.detach().clone() if isinstance(loss, Tensor) else loss))
        if self._quiet > 0 and (self.every is None or self.steps % self.every):
            self._quiet -= 1
            self.steps += 1
            return None
        with self.budget.spending():
            values: dict[Metric, float] = {}
            sharpness = None
            planned = self._due is not None and self._due[0] == self.steps
            if self._due[1] if planned and self._due is not None else self._agreement(self._is_due()):
                try:
                    sharpness, metrics = self._look()
                    values |= metrics
                    self._failures = 0
                except Exception as cause:
                    self._look_failed(cause)
            self._keep(self._along | values)
            self._along = {}
            self.steps += 1
            self._quiet = self._quiet_steps()
        if (
            sharpness is not None
            and self.run is not None
            and not self._warned
            and (self.edge_ratio or 0.0) >= self.warn_at
        ):
            self._warned = True
            self.on_edge(self)
        return sharpness

    def before_step(self) -> CriticalSharpness | None:
        """Looks along the optimiser's next update if the level asks for it and the budget allows; else None.

        Call it between `backward()` and the optimiser's step, unless the optimiser does so itself: if it is not one of
        torch's, or computes its gradients within its step. Gradients must be those of the step: accumulated, unscaled
        and clipped. A second call before `step()` does nothing.
        """
        if self._ended or self._forward is None or self._forward_at == self.steps:
            return None
        if self.every is not None and self.steps % self.every:
            return None
        self._forward_at = self.steps
        critical = None
        with self.budget.spending():
            # the first look along the update gives the cost of an exact one
            cost_known = self.every is not None or self._forward.seconds_a_pass is not None
            exact = self._agreement(cost_known and self._is_due())
            if self._agreement(self._forward_is_due(exact)):
                try:
                    critical = self._look_along(self._forward)
                    self._forward_failures = 0
                except Exception as cause:
                    self._forward_failed(cause)
            first = critical is not None or self._forward_failures > 0
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
            failed = f"{self._failed_looks} looks failed, the last with: {self._failure}" if self._failed_looks else ""
            if failed and self.sharpness is None and self.critical is None:
                self._finish(State.FAILED, f"sharpness was never measured: {failed}")
            elif (self._failures or self._forward_failures) and isinstance(self._failure, NotFinite | NoNumber):
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
        return self.budget.affords_a_look(self._next_layers())

    def _forward_is_due(self, exact: bool) -> bool:
        """Whether to look along the update: always before an `exact` look, so that the two can be compared."""
        assert self._forward is not None
        if self.steps < self._forward_not_before or self._forward.stands_still:
            return False
        if self.every is not None:
            return self.steps % self.every == 0
        cost = self.budget.expected(PART)
        if exact or self._forward.seconds_a_pass is None:
            return True
        share = 1.0 if self.level == "forward" else SHARE
        return self.budget.affords(cost) and (
            self._forward.spent + cost <= share * self.budget.share * self.budget.trained
        )

    def _look_along(self, forward: ForwardLevel) -> CriticalSharpness:
        begin = self.budget.clock()
        with self.budget.looking(PART), left_as_it_was(self.model, self.mode):
            critical = forward.look(self._weights)
        self._weights = forward.weights if self._weights is None else self._weights
        forward.took(self.budget.clock() - begin, critical.passes)
        self.critical, self._along = critical, numbers(critical)
        if critical.status != MEASURED:
            self._note("along the update", critical.status)
        return critical

    def _forward_failed(self, cause: Exception) -> None:
        """The next look starts afresh, and comes later the more have failed."""
        assert self._forward is not None
        self._forward.begin_anew()
        self._failure = cause
        self._failed_looks += 1
        self._forward_not_before = self.steps + 2 ** min(self._forward_failures, LONGEST_WAIT)
        self._forward_failures += 1
        self._tell("the critical sharpness was not measured", cause)
        if self._forward_failures == 1:
            self._note("look along the update failed", _in_words(cause), again=True)

    def _quiet_steps(self) -> int:
        """Number of next steps without a decision: half of those until a look, at the pace since the last decision."""
        (step, trained), self._asked = self._asked, (self.steps, self.budget.trained)
        if self.every is not None:
            return QUIET_STEPS
        if self._forward is not None or self._processes is not None:
            return 0
        took = (self.budget.trained - trained) / max(1, self.steps - step)
        if took <= 0:
            return 0
        away = self.budget.seconds_before_a_look(self._next_layers())
        return int(min(QUIET_STEPS, QUIET_SECONDS / took, away / 2 / took))

    def _next_layers(self) -> list[str]:
        """Layers of the next look: together at most as expensive as the whole network, at least one."""
        planned: list[str] = []
        cost = 0.0
        for name in self._in_turn():
            cost += self.budget.expected(name)
            if planned and cost > self.budget.expected():
                break
            planned.append(name)
        return planned

    def _in_turn(self) -> list[str]:
        """Layers, the one measured longest ago first."""
        return sorted(self._turns, key=self._turns.__getitem__)

    def _look(self) -> tuple[Sharpness, dict[Metric, float]]:
        with ExitStack() as stack:
            with self.budget.looking():
                curvature, parameters = self._enter(stack)
                now = self._motion(parameters)
                self._now = now if isinstance(now, Motion) else None
                network = self._follow("", curvature)
                scaled, preconditioned = None, None
                if isinstance(now, Motion) and now.preconditioner is not None:
                    try:
                        preconditioned = Preconditioned(curvature, now.preconditioner)
                        scaled = self._follow("", preconditioned)
                    except ModelError as cause:
                        now = f"the preconditioner cannot be used: {cause}"
            layers, scaled_layers = {}, {}
            for name in self._in_turn():
                if self.every is None and not self._agreement(self.budget.affords(self.budget.expected(name))):
                    break
                self._turns[name] = next(self._turn)
                with self.budget.looking(name), self._going_on("a layer was not measured"):
                    pairs = self._follow(name, curvature)
                    if scaled is not None and preconditioned is not None:
                        scaled_layers[name] = self._follow(name, preconditioned)
                    layers[name] = pairs
            norm = float(torch.linalg.vector_norm(curvature.gradient.double()))
            sharpness = Sharpness.of(network, layers, curvature.loss)
            adaptive = None if scaled is None else Sharpness.of(scaled, scaled_layers, curvature.loss)
        return sharpness, self._values(sharpness, adaptive, now, norm, parameters)

    def _enter(self, stack: ExitStack) -> tuple[Curvature | Summed, dict[str, nn.Parameter]]:
        """The curvature at the present weights, until the stack is left."""
        parameters = trainable_parameters(self.model)
        form = {name: (p.shape, p.dtype, p.device) for name, p in parameters.items()}
        if form != self._form:
            self._begin_anew(form)
        # among the numbers "" is the whole network
        self.blocks = {name or ROOT: members for name, members in resolve_blocks(self.model, self._blocks).items()}
        self._turns = {name: self._turns.get(name, -1) for name in self.blocks}
        stack.enter_context(left_as_it_was(self.model, self.mode))
        require_alone(self.model)
        if is_sharded(self.model):
            stack.enter_context(in_one_piece(self.model))

        def build() -> Curvature:
            return Curvature(
                self.model,
                self.loss,
                self.batches,
                blocks=self.blocks or None,
                weights=self._weights,
                head=self.head,
                memory=self.memory,
            )

        own = stack.enter_context(build() if self._processes is None else in_all(self._processes, build))
        self._weights = own.weights
        return own if self._processes is None else Summed(own, self._processes), parameters

    def _begin_anew(self, form: Mapping[str, object]) -> None:
        self._form = form  # shape, dtype and device of each trainable parameter
        self.blocks = {}
        self._turn, self._turns = itertools.count(), {}
        self._now = None
        self._ratios: deque[tuple[int, float, float]] = deque(maxlen=REMEMBERED_LOOKS)  # step, ratio, rate
        self._weights = self.weights  # or, after the first look, the weights of the batches
        self._followers: dict[tuple[type, str], Follower] = {}

    def _follow(self, part: str, curvature: Curvature | Summed | Preconditioned) -> Eigenpairs:
        """The eigenpairs of a block, or of the network for "", with its own follower."""
        key = type(curvature), part
        if key not in self._followers:
            self._followers[key] = Follower(
                tolerance=self.tolerance, probe_every=SEARCH_EVERY, search_products=self._search_products()
            )
        return _pairs(self._followers[key].follow(Part(curvature, part)))

    def _search_products(self) -> int | None:
        """Maximum number of products for a new matrix; None if the budget does not matter."""
        if self.every is not None or self.budget.share >= 1:
            return None
        return FIRST_PRODUCTS // (1 if self._now is None or self._now.preconditioner is None else 2)

    def _values(
        self,
        sharpness: Sharpness,
        scaled: Sharpness | None,
        now: Motion | str,
        norm: float,
        parameters: Mapping[str, nn.Parameter],
    ) -> dict[Metric, float]:
        def ratio(value: float) -> float:
            return now.edge_ratio(value, norm) if isinstance(now, Motion) else math.nan

        values = quantities.curvature(sharpness, ratio, parameters, self.blocks)
        if scaled is not None:
            values |= quantities.preconditioned(scaled, ratio)
        values["tracked_loss"] = sharpness.loss
        self.sharpness, self.measured_at = sharpness, self.steps
        if isinstance(now, Motion):
            self.edge_ratio, self.edge_unknown = values[("edge_ratio", "")], ""
            if self._ratios and self.steps <= self._ratios[-1][0]:
                self._ratios.clear()  # the loop went back
            if math.isfinite(self.edge_ratio):
                self._ratios.append((self.steps, self.edge_ratio, now.step_size))
            self._note("edge", now.remark)
            return values | {"step_size": now.step_size, "threshold": now.edge(norm)}
        self.edge_ratio, self.edge_unknown = None, now
        self._note("edge", f"unknown: {now}")
        return {key: value for key, value in values.items() if key[0] != "edge_ratio"}

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
            self._tell("the edge is not known", cause)
            now = _in_words(cause)
        return now if isinstance(now, Motion | str) else f"motion returned a {type(now).__name__}, not a Motion"

    def _look_failed(self, cause: Exception) -> None:
        """Tracking starts afresh at the next look, which comes later the more have failed."""
        self._failure = cause
        self._failed_looks += 1
        self._begin_anew({})
        self.edge_ratio = None
        self._not_before = self.steps + 2 ** min(self._failures, LONGEST_WAIT)
        self._failures += 1
        self._tell("the sharpness was not measured", cause)
        if self._failures == 1:
            self._note("look failed", _in_words(cause), again=True)

    def _keep_losses(self) -> None:
        losses, self._losses = self._losses, []
        for step, loss in losses:
            value = None
            with self._going_on("the loss was not kept"):
                value = float(loss)
            with self._going_on(self._write_failure):
                if value is not None:
                    self._writer.record(step, {"loss": value})

    def _keep(self, values: dict[Metric, float]) -> None:
        self._keep_losses()
        with self._going_on(self._write_failure):
            if "tracked_loss" in values and math.isfinite(self.share):
                values["share"] = self.share
            if values:
                self._writer.record(self.steps, values)
            if time.monotonic() - self._committed >= COMMIT_SECONDS:
                # what cannot be written now is kept for the next commit
                self._committed = time.monotonic()
                self._writer.commit(Checkpoint(self.steps + 1, {}, {}))

    def _note(self, kind: str, text: str, *, again: bool = False) -> None:
        """An event of the run, each text once."""
        if text and (again or text not in self._noted):
            self._noted.add(text)
            with self._going_on(f"an event could not be written to {self._folder}"):
                self._writer.note(self.steps, kind, text)

    def _finish(self, state: State, message: str) -> None:
        self._keep_losses()
        self._ended = True
        if self._forward is not None:
            self._forward.leave()
        atexit.unregister(self._close_at_exit)
        with self._going_on(f"the run could not be ended in {self._folder}"):
            try:
                self._writer.finish(state, step=self.steps, message=message)
            finally:
                self._writer.close()

    @property
    def _write_failure(self) -> str:
        return f"the numbers could not be written to {self._folder}"

    @property
    def _folder(self) -> str:
        return "" if self.run is None else str(self.run.folder)

    @contextmanager
    def _going_on(self, failing: str) -> Iterator[None]:
        """An error inside becomes a warning, and the training goes on."""
        try:
            yield
        except Exception as cause:
            self._tell(failing, cause)

    def _tell(self, failure: str, cause: Exception) -> None:
        """A warning, once for each kind of failure."""
        kind = failure, type(cause)
        if kind not in self._noted:
            self._noted.add(kind)
            warnings.warn(
                f"step {self.steps}: {failure}: {_in_words(cause)}; the training goes on",
                TrackerWarning,
                stacklevel=4,
            )

    def _close_at_exit(self) -> None:
        # an error that reached the top has been reported by now, and is found here
        error = getattr(sys, "last_value", None)
        self.__exit__(None if error is None else type(error), error, None)


def _pairs(sharpness: Sharpness) -> Eigenpairs:
    return Eigenpairs(sharpness.values, sharpness.vectors, sharpness.residuals, sharpness.errors, sharpness.products)


def _within(model: nn.Module, blocks: Literal["layer"] | Blocks | None) -> Literal["layer"] | Blocks | None:
    """Blocks by the names of the inner module, checked if the module can be tracked as it is."""
    if isinstance(blocks, Mapping):
        parameters = dict(model.named_parameters())
        blocks = {
            str(name): [
                member.removeprefix("module.") if isinstance(member, str) and member not in parameters else member
                for member in members
            ]
            if not isinstance(members, str)
            else members
            for name, members in blocks.items()
        }
    elif blocks == "layer":
        return "layer"
    try:
        trainable_parameters(model)
    except ModelError:
        return blocks
    resolve_blocks(model, blocks)
    return blocks


def _in_words(cause: Exception) -> str:
    return str(cause) if isinstance(cause, NetassayError) else f"{type(cause).__name__}: {cause}"


def _warn(tracker: SharpnessTracker) -> None:
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
    advice = "" if ahead is None else f": {ahead.in_words(_optimiser_name(tracker.optimizer))}"
    warnings.warn(
        f"step {tracker.measured_at}: the sharpness {float(tracker.sharpness.values[0]):.4g} is at "
        f"{tracker.edge_ratio:.2f} of the edge of stability (1: the loss may rise, and above it training oscillates or "
        f"diverges){advice}",
        EdgeWarning,
        stacklevel=3,
    )


def _optimiser_name(optimizer: Any) -> str:
    if optimizer is None:
        return "not given"
    return f"step size {optimizer:g}" if isinstance(optimizer, int | float) else type(optimizer).__name__
