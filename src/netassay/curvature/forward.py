"""One pass of a model and a loss over a batch, and the output tensor that the loss is computed from."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from netassay.curvature.batches import arguments, call, halves, named_tensors
from netassay.curvature.terms import terms_of
from netassay.errors import ModelError

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
