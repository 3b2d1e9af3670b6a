"""The tracker that a user adds to a training loop."""

from __future__ import annotations

import atexit
import itertools
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal

import torch
from torch import Tensor, nn

from netassay.curvature.blocks import Blocks, resolve_blocks, trainable_parameters
from netassay.curvature.combined import Preconditioned
from netassay.curvature.curvature import Curvature
from netassay.curvature.following import Follower
from netassay.curvature.forward import Batches, Loss
from netassay.curvature.largest_curvature import Sharpness
from netassay.errors import ConfigError, NetassayError
from netassay.numerics import devices
from netassay.runs import Run, State
from netassay.runs.folders import store_folder
from netassay.studies.edge import quantities
from netassay.studies.edge.tracker.budget import SEARCH_EVERY, Budget
from netassay.studies.edge.tracker.config import TrackerConfig
from netassay.studies.edge.tracker.motion import Motion, motion
from netassay.training import Checkpoint, Metric

COMMIT_SECONDS = 30.0
_SERIAL = itertools.count()


class EdgeWarning(UserWarning):
    """A tracked training is close to its edge of stability."""


class SharpnessTracker:
    """Follows the sharpness of a network, whole and layer by layer, while a loop of the user's own trains it.

    Make one before the loop, call `step()` once a training step, `close()` after it (or use `with`, or leave it to the
    end of the process). `loss(output, target)` and `batches` are those of `netassay.sharpness`: a fixed set of examples
    that can be gone over again, all training data or some of it. `optimizer` is the loop's own, or its step size as a
    number, or None: it gives the edge ratio, 1 at the edge of stability.

    It looks when it can afford to: time spent here stays at or below `budget` times the time spent elsewhere (0.2: at
    most 20 % of training time), but for the first look, which is taken at once and whose debt is paid off before the
    next. When the ratio reaches `warn_at` for the first time, `on_edge(tracker)` is called, by default a Python warning
    (EdgeWarning). Numbers go to a run in `store`, under `name`, and onto the page of `netassay report`.

    `blocks` as for `sharpness`; `tolerance` is the relative error asked of each value, its estimate is kept beside it;
    `mode` "eval" looks with dropout off and batch norm by its running statistics, "as_is" leaves the mode. The network,
    its gradients and all random states are left as they were found. Raises ModelError or DataError at the first step
    for what has no curvature; what fails later ends the tracking with a warning, never the training.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        batches: Batches,
        optimizer: torch.optim.Optimizer | float | None = None,
        *,
        store: Path | str = "runs",
        name: str = "",
        budget: float = 0.2,
        blocks: Literal["layer"] | Blocks | None = "layer",
        tolerance: float = 1e-2,
        mode: Literal["eval", "as_is"] = "eval",
        warn_at: float = 0.9,
        on_edge: Callable[[SharpnessTracker], None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if mode not in ("eval", "as_is"):
            raise ConfigError(f'mode={mode!r}: allowed are "eval" and "as_is"')
        if isinstance(optimizer, int | float) and not (optimizer > 0 and math.isfinite(optimizer)):
            raise ConfigError(f"optimizer={optimizer}: a step size is a finite number above 0")
        self.budget = Budget(budget, clock)
        with self.budget.spending():
            self.model, self.loss, self.batches, self.optimizer = model, loss, batches, optimizer
            self.blocks, self.mode, self.warn_at = resolve_blocks(model, blocks), mode, warn_at
            self.on_edge = on_edge or _warn
            self.steps = 0
            self.sharpness: Sharpness | None = None
            self.edge_ratio: float | None = None
            self.measured_at: int | None = None
            followers = (Follower(tolerance=tolerance, probe_every=SEARCH_EVERY) for _ in range(2))
            self._follower, self._preconditioned = followers
            config = TrackerConfig(
                name=name,
                model=type(model).__name__,
                parameters=sum(p.numel() for p in trainable_parameters(model).values()),
                optimiser=_named(optimizer),
                layers=bool(self.blocks),
                budget=float(budget),
                tolerance=tolerance,
                mode=mode,
                began=f"{datetime.now(UTC).isoformat()} {os.getpid()} {next(_SERIAL)}",
            )
            self.run = Run.create(
                store_folder(store), study=config.study, config=config.mapping(), digest=config.digest
            )
            self._writer = self.run.writer(devices.environment())
            self._warned, self._ended = False, False
            self._committed = time.monotonic()
        # closing the run costs about what opening it did
        self.budget.reserved = self.budget.spent
        atexit.register(self._close_at_exit)

    @property
    def share(self) -> float:
        """Time spent here over time spent training, so far."""
        return self.budget.used

    def step(self, loss: Tensor | float | None = None) -> Sharpness | None:
        """Counts one training step and looks if the budget allows; the sharpness if it was measured now, else None.

        `loss` is the loop's own number for this step, kept if given.
        """
        if self._ended:
            return None
        with self.budget.spending():
            values: dict[Metric, float] = {}
            if loss is not None:
                values["loss"] = float(loss.detach() if isinstance(loss, Tensor) else loss)
            seen = None
            if self.budget.affords_a_look():
                with self.budget.looking(), self._kept_going():
                    seen, found = self._look()
                    values |= found
            if not self._ended:
                self._keep(values)
            self.steps += 1
        if seen is not None and not self._warned and (self.edge_ratio or 0.0) >= self.warn_at:
            self._warned = True
            self.on_edge(self)
        return seen

    def close(self) -> None:
        """Ends the run as finished; a second call does nothing."""
        if not self._ended:
            with self.budget.spending(), self._kept_going():
                self._finish(State.FINISHED, f"tracking took {self.share:.1%} of the training time")

    def __enter__(self) -> SharpnessTracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        elif not self._ended:
            self._finish(State.INTERRUPTED, f"the training ended with {type(error).__name__}: {error}")

    def _look(self) -> tuple[Sharpness, dict[Metric, float]]:
        parameters = trainable_parameters(self.model)
        with (
            _mode(self.model, self.mode),
            Curvature(self.model, self.loss, self.batches, blocks=self.blocks or None) as curvature,
        ):
            seen = self._follower.follow(curvature)
            now = self._motion(parameters)
            scaled = None
            if isinstance(now, Motion) and now.preconditioner is not None:
                scaled = self._preconditioned.follow(Preconditioned(curvature, now.preconditioner))
        ratio = now.edge_ratio if isinstance(now, Motion) else lambda value: math.nan
        values = quantities.curvature(seen, ratio, parameters, self.blocks)
        if scaled is not None:
            values |= quantities.preconditioned(scaled, ratio)
        known = isinstance(now, Motion)
        self.sharpness, self.measured_at = seen, self.steps
        self.edge_ratio = values[("edge_ratio", "")] if known else None
        if isinstance(now, Motion):
            values |= {"step_size": now.step_size, "threshold": now.limit / now.step_size - now.weight_decay}
        values = {key: v for key, v in values.items() if known or key[0] != "edge_ratio"}
        return seen, values | {"tracked_loss": seen.loss}

    def _motion(self, parameters: dict[str, nn.Parameter]) -> Motion | str:
        if isinstance(self.optimizer, torch.optim.Optimizer):
            return motion(self.optimizer, parameters)
        return "no optimiser was given" if self.optimizer is None else Motion(float(self.optimizer), 2.0)

    def _keep(self, values: dict[Metric, float]) -> None:
        with self._kept_going():
            if "tracked_loss" in values and math.isfinite(self.share):
                values["share"] = self.share
            if values:
                self._writer.record(self.steps, values)
            if time.monotonic() - self._committed >= COMMIT_SECONDS:
                self._writer.commit(Checkpoint(self.steps + 1, {}, {}))
                self._committed = time.monotonic()

    def _finish(self, state: State, message: str) -> None:
        self._ended = True
        atexit.unregister(self._close_at_exit)
        try:
            self._writer.finish(state, step=self.steps, message=message)
        finally:
            self._writer.close()

    @contextmanager
    def _kept_going(self) -> Iterator[None]:
        """At the first look errors are the user's to mend; later ones end the tracking, not the training."""
        try:
            yield
        except NetassayError as cause:
            first = self.sharpness is None
            if not self._ended:
                try:
                    self._finish(State.FAILED if first else State.DIVERGED, str(cause))
                except NetassayError:
                    self._ended = True
            if first:
                raise
            warnings.warn(f"sharpness is no longer tracked after step {self.steps}: {cause}", stacklevel=4)

    def _close_at_exit(self) -> None:
        # an error that reached the top has been told by now, and is left here
        error = getattr(sys, "last_value", None)
        self.__exit__(None if error is None else type(error), error, None)


def _warn(tracker: SharpnessTracker) -> None:
    assert tracker.sharpness is not None
    warnings.warn(
        f"step {tracker.measured_at}: the sharpness {float(tracker.sharpness.values[0]):.4g} is at "
        f"{tracker.edge_ratio:.2f} of the edge of stability (1: the loss may rise, and above it training oscillates or "
        "diverges); a smaller step size, or warm-up, keeps away from it",
        EdgeWarning,
        stacklevel=3,
    )


def _named(optimizer: torch.optim.Optimizer | float | None) -> str:
    if optimizer is None:
        return "not given"
    if isinstance(optimizer, torch.optim.Optimizer):
        return type(optimizer).__name__
    return f"step size {optimizer:g}"


@contextmanager
def _mode(model: nn.Module, mode: str) -> Iterator[None]:
    """Evaluation mode meanwhile, every module put back to its own."""
    before = {module: module.training for module in model.modules()}
    try:
        if mode == "eval":
            model.eval()
        yield
    finally:
        for module, training in before.items():
            module.training = training
