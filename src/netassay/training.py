"""The resumable loop that every training run goes through.

A trainee knows how to measure itself and how to take one step; a recorder keeps what was measured and the
state to go on from; the loop decides when. Nothing here reads a file, a clock-dependent number or a config, so
a run that was killed and resumed takes the same steps and records the same numbers as one left alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

Metric = str | tuple[str, str]
"""Name of a number, or (name, part): the part is a layer, a class, a rank; "" is the whole."""


class Outcome(StrEnum):
    FINISHED = "finished"
    DIVERGED = "diverged"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Checkpoint:
    """State at the start of `step`, before anything of that step was measured.

    `tensors` go to disk as they are; `facts` are what JSON holds exactly (integers, floats, strings, lists).
    """

    step: int
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Recorder(Protocol):
    """Where a loop writes. `runs.RunWriter` is the one on disk; tests use a dictionary."""

    def latest(self) -> Checkpoint | None:
        """The newest committed checkpoint, or None for a new run."""

    def record(self, step: int, values: Mapping[Metric, float]) -> None:
        """Keep the numbers of one step; they become durable with the next commit."""

    def commit(self, checkpoint: Checkpoint) -> None:
        """Make the checkpoint and everything recorded before it durable, both or neither."""

    def stop_requested(self) -> bool:
        """Whether somebody asked the run to stop (a signal)."""


class Diverged(Exception):
    """Raised by `Trainee.measure` where the loss is finite and what else is due at that step is not."""

    def __init__(self, values: Mapping[Metric, float], reason: str) -> None:
        super().__init__(reason)
        self.values, self.reason = values, reason


class Trainee(Protocol):
    """What is trained. Its whole future must follow from `state()`."""

    def measure(self, step: int) -> Mapping[Metric, float]:
        """Numbers at the weights of `step`, "loss" (of training) always among them; the rest by its schedules.

        Raises Diverged, with the numbers there are, where others that are due are not finite.
        """

    def advance(self) -> None:
        """One optimiser step from the weights just measured."""

    def state(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        """Tensors and facts that, loaded, make the future the same bit for bit."""

    def load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Restores what `state` gave."""


@dataclass(frozen=True)
class Every:
    """Schedule: the steps 0, n, 2n, ... and the last."""

    steps: int
    last: int

    def due(self, step: int) -> bool:
        return step % self.steps == 0 or step == self.last


@dataclass(frozen=True)
class Result:
    outcome: Outcome
    step: int
    message: str = ""


def diverged(loss: float, first: float, factor: float) -> str:
    """Why a loss counts as diverged, or "": it is not finite, or beyond `factor` times the first one."""
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    if loss > factor * first:
        return f"the loss is {loss:.4g}, more than {factor:g} times the first, {first:.4g}"
    return ""


def train(
    trainee: Trainee,
    recorder: Recorder,
    *,
    steps: int,
    divergence_factor: float = math.inf,
    done: Callable[[int], bool] = lambda step: False,
    over: Callable[[], bool] = lambda: False,
    commit_seconds: float = 10.0,
    watch: Callable[[int, Mapping[Metric, float]], None] = lambda step, values: None,
) -> Result:
    """Trains from the recorder's newest checkpoint (or the start) to `steps`, a stop request or divergence.

    Training is finished before `steps` where `done(step)` says that this step is the last to be measured, or `over()`
    that nothing is left to measure; both are asked before. A checkpoint is committed at the first and last step, on a
    stop request, and whenever `commit_seconds` of wall time have passed since the last, at first sooner; when it is
    taken changes no number. The numbers of the step at which the loss diverges are recorded, its weights are not kept.
    """
    checkpoint = recorder.latest()
    step, first_loss = 0, math.nan
    if checkpoint is not None:
        trainee.load(checkpoint.tensors, checkpoint.facts["trainee"])
        step, first_loss = checkpoint.step, checkpoint.facts["first_loss"]

    begun = time.monotonic()
    committed = None if checkpoint is None else begun
    while True:
        stop, ended = recorder.stop_requested(), over()
        overdue = committed is None or _overdue(committed, begun, commit_seconds)
        last = step == steps or done(step)
        if overdue or stop or ended or last:
            tensors, facts = trainee.state()
            facts = {"trainee": dict(facts), "first_loss": first_loss, "steps": steps}
            recorder.commit(Checkpoint(step, tensors, facts))
            committed = time.monotonic()
        if ended:
            return Result(Outcome.FINISHED, step)
        if stop:
            return Result(Outcome.INTERRUPTED, step, f"stopped at step {step} of {steps}")

        try:
            values, reason = trainee.measure(step), ""
        except Diverged as gone:
            values, reason = gone.values, gone.reason
        recorder.record(step, values)
        watch(step, values)
        if math.isnan(first_loss):
            first_loss = values["loss"]
        if reason := reason or diverged(values["loss"], first_loss, divergence_factor):
            return Result(Outcome.DIVERGED, step, f"diverged at step {step}: {reason}")
        if last:
            return Result(Outcome.FINISHED, step)
        trainee.advance()
        step += 1


def _overdue(committed: float, begun: float, seconds: float) -> bool:
    """Whether a checkpoint is due: at first after 1, 2, 4, ... seconds, so that a run can be watched at once."""
    now = time.monotonic()
    return now - committed >= min(seconds, max(1.0, committed - begun))


def stages(
    recorder: Recorder,
    make: Callable[[int], Mapping[Metric, float] | None],
    *,
    facts: Callable[[], Mapping[str, Any]],
    names: Sequence[str] = (),
    commit_seconds: float = 0.0,
    settled: Callable[[], bool] = lambda: True,
    watch: Callable[[int, Mapping[Metric, float]], None] = lambda step, values: None,
) -> Result:
    """Makes stage after stage from the recorder's newest checkpoint (or the first) until none is left or a stop.

    `make(step)` makes a stage and gives its numbers: none when nothing is left, None where it was stopped meanwhile.
    `names` are those of all stages, where it is known how many there are. All that the future depends on is in
    `facts()`, or on disk. A checkpoint is committed after a stage once `commit_seconds` of wall time have passed since
    the last (0: after each), at the end and on a stop request, where it says something new; and never where the
    stages made last are not `settled`, so that they are made again.
    """
    latest = recorder.latest()
    step = 0 if latest is None else latest.step
    committed, pending = None if latest is None else time.monotonic(), latest is None
    values: Mapping[Metric, float] | None
    while True:
        left = not names or step < len(names)
        values = None if left and recorder.stop_requested() else make(step) if left else {}
        if values:
            recorder.record(step, values)
            watch(step, values)
            step, pending = step + 1, True
        overdue = committed is None or time.monotonic() - committed >= commit_seconds
        if pending and settled() and (overdue or not values):
            recorder.commit(Checkpoint(step, {}, facts()))
            committed, pending = time.monotonic(), False
        if values is None:
            reason = f"stopped before {names[step] if names else f'stage {step}'}"
            return Result(Outcome.INTERRUPTED, step, reason)
        if not values:
            return Result(Outcome.FINISHED, step)
