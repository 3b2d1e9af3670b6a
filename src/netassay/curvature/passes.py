"""Forward passes over all batches at weights moved along a direction, counted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from netassay.curvature.displacement import COARSE, Direction, Displaced, movable_parameters
from netassay.curvature.forward import Batches, Evaluation, Head, Loss, Weights
from netassay.curvature.objective import Objective
from netassay.curvature.weighing import NoNumber
from netassay.errors import DataError, ModelError

ROUNDINGS = 4.0
"""Roundings of the loss, in units of its last place, that two passes may differ by."""


class Losses(NamedTuple):
    """Of each batch its loss and its share in the loss of all; the shares sum to 1 for means."""

    values: list[float]
    shares: list[float]

    @property
    def total(self) -> float:
        return sum(share * value for share, value in zip(self.shares, self.values, strict=True))


class Rise(NamedTuple):
    """How much a loss rose, and the standard error of that where the batches are a sample (NaN for one batch)."""

    value: float
    error: float


def rise(before: Losses, after: Losses) -> Rise:
    """From batch to batch, so that what the batches differ by from each other is no noise."""
    parts = [b - a for a, b in zip(before.values, after.values, strict=True)]
    value = sum(share * part for share, part in zip(after.shares, parts, strict=True))
    n, whole = len(parts), sum(after.shares)
    if n < 2:
        return Rise(value, math.nan)
    off = sum((share * (part - value / whole)) ** 2 for share, part in zip(after.shares, parts, strict=True))
    return Rise(value, math.sqrt(off * n / (n - 1)))


class _RaisedBatches:
    """Batches of a loader in float32, with what else it has."""

    def __init__(self, batches: Any, displaced: Displaced) -> None:
        self._batches, self._displaced = batches, displaced

    def __iter__(self) -> Iterator[Any]:
        return map(self._displaced.raised, self._batches)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batches, name)


class Passes:
    """Losses of a model over all batches along lines from its weights, and its gradient, with the calls counted.

    Arguments and errors are those of `Objective`. Without graphs but for `gradient`; nothing of the model is changed.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        batches: Batches,
        *,
        reduction: str | None = None,
        weights: Weights | None = None,
        head: Head | None = None,
    ) -> None:
        self.parameters = movable_parameters(model)
        self.displaced = Displaced(model, self.parameters)
        if self.displaced.is_raised and isinstance(batches, list | tuple):
            batches = [self.displaced.raised(batch) for batch in batches]
        elif self.displaced.is_raised and not isinstance(batches, Iterator):
            batches = _RaisedBatches(batches, self.displaced)
        self._given: dict[str, Any] = {"reduction": reduction, "weights": weights, "head": head}
        with self._at():
            self._objective = Objective(model, loss, batches, order=0, **self._given)
        self._of = model, loss, batches
        self._batches = 0
        self._more = 0.0  # passes of other objectives
        self.epsilon = 0.0  # spacing of the numbers in which the loss is computed, relative
        self.is_coarse = self._is_coarse()

    @property
    def spent(self) -> int:
        """Forward passes over all batches so far, what checks took included."""
        return math.ceil(self._objective.forward.calls / max(self._batches, 1) + self._more)

    def losses(self, rate: float = 0.0, direction: Direction | None = None) -> Losses | None:
        """At the weights minus rate times direction; None where the loss is not finite there.

        At the weights themselves that raises.
        """
        values: list[float] = []
        weights: list[float] = []

        def keep(_: int, evaluation: Evaluation) -> None:
            values.append(float(evaluation.loss.detach()))
            weights.append(evaluation.weight)
            self._look(evaluation)

        try:
            with self._at(rate, direction):
                self._objective.visit(keep)
        except NoNumber:
            if rate == 0:
                raise
            return None
        return self._shared(values, weights)

    def require_same(self, loss: float) -> None:
        """ModelError where the next pass gives another loss at the same weights."""
        with self._at():
            self._objective.require_same_loss(loss)

    def gradient(self) -> tuple[dict[str, Tensor], Losses]:
        """Of the loss over all batches, by one backward pass a batch; float32 where weights are of 16 bits."""
        total: dict[str, Tensor] = {}
        values: list[float] = []
        weights: list[float] = []

        def add(_: int, evaluation: Evaluation) -> None:
            slopes = torch.autograd.grad(evaluation.loss, [*self.parameters.values()], allow_unused=True)
            for (name, p), slope in zip(self.parameters.items(), slopes, strict=True):
                part = torch.zeros_like(p) if slope is None else slope.detach().to_dense()
                part = part * evaluation.weight
                total[name] = total[name] + part if name in total else part
            values.append(float(evaluation.loss.detach()))
            weights.append(evaluation.weight)
            self._look(evaluation)

        with self._at():
            model, loss, batches = self._of
            objective = Objective(model, loss, batches, order=1, **self._given)
            objective.visit(add)
        self._more += objective.forward.calls / max(len(values), 1)
        losses = self._shared(values, weights)
        return {name: part / self._whole(weights) for name, part in total.items()}, losses

    def _shared(self, values: list[float], weights: list[float]) -> Losses:
        if self._batches not in (0, len(values)):
            raise DataError(
                f"batches changed between two passes: {self._batches} batches, then {len(values)}; give data that "
                "repeat (no one-pass source)"
            )
        self._batches = len(values)
        whole = self._whole(weights)
        return Losses(values, [weight / whole for weight in weights])

    def _whole(self, weights: list[float]) -> float:
        return sum(weights) if self._objective.is_mean else 1.0

    @contextmanager
    def _at(self, rate: float = 0.0, direction: Direction | None = None) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(self.displaced.at(rate, direction))
            if self.displaced.is_raised:
                for device in self.displaced.devices:
                    stack.enter_context(torch.autocast(device, enabled=False))
            # autocast would go on with the 16-bit copies of the weights that it made before they moved
            stack.callback(torch.set_autocast_cache_enabled, torch.is_autocast_cache_enabled())
            torch.set_autocast_cache_enabled(False)
            # the fast path of encoder layers, taken without a graph alone, rounds in another way
            stack.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
            torch.backends.mha.set_fastpath_enabled(False)
            try:
                yield
            except ModelError as cause:
                if self.displaced.is_raised and "dtype" in str(cause):
                    raise ModelError(
                        f"{cause}; weights of 16 bits are taken in float32 here, as a small step would round to "
                        "nothing, so the model must not convert to 16 bits by itself"
                    ) from cause
                raise

    def _is_coarse(self) -> bool:
        if self.displaced.is_raised:
            return False
        mixed = any(torch.is_autocast_enabled(device) for device in self.displaced.devices)
        return mixed or any(p.dtype in COARSE for p in self.displaced.model.parameters())

    def _look(self, evaluation: Evaluation) -> None:
        self.epsilon = max(self.epsilon, torch.finfo(evaluation.loss.dtype).eps)
        kinds = {p.dtype for p in self.parameters.values()}
        if torch.float32 in kinds or self.displaced.is_raised:
            self.epsilon = max(self.epsilon, torch.finfo(torch.float32).eps)
        output = evaluation.output
        self.is_coarse |= evaluation.loss.dtype in COARSE
        self.is_coarse |= isinstance(output, Tensor) and output.dtype in COARSE
