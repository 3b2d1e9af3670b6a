"""Forward passes over all batches at weights moved along a direction, counted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from netassay.curvature.batches import terms_of
from netassay.curvature.displacement import COARSE, Direction, Displaced, inner_product, movable_parameters
from netassay.curvature.forward import Batches, Evaluation, Head, Loss, Weights
from netassay.curvature.objective import Objective
from netassay.curvature.processes import in_all
from netassay.curvature.shards import Processes, is_sharded, processes_of
from netassay.curvature.tape import REENTRANT, is_reentrant
from netassay.curvature.weighing import NoNumber
from netassay.errors import DataError, ModelError

ROUNDINGS = 4.0
"""Maximum difference of two passes, in units of the loss's last place."""


class Losses(NamedTuple):
    """The loss of each batch and its share in the total; the shares sum to 1 for means."""

    values: list[float]
    shares: list[float]

    @property
    def total(self) -> float:
        return sum(share * value for share, value in zip(self.shares, self.values, strict=True))


class Rise(NamedTuple):
    """The rise of a loss, and its standard error if the batches are a sample (NaN for one batch)."""

    value: float
    error: float


def rise(before: Losses, after: Losses) -> Rise:
    """Difference batch by batch, so that differences between batches are not noise."""
    parts = [b - a for a, b in zip(before.values, after.values, strict=True)]
    value = sum(share * part for share, part in zip(after.shares, parts, strict=True))
    n, total = len(parts), sum(after.shares)
    if n < 2:
        return Rise(value, math.nan)
    off = sum((share * (part - value / total)) ** 2 for share, part in zip(after.shares, parts, strict=True))
    return Rise(value, math.sqrt(off * n / (n - 1)))


class _RaisedBatches:
    """Batches of a loader in float32, with the loader's other attributes."""

    def __init__(self, batches: Any, displaced: Displaced) -> None:
        self._batches, self._displaced = batches, displaced

    def __iter__(self) -> Iterator[Any]:
        return map(self._displaced.raised, self._batches)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batches, name)


