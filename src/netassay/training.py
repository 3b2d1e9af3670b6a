"""The resumable loop that every training run goes through.

A trainee measures itself and takes steps; a recorder keeps the measurements and the state to resume from; the
loop decides when. Nothing here reads a file, a clock-dependent number or a config, so a run that was killed and
resumed takes the same steps and records the same numbers as an uninterrupted one.
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
    from torch.optim import Optimizer

Metric = str | tuple[str, str]
"""Name of a number, or (name, part): the part is a layer, a class, a rank; "" is the network."""


class Outcome(StrEnum):
    FINISHED = "finished"
    DIVERGED = "diverged"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Checkpoint:
    """State at the start of `step`, before anything of that step was measured.

    `tensors` go to disk as they are; `facts` hold values that JSON stores exactly (integers, floats, strings, lists).
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
        """Record the numbers of one step; they become durable with the next commit."""

    def commit(self, checkpoint: Checkpoint) -> None:
        """Make the checkpoint and everything recorded before it durable, both or neither."""

    def stop_requested(self) -> bool:
        """Whether the run was asked to stop (by a signal)."""


class Diverged(Exception):
    """Raised by `Trainee.measure` if the loss is finite but another number due at that step is not."""

    def __init__(self, values: Mapping[Metric, float], reason: str) -> None:
        super().__init__(reason)
        self.values, self.reason = values, reason


class Trainee(Protocol):
    """What is trained. Its whole future must follow from `state()`."""

    def measure(self, step: int) -> Mapping[Metric, float]:
        """Numbers at the weights of `step`, "loss" (of training) always among them; the others by their schedules.

        Raises Diverged, with the finite numbers, if others that are due are not finite.
        """

    def advance(self) -> None:
        """One optimiser step from the weights just measured."""

    def state(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        """Tensors and facts from which the future follows bit for bit."""

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


def grouped(states: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors of several states together, named "state/name"; `group_of` gives each back."""
    return {f"{state}/{name}": t.detach() for state, tensors in states.items() for name, t in tensors.items()}


def group_of(tensors: Mapping[str, Tensor], group: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `group`, by the remainder of their names."""
    return {key.removeprefix(f"{group}/"): t for key, t in tensors.items() if key.startswith(f"{group}/")}


def optimiser_state(optimiser: Optimizer) -> dict[str, Tensor]:
    """What an optimiser of PyTorch keeps of each parameter, named "number of the parameter/name"."""
    return grouped({str(i): moments for i, moments in optimiser.state_dict()["state"].items()})


def load_optimiser(optimiser: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restores what `optimiser_state` gave."""
    moments: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        i, _, name = key.partition("/")
        moments.setdefault(int(i), {})[name] = tensor.clone()
    optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})


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

    Training ends before `steps` if `done(step)` says that this step is the last to be measured, or `over()` that
    nothing remains to be measured; both are called before the step. A checkpoint is committed at the first and last
    step, on a stop request, and whenever `commit_seconds` of wall time have passed since the last, at first sooner; its
    time changes no number. The numbers of the step at which the loss diverges are recorded, its weights are not.
    """
    checkpoint = recorder.latest()
    step, first_loss = 0, math.nan
    if checkpoint is not None:
        trainee.load(checkpoint.tensors, checkpoint.facts["trainee"])
        step, first_loss = checkpoint.step, checkpoint.facts["first_loss"]

    start = time.monotonic()
    committed = None if checkpoint is None else start
    while True:
        stop, ended = recorder.stop_requested(), over()
        overdue = committed is None or _overdue(committed, start, commit_seconds)
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


def _overdue(committed: float, start: float, seconds: float) -> bool:
    """Whether a checkpoint is due: at first after 1, 2, 4, ... seconds, so that a run can be watched at once."""
    now = time.monotonic()
    return now - committed >= min(seconds, max(1.0, committed - start))


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
    """Runs stage after stage from the recorder's newest checkpoint (or the first) until none remains or a stop request.

    `make(step)` runs a stage and returns its numbers: an empty mapping if nothing remains, None if it was stopped.
    `names` are those of all stages, if their number is known. All that the future depends on is in `facts()` or on
    disk. A checkpoint is committed after a stage once `commit_seconds` of wall time have passed since the last (0:
    after each), and at the end and on a stop request if anything is new; but never while the last stages are not
    `settled`, so that they run again.
    """
    latest = recorder.latest()
    step = 0 if latest is None else latest.step
    committed, pending = None if latest is None else time.monotonic(), latest is None
    values: Mapping[Metric, float] | None
    while True:
        remaining = not names or step < len(names)
        values = None if remaining and recorder.stop_requested() else make(step) if remaining else {}
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
