"""A trial of the output layer alone, on a random hidden layer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from netassay.corpus.target import Targets, exact_loss, gathered
from netassay.nets.decoder import ExperimentDecoder
from netassay.studies.capacity.convex import Convex, Newton
from netassay.studies.capacity.trial import Whitening, layers


class OutputOnly:
    """Newton's method in float64 on the output layer; a `trial.Trial` that can prove a floor under its loss.

    The hidden layer is drawn for whitened features from `generator`, as in `trial.Fast`.
    """

    def __init__(self, model: ExperimentDecoder, to: Targets, *, generator: torch.Generator, steps: int) -> None:
        self.model, self.to, self.steps = model.requires_grad_(False), to, steps
        self.step = 0
        hidden, activation, _ = layers(model)
        features = gathered(model, to)
        whitening = Whitening(features)
        whitening.draw(hidden, generator)
        whitening.fold(hidden)
        self.newton = Newton(Convex(activation(hidden(features)), to))

    def measure(self) -> float:
        return self.newton.point.loss

    def advance(self) -> None:
        self.newton.advance()
        # a loss that no longer falls ends the trial
        self.step = self.steps if self.newton.stalled else self.step + 1

    def exact_loss(self) -> float:
        return exact_loss(self.finished(), self.to)

    def finished(self) -> ExperimentDecoder:
        output = layers(self.model)[2]
        weight, bias = self.newton.problem.layer(self.newton.weights)
        output.weight.copy_(weight)
        output.bias.copy_(bias)
        return self.model

    def floor(self) -> float:
        return self.newton.floor()

    def state(self) -> dict[str, Tensor]:
        damping = torch.tensor(self.newton.damping, dtype=torch.float64)
        return {"newton/weights": self.newton.weights, "newton/damping": damping}

    def load(self, tensors: Mapping[str, Tensor], step: int) -> None:
        self.step = step
        self.newton.go_to(tensors["newton/weights"], tensors["newton/damping"].item())
