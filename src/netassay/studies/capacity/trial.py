"""One attempt to memorise: a decoder trained on all of a corpus at every step."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy as mean_cross_entropy

from netassay.corpus.target import Targets, exact_loss, gathered
from netassay.nets.decoder import ExperimentDecoder
from netassay.studies.capacity.cross_entropy import cross_entropy
from netassay.studies.capacity.soap import Soap
from netassay.training import group_of, grouped, load_optimiser, optimiser_state

Trained = Literal["all", "feed_forward", "output"]

IGNORED = -100
FLATTEST = 1e-7


@runtime_checkable
class Trial(Protocol):
    """A model in training; `step` of at most `steps` steps are done, and the future follows from `state`."""

    step: int
    steps: int

    def measure(self) -> float:
        """The summed cross-entropy in nats at the present weights, in the precision of training."""

    def advance(self) -> None:
        """One step from the weights just measured."""

    def exact_loss(self) -> float:
        """The summed cross-entropy in nats, softmax and sum in float64."""

    def finished(self) -> ExperimentDecoder:
        """The model with the present weights."""

    def floor(self) -> float:
        """A lower bound of the loss over all trainable weights; minus infinity if none is proved."""

    def state(self) -> dict[str, Tensor]:
        """Tensors from which, with `step`, the future follows bit for bit."""

    def load(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Restores what `state` gave."""


ATTENTION_FACTOR = 0.1
"""Factor of the step size of query and key: with 1 the attention saturates early, contexts that attend to the same
token become one point, and their gradients vanish for good."""

EMBEDDING_FACTOR = 0.3


class Fast:
    """SOAP on the unique contexts, the step size falling linearly to zero over `steps` steps.

    Each context enters once, with the counts of its next tokens as soft targets: the same loss as over all
    positions. Unless `trained` is "all" the features are fixed: computed once and whitened, the hidden layer is
    drawn again for whitened features from `generator`, and plain Adam suffices (SOAP without bases). As whitening is
    linear, the hidden layer absorbs it in the end (`finished`) and the model keeps its class.
    """

    def __init__(
        self,
        model: ExperimentDecoder,
        to: Targets,
        trained: Trained,
        *,
        generator: torch.Generator,
        step_size: float,
        steps: int,
    ) -> None:
        self.model, self.to, self.step_size, self.steps = model, to, step_size, steps
        self.step = 0
        self.whitening = None if trained == "all" else Whitening(gathered(model, to))
        if self.whitening is not None:
            self.whitening.draw(layers(model)[0], generator)
        self.parameters = trainable(model, trained)
        self.optimiser = Soap(
            self.parameters,
            [() if self.whitening else _sides(model, p) for p in self.parameters],
            factors=[_factor(model, p) for p in self.parameters],
        )

    def measure(self) -> float:
        hidden, activation, output = layers(self.model)
        features = gathered(self.model, self.to) if self.whitening is None else self.whitening.features
        loss = cross_entropy(activation(hidden(features)), output.weight, output.bias, self.to)
        for p in self.parameters:
            p.grad = None
        loss.backward()
        return loss.item()

    def advance(self) -> None:
        self.optimiser.step(self.step_size * (1 - self.step / self.steps))
        self.step += 1

    def exact_loss(self) -> float:
        return exact_loss(self.finished(), self.to)

    def finished(self) -> ExperimentDecoder:
        """A copy of the model with the present weights."""
        model = copy.deepcopy(self.model).requires_grad_(False)
        if self.whitening is not None:
            self.whitening.fold(layers(model)[0])
        return model

    def floor(self) -> float:
        return -torch.inf

    def state(self) -> dict[str, Tensor]:
        return grouped({"model": self.model.state_dict(), "optimiser": self.optimiser.state()})

    def load(self, tensors: Mapping[str, Tensor], step: int) -> None:
        self.step = step
        load_model(self.model, tensors)
        self.optimiser.load(group_of(tensors, "optimiser"), step)


