"""One pass of a model and a loss over a batch: the output tensor that the loss is computed from, and the weight of the
batch in the total loss, a mean or a sum.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from netassay.curvature.batches import (
    arguments,
    call,
    examples,
    halves,
    join,
    named_tensors,
    numbers_of_terms,
    require_examples,
    setting_of,
    terms_of,
)
from netassay.curvature.weighing import Trial, find_kind, proportions
from netassay.errors import DataError, ModelError

Loss = Callable[[Any, Any], Any]
"""loss(output, target) -> scalar of one batch, the mean or the sum over its terms; or loss(model, batch), its first
parameter named model. Either may return (value, weight) with the number of terms that the value is a mean of.
"""

Batches = Iterable[Any]
"""Batches that can be iterated repeatedly: (x, y) pairs, or mappings that hold inputs and labels.

Of a pair, a tuple x is the model's arguments, a mapping its keywords, or its one argument where the model has no
such keywords. Of a mapping, the model gets the keys that its `forward` names, the loss the first of `batches.TARGETS`.
"""

Head = str | int | Callable[[Any], Tensor]
"""Which tensor of a model's output the loss is taken of: a key or attribute, an index, or a function of the output."""

Weights = Iterable[float | int] | Callable[[Any], Any]
"""One number per batch, in their order, or weights(batch) -> number."""

_MODEL_NAMES = ("model", "module", "net", "network")
# errors of torch when shapes and types do not fit, and of an output in another form
MISFITS = (RuntimeError, ValueError, IndexError, TypeError, KeyError, AttributeError)


@dataclass(frozen=True)
class Evaluation:
    """One batch, with its autograd graph. `output` is the tensor that the loss is taken of, or whatever the model
    gave; `head` what the loss was given in its place: itself, or a cut-off copy.
    """

    output: Any
    head: Any
    loss: Tensor
    weight: float  # of this batch's loss, relative to those of the others
    stated: bool  # whether the loss returned the weight
    shapes: tuple[torch.Size, ...]  # of the batch's tensors

    @property
    def is_cut(self) -> bool:
        """Whether the loss was computed from a copy of the output, so that nothing else can have entered it."""
        return self.head is not self.output


