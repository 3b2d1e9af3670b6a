"""The weight of each batch in the total loss: mean or sum, and over how many terms."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from netassay.curvature.batches import examples, join, numbers_of_terms, require_examples
from netassay.curvature.forward import MISFITS, Batches, Evaluation, Loss, Weights, setting_of, terms_of
from netassay.curvature.weighing import Trial, find_kind, proportions
from netassay.errors import DataError, ModelError


class BatchWeights:
    """The weight of each batch if known before the loss: as given, or by a kind found by trial."""

    def __init__(self, weights: Weights | None, loss: Loss, reduction: str | None) -> None:
        self.mean = reduction_of(loss, reduction) == "mean"
        self.explicit = _checked_weights(weights, self.mean)
        self._kind: str | None = None  # which of the numbers of terms weighs the batches
        self._of_kind: list[float] | None = None  # by it, where the batches are a list

    def before(self, i: int, batch: Any) -> float | None:
        """The weight of a batch; None if only the loss can give it."""
        if not self.mean:
            return 1.0
        if callable(self.explicit):
            return weight(f"batch {i}", self.explicit(batch))
        if self.explicit is not None:
            # too few are reported once the batches are counted
            return self.explicit[i] if i < len(self.explicit) else 1.0
        if self._of_kind is not None and i < len(self._of_kind):
            return self._of_kind[i]
        return None if self._kind is None else numbers_of_terms(i, batch)[self._kind]

    @property
    def later(self) -> Weights | None:
        """The weights of the batches, as `weights` for the same loss later: no trial is needed again."""
        if self.explicit is not None or self._kind is None:
            return self.explicit
        return functools.partial(_of_kind, self._kind)

    def require_none_returned(self, loss: Loss) -> None:
        """ModelError for a loss that returns a weight although it must not."""
        if self.mean and self.explicit is not None:
            raise ModelError(f"{name_of(loss)} returns weights of its own; leave weights= out")
        if not self.mean:
            raise ModelError(
                f"{name_of(loss)} returns a weight with its value, as a mean does, but is declared a sum; "
                "return the value alone"
            )

    def require_number(self, batches: int) -> None:
        if isinstance(self.explicit, list) and len(self.explicit) != batches:
            raise DataError(f"weights holds {len(self.explicit)} numbers for {batches} batches; give one a batch")

    def settle(self, counts: Sequence[dict[str, float]], trial: Trial, *, is_list: bool) -> None:
        """Decides by trial which of the numbers of terms weighs the batches, unless the loss gives it."""
        try:
            self._kind = find_kind(proportions(counts), trial)
        except Stated:
            return
        if is_list:
            self._of_kind = [numbers[self._kind] for numbers in counts]


class Stated(Exception):
    """The loss returns its weight by itself."""


def numbers_of_all(batches: Batches, look: Callable[[int], None]) -> tuple[int, list[dict[str, float]]]:
    """Number of batches, and the numbers of terms of each, none for a single batch. `look` is called before each."""
    counts: list[dict[str, float]] = []
    waiting, number = None, 0
    for i, batch in enumerate(batches):
        number = i + 1
        look(i)
        if i == 0:
            require_examples(0, batch)
            waiting = batch
            continue
        if i == 1:
            counts.append(numbers_of_terms(0, waiting))
            waiting = None
        counts.append(numbers_of_terms(i, batch))
    return number, counts


def trial_value(
    batches: Batches,
    numbers: Sequence[int],
    evaluation: Callable[[int, Any, str], Evaluation | None],
    slopes_of: nn.Module | None,
) -> Tensor:
    """Value, or gradient by the weights of `slopes_of`, of the loss of one batch, or of two joined. Raises Stated."""
    several = _fetched(batches, numbers)
    batch, name = several[0], f"batch {numbers[0]}"
    if len(several) == 2:
        sizes = examples(numbers[0], several[0]), examples(numbers[1], several[1])
        batch = join(several[0], several[1], sizes)
        name = f"batches {numbers[0]} and {numbers[1]} joined"
    with torch.set_grad_enabled(slopes_of is not None or torch.is_grad_enabled()):
        result = evaluation(numbers[0], batch, name)
    if result is None or result.stated:
        raise Stated
    if slopes_of is None:
        return result.loss.detach().reshape(1)
    parameters = [p for p in slopes_of.parameters() if p.requires_grad]
    slopes = torch.autograd.grad(result.loss, parameters, allow_unused=True)
    return torch.cat(
        [(torch.zeros_like(p) if g is None else g).reshape(-1) for p, g in zip(parameters, slopes, strict=True)]
    )


def _fetched(batches: Batches, numbers: Sequence[int]) -> list[Any]:
    if isinstance(batches, list | tuple):
        return [batches[i] for i in numbers]
    several = {i: batch for i, batch in enumerate(batches) if i in numbers}
    return [several[i] for i in numbers]


def lasting(weights: Weights | None) -> Weights | None:
    """Weights that can be iterated repeatedly."""
    return weights if weights is None or callable(weights) else [*weights]


def _of_kind(kind: str, batch: Any) -> float:
    return numbers_of_terms(0, batch)[kind]


def _checked_weights(weights: Any, mean: bool) -> list[float] | Callable[[Any], float] | None:
    if weights is None or callable(weights):
        checked = weights
    else:
        checked = [weight(f"batch {i}", value) for i, value in enumerate(weights)]
    if checked is not None and not mean:
        raise ModelError("weights are the numbers of terms of means, and the loss is a sum; leave one out")
    return checked


def weight(name: str, value: Any) -> float:
    try:
        number = float(value.detach() if isinstance(value, Tensor) else value)
    except MISFITS:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise DataError(f"{name}: its weight is {value!r}; a weight is a finite number from 0 on")
    return number


def reduction_of(loss: Loss, requested: str | None) -> str:
    declared = setting_of(loss, "reduction")
    if declared == "batchmean" and terms_of(loss) is not None:
        declared = "mean"  # over the examples
    reduction = requested or declared or "mean"
    if reduction not in ("mean", "sum"):
        origin = "reduction" if requested else f"the reduction of {name_of(loss)}"
        raise ModelError(
            f'{origin} is {reduction!r}; a batch must have one number: allowed are "mean" and "sum" over its examples'
        )
    if declared in ("mean", "sum") and reduction != declared:
        raise ModelError(f"{name_of(loss)} takes the {declared} and reduction is {reduction!r}; leave reduction out")
    return str(reduction)


def name_of(loss: Loss) -> str:
    function = loss.func if isinstance(loss, functools.partial) else loss
    return getattr(function, "__name__", type(function).__name__)
