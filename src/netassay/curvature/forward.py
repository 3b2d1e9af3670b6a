"""One pass of a model and a loss over a batch, and the output tensor that the loss is computed from."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netassay.curvature.batches import IGNORED, arguments, call, halves, named_tensors
from netassay.errors import ModelError

Terms = Callable[[Tensor, Any], float]
"""terms(output, target) -> weight of the batch's mean among the means of others."""


def _entries(output: Tensor, target: Tensor, stated: Mapping[str, Any]) -> float:
    return math.prod(torch.broadcast_shapes(output.shape, target.shape))


def _weighted_entries(output: Tensor, target: Tensor, stated: Mapping[str, Any]) -> float:
    weight = stated.get("weight")
    return _entries(output, target, stated) if weight is None else float(weight.sum())


def _classes(output: Tensor, target: Tensor, stated: Mapping[str, Any]) -> float:
    if target.is_floating_point():  # probabilities of the classes: one term for each position
        return output.numel() / output.shape[min(1, output.ndim - 1)]
    # a given keyword of None would fail in torch itself
    labels = target[target != stated.get("ignore_index", IGNORED)]
    weight = stated.get("weight")
    return labels.numel() if weight is None else float(weight[labels].sum())


def _divergence(output: Tensor, target: Tensor, stated: Mapping[str, Any]) -> float:
    if stated.get("reduction") == "batchmean":
        return _first_dimension(output, target, stated)
    return _entries(output, target, stated)


def _first_dimension(output: Tensor, target: Tensor, stated: Mapping[str, Any]) -> float:
    return output.shape[0] if output.ndim > 1 else 1


def _rows(output: Tensor, target: Tensor, stated: Mapping[str, Any]) -> float:
    return output.numel() / output.shape[-1]


# `weight` and the like scale the terms of these without changing their number, except where the name says so
_BY_FUNCTION: dict[Any, Callable[[Tensor, Tensor, Mapping[str, Any]], float]] = {
    F.cross_entropy: _classes,
    F.nll_loss: _classes,
    F.mse_loss: _weighted_entries,
    F.l1_loss: _weighted_entries,
    F.smooth_l1_loss: _entries,
    F.huber_loss: _entries,
    F.binary_cross_entropy: _entries,
    F.binary_cross_entropy_with_logits: _entries,
    F.poisson_nll_loss: _entries,
    F.soft_margin_loss: _entries,
    F.hinge_embedding_loss: _entries,
    F.kl_div: _divergence,
    F.multi_margin_loss: _first_dimension,
    F.multilabel_margin_loss: _first_dimension,
    F.multilabel_soft_margin_loss: _rows,
}
_BY_MODULE: dict[type[nn.Module], Callable[[Tensor, Tensor, Mapping[str, Any]], float]] = {
    nn.CrossEntropyLoss: _classes,
    nn.NLLLoss: _classes,
    nn.MSELoss: _entries,
    nn.L1Loss: _entries,
    nn.SmoothL1Loss: _entries,
    nn.HuberLoss: _entries,
    nn.BCELoss: _entries,
    nn.BCEWithLogitsLoss: _entries,
    nn.PoissonNLLLoss: _entries,
    nn.SoftMarginLoss: _entries,
    nn.HingeEmbeddingLoss: _entries,
    nn.KLDivLoss: _divergence,
    nn.MultiMarginLoss: _first_dimension,
    nn.MultiLabelMarginLoss: _first_dimension,
    nn.MultiLabelSoftMarginLoss: _rows,
}


def plain(loss: Any) -> Any:
    """The loss before `torch.compile`."""
    loss = getattr(loss, "_torchdynamo_orig_callable", loss)
    return loss._modules.get("_orig_mod", loss) if isinstance(loss, nn.Module) else loss


def setting_of(loss: Any, name: str) -> Any:
    """A setting of a loss: an attribute of a module, a keyword of a partial function."""
    loss = plain(loss)
    if isinstance(loss, functools.partial):
        return loss.keywords.get(name, setting_of(loss.func, name))
    return getattr(loss, name, None)


def terms_of(loss: Any) -> Terms | None:
    """The number of terms in the mean of a loss of `torch.nn` or `torch.nn.functional`; None for any other loss."""
    loss = plain(loss)
    if isinstance(loss, nn.Module):
        # a subclass with a forward of its own computes something else
        count = next((c for k, c in _BY_MODULE.items() if type(loss).forward is k.forward), None)
        if count is None:
            return None
        settings = {
            name: value
            for name in ("weight", "ignore_index", "reduction")
            if (value := getattr(loss, name, None)) is not None
        }
        return functools.partial(_count, count, settings)
    keywords: dict[str, Any] = {}
    while isinstance(loss, functools.partial):
        if loss.args:
            return None
        keywords = {**loss.keywords, **keywords}
        loss = loss.func
    entry = next((count for function, count in _BY_FUNCTION.items() if loss is function), None)
    if entry is None or keywords.keys() & {"size_average", "reduce"}:
        return None
    return functools.partial(_count, entry, keywords)


def _count(
    count: Callable[[Tensor, Tensor, Mapping[str, Any]], float],
    settings: Mapping[str, Any],
    output: Tensor,
    target: Any,
) -> float:
    return float(count(output, target, settings))


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