class ForwardPass:
    """Runs a model and a loss on a batch.

    What it learns about the loss from the first batch holds for all: whether it calls the model itself, and whether it
    gets all of an output that is not a tensor, or its head. With `detach`, the loss is computed from a detached copy of
    the output if that is a tensor.
    """

    def __init__(self, model: nn.Module, loss: Loss, head: Head | None, detach: bool) -> None:
        self.model, self.loss, self.head, self.detach = model, loss, head, detach
        self.calls = 0
        """Number of runs on a batch."""
        self.terms = terms_of(loss)
        self._takes_model = _names_a_model(loss)
        self._takes_head: bool | None = None  # of an output that is not a tensor

    def run_model(self, batch: Any) -> None:
        """Runs the model on a batch, for the effect of its hooks."""
        if self._takes_model:
            self.loss(self.model, batch)
        else:
            call(self.model, halves(self.model, 0, batch)[0])

    def halves(self, batch: Any) -> tuple[Any, Any] | None:
        """The parts of a batch for the model and for the loss; None if the loss calls the model itself."""
        return None if self._takes_model else halves(self.model, 0, batch)

    def value(self, model: nn.Module, batch: Any) -> Tensor:
        """The loss of a batch under a module that replaces the model, once a batch was visited."""
        parts = self.halves(batch)
        if parts is None:
            return alone(self.loss(model, batch))
        positional, keywords = arguments(self.model, parts[0])
        return self.value_at(model(*positional, **keywords), parts[1])

    def value_at(self, output: Any, target: Any) -> Tensor:
        """The loss of an output of the model, once a batch was visited."""
        return alone(self.loss(self._part(output) if self._takes_head else output, target))

    def run(self, i: int, batch: Any, name: str) -> tuple[Any, Any, Any, Any]:
        """Output, the part given to the loss, the loss's return value, and the target."""
        self.calls += 1
        if self._takes_model:
            return self._value_by_model(batch, name)
        x, y = halves(self.model, i, batch)
        try:
            output = call(self.model, x)
        except MISFITS as error:
            raise ModelError(f"{name}: {type(self.model).__name__} failed on its input: {error}") from error
        if isinstance(output, Tensor) and self.head is None:
            head = output.detach().requires_grad_() if self.detach else output
            try:
                return output, head, self.loss(head, y), y
            except MISFITS as error:
                if _called(error, head):
                    self._takes_model = True
                    return self._value_by_model(batch, name)
                raise self._failed(name, error) from error
        return self._value_of_part(output, batch, y, name)

    def _value_of_part(self, output: Any, batch: Any, y: Any, name: str) -> tuple[Any, Any, Any, Any]:
        """If the output is not a tensor, the loss gets all of it, or its head if it cannot handle all."""
        part = self._part(output)
        if self._takes_head is None:
            inside = any(part is tensor for _, tensor in _tensors_of_output(output))
            self._takes_head = part is not None and (self.terms is not None or not inside)
            if not self._takes_head:
                try:
                    return part if self.detach else output, part, self.loss(output, y), y
                except MISFITS as error:
                    if _called(error, output):
                        self._takes_model = True
                        return self._value_by_model(batch, name)
                    if part is None:
                        raise self._failed(name, error) from error
                    try:
                        self.loss(part, y)
                    except MISFITS:
                        raise self._failed(name, error) from error
                    self._takes_head = True
        argument = output
        if self._takes_head:
            assert part is not None
            argument = part.detach().requires_grad_() if self.detach else part
        try:
            value = self.loss(argument, y)
        except MISFITS as error:
            raise self._failed(name, error) from error
        return part if self.detach else output, argument if self._takes_head else part, value, y

    def _value_by_model(self, batch: Any, name: str) -> tuple[Any, Any, Any, Any]:
        outputs: list[Any] = []
        hook = self.model.register_forward_hook(lambda _, __, output: outputs.append(output))
        try:
            value = self.loss(self.model, batch)
        except MISFITS as error:
            raise ModelError(f"{name}: the loss of model and batch failed: {error}") from error
        finally:
            hook.remove()
        if not self.detach:
            return None, None, value, None
        if len(outputs) != 1:
            raise ModelError(
                f'{name}: the loss calls the model {len(outputs)} times; kind="ggn" needs one output between the '
                'weights and the loss: call the model once, or use "hessian"'
            )
        part = self._part(outputs[0])
        return part, part, value, None

    def _part(self, output: Any) -> Tensor | None:
        """The tensor of an output that the loss is computed from, if that is clear or was specified."""
        if self.head is not None:
            return _selected(output, self.head)
        if isinstance(output, Tensor):
            return output
        tensors_by_name = {
            name: t
            for name, t in _tensors_of_output(output)
            if t.ndim and (t.requires_grad or not torch.is_grad_enabled()) and t.is_floating_point()
        }
        if "logits" in tensors_by_name or len(tensors_by_name) == 1:
            return tensors_by_name.get("logits", next(iter(tensors_by_name.values())))
        if self.detach:
            names = ", ".join(name for name, _ in _tensors_of_output(output)) or "no tensor"
            raise ModelError(
                f"the model returns a {type(output).__name__} of {names}; "
                'kind="ggn" needs the tensor that the loss is taken of: name it by head=, a key, an index or a '
                'function of the output, or use "hessian"'
            )
        return None

    def _failed(self, name: str, error: Exception) -> ModelError:
        return ModelError(f"{name}: the loss failed on the model's output: {error}")


def alone(value: Any) -> Tensor:
    """The value that a loss returned, without its weight."""
    return value[0] if isinstance(value, tuple | list) else value


def _names_a_model(loss: Loss) -> bool:
    if isinstance(loss, nn.Module):
        return False
    try:
        first = next(iter(inspect.signature(loss).parameters), "")
    except (TypeError, ValueError):
        return False
    return first in _MODEL_NAMES


def _called(error: Exception, output: Any) -> bool:
    """Whether a loss failed because it called its first argument as a model."""
    return isinstance(error, TypeError) and f"'{type(output).__name__}' object is not callable" in str(error)


def _selected(output: Any, head: Head) -> Tensor:
    try:
        if callable(head):
            part = head(output)
        elif isinstance(head, str) and not isinstance(output, Mapping):
            part = getattr(output, head)
        else:
            part = output[head]
    except MISFITS:
        part = None
    if not isinstance(part, Tensor):
        names = ", ".join(name for name, _ in _tensors_of_output(output)) or "no tensor"
        raise ModelError(
            f"head={head!r} is not a tensor of the model's output, a {type(output).__name__} of {names}; give a key, "
            "an index or a function of the output that returns a tensor"
        )
    return part


def _tensors_of_output(output: Any) -> list[tuple[str, Tensor]]:
    if is_dataclass(output) and not isinstance(output, Mapping):
        output = vars(output)
    return [(name or "output", tensor) for name, tensor in named_tensors(output)]


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
    return flat_slopes(torch.autograd.grad(result.loss, parameters, allow_unused=True), parameters)


def flat_slopes(slopes: Iterable[Tensor | None], parameters: Iterable[Tensor]) -> Tensor:
    """A gradient as one vector; None, where the loss does not depend on a parameter, is zero."""
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