class Passes:
    """Losses of a model over all batches along lines from its weights, and its gradient, with the calls counted.

    Arguments and errors are those of `Objective`. No graphs except for `gradient`; the model is not changed.
    With `processes`, given by a model's shards, the losses are those of the batches of all processes.
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
        processes: Processes | None = None,
    ) -> None:
        self.is_sharded = isinstance(model, nn.Module) and is_sharded(model)
        self.processes = processes_of(model) if self.is_sharded else processes
        if self.processes is not None:
            _require_alike(self.processes, loss, batches, weights)
        self.parameters = movable_parameters(model)
        self.displaced = Displaced(model, self.parameters)
        if self.displaced.is_raised and isinstance(batches, list | tuple):
            batches = [self.displaced.raised(batch) for batch in batches]
        elif self.displaced.is_raised and not isinstance(batches, Iterator):
            batches = _RaisedBatches(batches, self.displaced)
        self._settings: dict[str, Any] = {"reduction": reduction, "weights": weights, "head": head}
        with self._at():
            self._objective = Objective(model, loss, batches, order=0, **self._settings)
        self._of = model, loss, batches
        self._batches = 0
        self._more = 0.0  # passes of other objectives
        self.epsilon = 0.0  # relative spacing of the numbers in which the loss is computed
        self.is_coarse = self._is_coarse()

    @property
    def count(self) -> int:
        """Forward passes over all batches so far, including checks."""
        batches = self._batches / (1 if self.processes is None else self.processes.count)
        return math.ceil(self._objective.forward.calls / max(batches, 1) + self._more)

    def inner_product(self, a: Direction, b: Direction) -> float:
        """Inner product of two directions, over all their shards."""
        value = inner_product(a, b)
        return self.processes.summed(value) if self.is_sharded and self.processes is not None else value

    def losses(self, rate: float = 0.0, direction: Direction | None = None) -> Losses | None:
        """At the weights minus rate times direction; None if the loss is not finite there.

        At the weights themselves this is an error.
        """
        if self.processes is not None:
            return self._losses_of_all(self.processes, rate, direction)
        pairs: list[tuple[float, float]] = []
        try:
            with self._at(rate, direction):
                self._objective.visit(lambda _, evaluation: pairs.append(self._loss_and_weight(evaluation)))
        except NoNumber:
            if rate == 0:
                raise
            return None
        return self._shared(pairs)

    def _losses_of_all(self, processes: Processes, rate: float, direction: Direction | None) -> Losses | None:
        """Batch by batch in step, so that no process waits for one that stopped at a loss that is not finite."""
        mine: list[tuple[float, float]] = []

        def keep(_: int, evaluation: Evaluation) -> None:
            mine.append(self._loss_and_weight(evaluation))

        finite = True
        with self._at(rate, direction):
            for i in range(len(self._objective.batches)):  # type: ignore[arg-type]

                def visit(i: int = i) -> bool:
                    try:
                        self._objective.visit(keep, only={i})
                    except NoNumber:
                        if rate == 0:
                            raise
                        return False
                    return True

                finite &= all(processes.gathered(in_all(processes, visit)))
        if not finite:
            return None
        pairs = [pair for pairs in processes.gathered(mine) for pair in pairs]
        self.epsilon = max(processes.gathered(self.epsilon))
        self.is_coarse = any(processes.gathered(self.is_coarse))
        return self._shared(pairs)

    def require_same(self, loss: float) -> None:
        """ModelError if the next pass gives another loss at the same weights."""
        if self.processes is not None:
            again = self.losses()
            if again is None or not abs(again.total - loss) <= 1e3 * self.epsilon * abs(loss):
                raise ModelError(
                    "two passes over the batches of all processes give two losses at the same weights, so the loss is "
                    "random; call model.eval() or remove the randomness"
                )
            return
        with self._at():
            self._objective.require_same_loss(loss)

    def gradient(self) -> tuple[dict[str, Tensor], Losses]:
        """Gradient of the loss over all batches, by one backward pass per batch; float32 for weights of 16 bits."""
        if self.processes is not None:
            raise ModelError(
                "the gradient over the batches of several processes is taken by their own backward passes; give the "
                "optimiser as the direction"
            )
        total: dict[str, Tensor] = {}
        pairs: list[tuple[float, float]] = []

        def add(_: int, evaluation: Evaluation) -> None:
            if is_reentrant(evaluation.loss):
                raise ModelError(f"{type(self.displaced.model).__name__} {REENTRANT}")
            present = self.displaced.present
            slopes = torch.autograd.grad(evaluation.loss, [*present.values()], allow_unused=True)
            for (name, p), slope in zip(present.items(), slopes, strict=True):
                part = torch.zeros_like(p) if slope is None else slope.detach().to_dense()
                part = part * evaluation.weight
                total[name] = total[name] + part if name in total else part
            pairs.append(self._loss_and_weight(evaluation))

        with self._at():
            model, loss, batches = self._of
            objective = Objective(model, loss, batches, order=1, **self._settings)
            objective.visit(add)
        self._more += objective.forward.calls / max(len(pairs), 1)
        losses = self._shared(pairs)
        return {name: part / self._total_weight(pairs) for name, part in total.items()}, losses

    def _shared(self, pairs: list[tuple[float, float]]) -> Losses:
        """Of loss and weight of each batch."""
        if self._batches not in (0, len(pairs)):
            raise DataError(
                f"batches changed between two passes: {self._batches} batches, then {len(pairs)}; give data that "
                "repeat (no one-pass source)"
            )
        self._batches = len(pairs)
        total = self._total_weight(pairs)
        return Losses([value for value, _ in pairs], [weight / total for _, weight in pairs])

    def _total_weight(self, pairs: list[tuple[float, float]]) -> float:
        return sum(weight for _, weight in pairs) if self._objective.is_mean else 1.0

    @contextmanager
    def _at(self, rate: float = 0.0, direction: Direction | None = None) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(self.displaced.at(rate, direction))
            if self.displaced.is_raised:
                for device in self.displaced.devices:
                    stack.enter_context(torch.autocast(device, enabled=False))
            # autocast would continue with the 16-bit copies of the weights from before they moved
            stack.callback(torch.set_autocast_cache_enabled, torch.is_autocast_cache_enabled())
            torch.set_autocast_cache_enabled(False)
            # the fast path of encoder layers, used only without a graph, rounds differently
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

    def _loss_and_weight(self, evaluation: Evaluation) -> tuple[float, float]:
        """Of a batch, whose arithmetic is noted."""
        self.epsilon = max(self.epsilon, torch.finfo(evaluation.loss.dtype).eps)
        kinds = {p.dtype for p in self.parameters.values()}
        if torch.float32 in kinds or self.displaced.is_raised:
            self.epsilon = max(self.epsilon, torch.finfo(torch.float32).eps)
        output = evaluation.output
        self.is_coarse |= evaluation.loss.dtype in COARSE
        self.is_coarse |= isinstance(output, Tensor) and output.dtype in COARSE
        return float(evaluation.loss.detach()), evaluation.weight


def _require_alike(processes: Processes, loss: Loss, batches: Batches, weights: Weights | None) -> None:
    """Checks that the processes make the same passes in the same order."""
    count = len(batches) if isinstance(batches, list | tuple) else None
    counts = processes.gathered(count)
    if count is None or any(number != count for number in counts):
        raise DataError(
            f"the processes have {', '.join(map(str, counts))} batches (None: no list); give each a list of the same "
            "length"
        )
    if count > 1 and weights is None and terms_of(loss) is None:
        raise ModelError(
            "the loss does not say the number of its terms, which several processes cannot find by trial; give weights="
        )