class Whitening:
    """Features (n, d) transformed to mean zero and unit covariance over the contexts; directions too flat to exceed
    rounding stay flat."""

    def __init__(self, features: Tensor) -> None:
        exact = features.detach().double()
        self.mean = exact.mean(0)
        values, vectors = torch.linalg.eigh(torch.cov(exact.T, correction=0))
        spread = values.clamp(min=FLATTEST * values.max().item()).sqrt()
        self.turn = (vectors / spread) @ vectors.T  # (d, d)
        self.features = ((exact - self.mean) @ self.turn).to(features.dtype)

    def draw(self, hidden: nn.Linear, generator: torch.Generator) -> None:
        """Initial weights for whitened features: inputs of the neurons and biases of unit variance."""
        with torch.no_grad():
            nn.init.normal_(hidden.weight, std=hidden.in_features**-0.5, generator=generator)
            nn.init.normal_(hidden.bias, generator=generator)

    def fold(self, hidden: nn.Linear) -> None:
        """Turns a layer for whitened features into the same layer for the original features."""
        weight = hidden.weight.double() @ self.turn
        hidden.bias.copy_(hidden.bias.double() - weight @ self.mean)
        hidden.weight.copy_(weight)


class Paper:
    """The protocol of the paper's section 7: Adam with constant step size on every position of every document.

    `documents` (N, T) are token ids, rows shorter than T padded with IGNORED (-100). The first token is not
    predicted. Loss summed over positions, logits not clamped.
    """

    def __init__(
        self,
        model: ExperimentDecoder,
        to: Targets,
        documents: Tensor,
        trained: Trained,
        *,
        step_size: float,
        steps: int,
    ) -> None:
        self.model, self.to, self.steps = model, to, steps
        self.inputs, self.following = documents[:, :-1].clamp(min=0), documents[:, 1:].flatten()
        self.step = 0
        self.parameters = trainable(model, trained)
        self.optimiser = torch.optim.Adam(self.parameters, lr=step_size)

    def measure(self) -> float:
        logits = self.model(self.inputs).flatten(0, 1)
        loss = mean_cross_entropy(logits, self.following, ignore_index=IGNORED, reduction="sum")
        self.optimiser.zero_grad()
        loss.backward()
        return loss.item()

    def advance(self) -> None:
        self.optimiser.step()
        self.step += 1

    def exact_loss(self) -> float:
        return exact_loss(self.model, self.to)

    def finished(self) -> ExperimentDecoder:
        return self.model

    def floor(self) -> float:
        return -torch.inf

    def state(self) -> dict[str, Tensor]:
        return grouped({"model": self.model.state_dict(), "optimiser": optimiser_state(self.optimiser)})

    def load(self, tensors: Mapping[str, Tensor], step: int) -> None:
        self.step = step
        load_model(self.model, tensors)
        load_optimiser(self.optimiser, group_of(tensors, "optimiser"))


def layers(model: ExperimentDecoder) -> tuple[nn.Linear, nn.Module, nn.Linear]:
    """Hidden layer, activation and output layer of the feed-forward part."""
    hidden, activation, output = model.feed_forward
    assert isinstance(hidden, nn.Linear)
    assert isinstance(output, nn.Linear)
    return hidden, activation, output


def trainable(model: ExperimentDecoder, trained: Trained) -> list[nn.Parameter]:
    """The trained parameters; from here on only these have gradients."""
    parts = {"all": model, "feed_forward": model.feed_forward, "output": layers(model)[2]}
    model.requires_grad_(False)
    trained_ones = list(parts[trained].parameters())
    for p in trained_ones:
        p.requires_grad_(True)
    return trained_ones


def _sides(model: ExperimentDecoder, parameter: Tensor) -> tuple[int, ...]:
    if parameter.dim() < 2:
        return ()
    by_token = (model.embedding.weight, layers(model)[2].weight)
    return (1,) if any(parameter is p for p in by_token) else (0, 1)


def _factor(model: ExperimentDecoder, parameter: Tensor) -> float:
    attending = [p for layer in (model.query, model.key) for p in layer.parameters()]
    if any(parameter is p for p in attending):
        return ATTENTION_FACTOR
    return EMBEDDING_FACTOR if parameter is model.embedding.weight else 1.0


def load_model(model: ExperimentDecoder, tensors: Mapping[str, Tensor]) -> None:
    """Loads the weights of a state."""
    model.load_state_dict(group_of(tensors, "model"))
