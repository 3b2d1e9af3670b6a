"""One attempt to memorise: a decoder trained on all of a corpus at every step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy as mean_cross_entropy

from netassay.nets.decoder import ExperimentDecoder
from netassay.studies.capacity.cross_entropy import cross_entropy
from netassay.studies.capacity.soap import Soap
from netassay.studies.capacity.targets import Targets, exact_loss, gathered

Trained = Literal["all", "feed_forward", "output"]

IGNORED = -100


class Trial(Protocol):
    """A model on its way down; `step` of at most `steps` steps are done, and the future follows from `state`."""

    model: ExperimentDecoder
    step: int
    steps: int

    def measure(self) -> float:
        """The summed cross-entropy in nats at the present weights, as training sees it."""

    def advance(self) -> None:
        """One step from the weights just measured."""

    def exact_loss(self) -> float:
        """The summed cross-entropy in nats, softmax and sum in float64."""

    def floor(self) -> float:
        """No weights that may be trained have a loss below this; minus infinity where none is proved."""

    def state(self) -> dict[str, Tensor]:
        """Tensors that, loaded with `step`, make the future the same bit for bit."""

    def load(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Restores what `state` gave."""


class Fast:
    """SOAP on the unique contexts, the step size falling linearly to zero over `steps` steps.

    Each context enters once, with the counts of its next tokens as soft targets: the same loss as over all
    positions. With `trained` "feed_forward" the features are fixed and made once.
    """

    def __init__(
        self, model: ExperimentDecoder, to: Targets, trained: Trained, *, step_size: float, steps: int
    ) -> None:
        self.model, self.to, self.step_size, self.steps = model, to, step_size, steps
        self.step = 0
        self.hidden, self.activation, self.output = model.feed_forward
        part = model if trained == "all" else model.feed_forward
        model.requires_grad_(False)
        self.parameters = [p.requires_grad_(True) for p in part.parameters()]
        by_token = (model.embedding.weight, self.output.weight)
        sides = [
            () if p.dim() < 2 else (1,) if any(p is q for q in by_token) else (0, 1) for p in self.parameters
        ]
        self.optimiser = Soap(self.parameters, sides)
        self.features = None if trained == "all" else gathered(model, to)

    def measure(self) -> float:
        features = gathered(self.model, self.to) if self.features is None else self.features
        loss = cross_entropy(
            self.activation(self.hidden(features)), self.output.weight, self.output.bias, self.to
        )
        for p in self.parameters:
            p.grad = None
        loss.backward()
        return loss.item()

    def advance(self) -> None:
        self.optimiser.step(self.step_size * (1 - self.step / self.steps))
        self.step += 1

    def exact_loss(self) -> float:
        return exact_loss(self.model, self.to)

    def floor(self) -> float:
        return -torch.inf

    def state(self) -> dict[str, Tensor]:
        weights = {f"model/{name}": t.detach() for name, t in self.model.state_dict().items()}
        return weights | {f"optimiser/{name}": t for name, t in self.optimiser.state().items()}

    def load(self, tensors: Mapping[str, Tensor], step: int) -> None:
        self.step = step
        load_model(self.model, tensors)
        self.optimiser.load(_group(tensors, "optimiser"), step)
        if self.features is not None:
            self.features = gathered(self.model, self.to)


class Paper:
    """The protocol of the paper's section 7: Adam of constant step size on every position of every document.

    `documents` (N, T) are token ids, rows shorter than T filled up with IGNORED (-100). The first token is not
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
        model.requires_grad_(False)
        part = model if trained == "all" else model.feed_forward
        self.parameters = [p.requires_grad_(True) for p in part.parameters()]
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

    def floor(self) -> float:
        return -torch.inf

    def state(self) -> dict[str, Tensor]:
        weights = {f"model/{name}": t.detach() for name, t in self.model.state_dict().items()}
        moments = {
            f"optimiser/{i}/{name}": value
            for i, p in enumerate(self.parameters)
            for name, value in self.optimiser.state.get(p, {}).items()
        }
        return weights | moments

    def load(self, tensors: Mapping[str, Tensor], step: int) -> None:
        self.step = step
        load_model(self.model, tensors)
        held: dict[int, dict[str, Tensor]] = {}
        for key, value in _group(tensors, "optimiser").items():
            i, _, name = key.partition("/")
            held.setdefault(int(i), {})[name] = value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": held})


def load_model(model: ExperimentDecoder, tensors: Mapping[str, Tensor]) -> None:
    """Loads the weights that a state holds."""
    model.load_state_dict(_group(tensors, "model"))


def _group(tensors: Mapping[str, Tensor], group: str) -> dict[str, Tensor]:
    return {key.partition("/")[2]: t for key, t in tensors.items() if key.startswith(f"{group}/")}
