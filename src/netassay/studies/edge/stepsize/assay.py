"""One search for the largest stable step size: curvature at the start, trials in rounds, gradient flow, in a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from netassay import training
from netassay.curvature.largest_curvature import sharpness
from netassay.errors import DataError
from netassay.numerics import devices
from netassay.numerics.devices import generator
from netassay.studies.edge.data import Data, load
from netassay.studies.edge.networks import LOSSES, constant_loss, network
from netassay.studies.edge.stepsize.config import StepSizeConfig
from netassay.studies.edge.stepsize.descents import descend, together
from netassay.studies.edge.stepsize.findings import CODES
from netassay.studies.edge.stepsize.findings import tables as tables
from netassay.studies.edge.stepsize.predictors import Sharpest, sharpest_on_flow
from netassay.studies.edge.stepsize.search import Outcome, Trial, next_step_size


@dataclass
class Progress:
    """All results of a search so far, and so all that its future depends on; JSON stores them exactly."""

    data: str
    """Digest of the training set."""
    start: list[tuple[float, float]] = field(default_factory=list)
    """Sharpness of each network at its initial weights, and its estimated absolute error."""
    trials: list[list[Trial]] = field(default_factory=list)
    flows: list[Sharpest] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        return {"data": self.data, "start": self.start, "trials": self.trials, "flows": self.flows}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Progress:
        return cls(
            data=facts["data"],
            start=[(value, error) for value, error in facts["start"]],
            trials=[[Trial(s, Outcome(o), n, x) for s, o, n, x in trials] for trials in facts["trials"]],
            flows=[Sharpest(*flow) for flow in facts["flows"]],
        )


class Search:
    """The networks of a config, and the next stage of the search."""

    def __init__(self, config: StepSizeConfig, stop: Callable[[], bool]) -> None:
        device, self.dtype = devices.device(config.device), getattr(torch, config.dtype)
        self.config, self.stop, self.loss = config, stop, LOSSES[config.loss]
        self.data: Data = load(config, dtype=self.dtype, device=device)
        self.goal = config.goal * constant_loss(config.loss, self.data.train.labels)
        if self.goal == 0:
            raise DataError("every training example has the same target, so there is nothing to learn; give others")
        self.batches = [(self.data.train.inputs, self.data.train.labels)]
        self.networks: list[nn.Module] = [
            network(config, self.data, dtype=self.dtype, seed=config.seed + i).to(device) for i in range(config.seeds)
        ]
        batched = config.network == "mlp"
        self.at_once = together(self.data.train, config.width, config.seeds) if batched else 1

    def go_on(self, progress: Progress) -> dict[training.Metric, float] | None:
        """Runs the next stage and adds it to `progress`: its numbers, empty if nothing remains, None if stopped."""
        if not progress.start:
            return self._start(progress)
        sizes = {i: size for i in range(len(self.networks)) if (size := self._next(progress, i)) is not None}
        if sizes:
            return self._round(progress, sizes)
        if self.config.flow_steps and len(progress.flows) < len(self.networks):
            return self._flow(progress)
        return {}

    def _next(self, progress: Progress, i: int) -> float | None:
        return next_step_size(progress.trials[i], 2 / progress.start[i][0], self.config.resolution)

    def _start(self, progress: Progress) -> dict[training.Metric, float]:
        values: dict[training.Metric, float] = {}
        for i, model in enumerate(self.networks):
            start = sharpness(
                model,
                self.loss,
                self.batches,
                tolerance=self.config.tolerance,
                generator=generator(self.config.seed + i, "lanczos"),
            )
            # without positive curvature at the start no step is bounded: the search then begins at 1
            value = max(float(start.values[0]), 0.0)
            progress.start.append((value or 2.0, float(start.errors[0])))
            progress.trials.append([])
            values |= {
                ("sharpness", self._part(i)): value,
                ("sharpness_error", self._part(i)): float(start.errors[0]),
            }
        return values

    def _round(self, progress: Progress, sizes: Mapping[int, float]) -> dict[training.Metric, float] | None:
        trials: dict[int, Trial] = {}
        ready = list(sizes)
        for at in range(0, len(ready), self.at_once):
            group = ready[at : at + self.at_once]
            ended = descend(
                [self.networks[i] for i in group],
                self.loss,
                self.data.train,
                [sizes[i] for i in group],
                goal=self.goal,
                steps=self.config.steps,
                divergence_factor=self.config.divergence_factor,
                stop=self.stop,
            )
            if ended is None:
                return None
            trials |= dict(zip(group, ended, strict=True))
        values: dict[training.Metric, float] = {}
        for i, trial in trials.items():
            progress.trials[i].append(trial)
            values |= {
                ("step_size", self._part(i)): trial.step_size,
                ("outcome", self._part(i)): CODES[trial.outcome],
                ("trial_steps", self._part(i)): float(trial.steps),
                ("trial_loss", self._part(i)): trial.loss,
            }
        return values

    def _flow(self, progress: Progress) -> dict[training.Metric, float] | None:
        i = len(progress.flows)
        flow = sharpest_on_flow(
            self.networks[i],
            self.loss,
            self.batches,
            goal=self.goal,
            most_steps=self.config.flow_steps,
            tolerance=self.config.tolerance,
            seed=self.config.seed + i,
            stop=self.stop,
        )
        if flow is None:
            return None
        progress.flows.append(flow)
        numbers = flow._asdict() | {"reached": float(flow.reached), "steps": float(flow.steps)}
        return {(f"flow_{name}", self._part(i)): value for name, value in numbers.items()}

    def _part(self, i: int) -> str:
        return f"seed {self.config.seed + i}"


def assay(
    config: StepSizeConfig,
    recorder: training.Recorder,
    *,
    commit_seconds: float = 10.0,
    watch: Callable[[int, Mapping[training.Metric, float]], None] = lambda step, values: None,
) -> training.Result:
    """Searches until nothing is left; a step is one stage: the start, a round of trials, the flow of one network.

    What was found is committed like weights in training: the same keywords, the same promise on resuming.
    """
    search = Search(config, recorder.stop_requested)
    checkpoint = recorder.latest()
    progress = Progress(search.data.digest())
    if checkpoint is not None:
        progress = Progress.from_facts(checkpoint.facts)
        search.data.require(progress.data)
    return training.stages(
        recorder,
        lambda step: search.go_on(progress),
        facts=progress.facts,
        commit_seconds=commit_seconds,
        watch=watch,
    )
