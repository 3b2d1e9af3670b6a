"""The loss of a model over all batches, batch by batch, refusing what has no well-defined curvature."""

from __future__ import annotations

import copy
import functools
import inspect
import random
import weakref
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netassay.curvature.backends import plain_backends
from netassay.curvature.batches import (
    arguments,
    call,
    examples,
    halves,
    joined,
    named_parts,
    named_tensors,
    numbers_of_terms,
    require_examples,
    tensors,
)
from netassay.curvature.blocks import original, trainable_parameters
from netassay.curvature.primitives import differentiable_twice
from netassay.curvature.terms import plain, stated, terms_of
from netassay.curvature.weighing import NoNumber, proportions, weighed
from netassay.errors import DataError, ModelError

Loss = Callable[[Any, Any], Any]
"""loss(output, target) -> scalar of one batch, the mean or the sum over its terms; or loss(model, batch), its first
parameter named model. Either may return (value, weight) with the number of terms that the value is a mean of.
"""

Batches = Iterable[Any]
"""Batches that can be gone over again: (x, y) pairs, or mappings that hold inputs and labels.

Of a pair, a tuple x is the model's arguments, a mapping its keywords, or its one argument where the model has no
such keywords. Of a mapping, the model gets the keys that its `forward` names, the loss the first of `batches.TARGETS`.
"""

Head = str | int | Callable[[Any], Tensor]
"""Which tensor of a model's output the loss is taken of: a key or attribute, an index, or a function of the output."""

Weights = Iterable[float | int] | Callable[[Any], Any]
"""One number a batch, in their order, or weights(batch) -> number."""

_MODEL_NAMES = ("model", "module", "net", "network")
# what torch raises when shapes and types do not fit, and what an output of another form raises
_MISFITS = (RuntimeError, ValueError, IndexError, TypeError, KeyError, AttributeError)


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
        """Whether the loss was taken at a copy of the output, so that nothing else can have entered it."""
        return self.head is not self.output


class Objective:
    """The loss over all batches at the weights of a model as they are when asked.

    The full loss is the sum of the batches' losses times their weights, over `total`. `reduction` says what the loss
    does over the terms of a batch ("mean" or "sum"; default: what the loss states, as a module or as
    `functools.partial(..., reduction=...)`, else "mean"). The weight of a mean is the number of its terms: that of
    `weights`, or that returned with the value, or that of the losses of `torch.nn`; of other losses one that makes two
    batches alone and joined agree, which is tried when the objective is made. With `cut`, the loss is taken
    at a detached copy of the output where that is a tensor. `order` is the highest derivative of the loss that will be
    taken, 2, 1 or 0: below 2 torch keeps its fast backends, at 0 there are no graphs. Mode, gradients, buffers, random
    states and flags of torch stay as they were. Raises ModelError or DataError for what cannot be assayed, and in the
    first full visit if a second pass does not give the same loss.
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
        cut: bool = False,
        order: int = 2,
    ) -> None:
        self.model, self.loss, self.batches = original(model), plain(loss), batches
        self.cut, self.head, self.order = cut, head, order
        self.count, self.total = 0, 0.0
        self._mean = _reduction(self.loss, reduction) == "mean"
        self._weights = _given(weights, self._mean)
        self._terms = terms_of(self.loss)
        self._takes_model = _names_a_model(self.loss)
        self._takes_head: bool | None = None  # of an output that is no tensor; decided on the first batch
        self._kind: str | None = None  # which of the numbers of terms weighs the batches
        self._kind_weights: list[float] | None = None  # by it, where the batches are a list
        self._surveyed: int | None = None  # number of batches, where they were counted beforehand
        # value and weight of each batch, and its tensors, in the first visit
        self._seen: list[tuple[float, float, list[weakref.ref[Tensor]]]] = []
        _require_batches(batches)
        if order > 1:
            trainable_parameters(self.model)
        shared = _shared_generators(batches)
        own = [g for g in _own_generators(self.model, self.loss) if all(g is not one for one in shared)]
        self._generators: list[Generator] = [*shared, *own]
        self._begin = torch.get_rng_state(), [_state(generator) for generator in self._generators]
        if self._mean and self._weights is None and self._terms is None:
            self._kind = self._kind_by_trial()

    def visit(self, of: Callable[[int, Evaluation], None], only: Container[int] | None = None) -> None:
        """Hands number and evaluation of each batch, or of those in `only`, to `of`, one after the other.

        The graphs live as long as `of` keeps them. Batches without a term are left out. `total` and `count` are known
        after the first full visit.
        """
        whole = only is None
        count, total, seen = 0, 0.0, []
        with self.undisturbed():
            for i, batch in enumerate(self.batches):
                if i < 2:
                    _refuse_random(self.model, i + 1)
                count = i + 1
                if not whole and i not in only:  # type: ignore[operator]
                    continue
                parts = tensors(batch)
                versions = _versions(parts)
                evaluation = self._evaluation(i, batch)
                if _versions(parts) != versions:
                    raise ModelError(
                        f"{type(self.model).__name__} or the loss changes its input in place, so the data are no "
                        "longer what they were; let it work on a copy (x.clone(), or inplace=False)"
                    )
                if evaluation is not None:
                    total += evaluation.weight
                value = 0.0 if evaluation is None else float(evaluation.loss.detach())
                weight = 0.0 if evaluation is None else evaluation.weight
                seen.append((value, weight, [weakref.ref(t) for t in parts]))
                if evaluation is not None:
                    of(i, evaluation)
                del evaluation, batch, parts  # the next graph must not be built while this one is alive
        if not whole:
            return
        if self._surveyed not in (None, count):
            raise DataError(
                f"batches changed between two passes: {self._surveyed} batches, then {count}; give data that repeat "
                "(no one-pass source)"
            )
        if count == 0:
            raise DataError("batches gave no (x, y) pair; give at least one")
        if isinstance(self._weights, list) and len(self._weights) != count:
            raise DataError(
                f"weights holds {len(self._weights)} numbers for {count} batches; give one a batch"
            )
        if total <= 0:
            raise DataError("no batch has a term in its mean (all weights are 0, or all targets are ignored)")
        first = not self._seen
        self.count, self.total, self._seen = count, total if self._mean else 1.0, seen
        if first:
            self._require_repeat()

    @property
    def is_mean(self) -> bool:
        """Whether the loss of a batch is the mean of its terms, not their sum."""
        return self._mean

    def run_model(self) -> None:
        """The model on the first batch, for what its hooks do."""
        with self.undisturbed():
            batch = next(iter(self.batches))
            if self._takes_model:
                self.loss(self.model, batch)
            else:
                call(self.model, halves(self.model, 0, batch)[0])

    def halves(self, batch: Any) -> tuple[Any, Any] | None:
        """What of a batch goes to the model, and what to the loss; None where the loss calls the model itself."""
        return None if self._takes_model else halves(self.model, 0, batch)

    def value(self, model: nn.Module, batch: Any) -> Tensor:
        """The loss of a batch under a module that stands in for the model, once a batch was visited."""
        parts = self.halves(batch)
        if parts is None:
            return _alone(self.loss(model, batch))
        positional, named = arguments(self.model, parts[0])
        return self.value_at(model(*positional, **named), parts[1])

    def value_at(self, output: Any, target: Any) -> Tensor:
        """The loss of an output of the model, once a batch was visited."""
        return _alone(self.loss(self._part(output) if self._takes_head else output, target))

    def require_same_loss(self, before: float) -> None:
        """ModelError where a further pass does not give the loss of the first, `before`.

        What draws from a source of its own, such as the system's or a clock, leaves no other trace. The modules of
        torch have none, and cost no pass.
        """
        parts = (*self.model.modules(), *(self.loss.modules() if isinstance(self.loss, nn.Module) else ()))
        if all(type(part).__module__.partition(".")[0] in ("torch", "netassay") for part in parts):
            return
        again, rounding = 0.0, 0.0

        def add(_: int, evaluation: Evaluation) -> None:
            nonlocal again, rounding
            again += float(evaluation.loss.detach()) * evaluation.weight
            rounding = 1e3 * torch.finfo(evaluation.loss.dtype).eps

        self.visit(add, only=range(self.count) if self._seen else None)
        again /= self.total
        if not abs(again - before) <= rounding * max(abs(again), abs(before)):
            raise ModelError(
                f"{type(self.model).__name__} or the loss gives {before:.6g} and then {again:.6g} at the same weights "
                "and data, so the loss is random; call model.eval() or remove the randomness"
            )

    @contextmanager
    def undisturbed(self, *, later: bool = False) -> Iterator[None]:
        """Nothing outside is changed; random states are those of the beginning, or, `later`, others."""
        with (
            torch.random.fork_rng(devices=_cuda(self.model)),
            _states_kept(self._generators),
            _buffers_kept(self.model),
            plain_backends() if self.order > 1 else nullcontext(),
            differentiable_twice(self.model) if self.order > 1 else nullcontext(),
            torch.set_grad_enabled(self.order > 0),
        ):
            torch.set_rng_state(self._begin[0])
            for generator, state in zip(self._generators, self._begin[1], strict=True):
                _put_back(generator, state)
            if later:
                torch.rand(())
                for generator in self._generators:
                    _draw(generator)
            yield

    def _evaluation(self, i: int, batch: Any, name: str = "") -> Evaluation | None:
        """None for a batch without a term. `name` is that of the batch, for messages."""
        name = name or f"batch {i}"
        weight = self._weight_before(i, batch)
        if weight == 0:
            return None
        before = _random_state(self.model, self._generators)
        output, head, value, target = self._value(i, batch, name)
        returned = None
        if isinstance(value, tuple | list) and len(value) == 2:
            value, returned = value[0], _weight(name, value[1])
        # type checkers of Python draw from its generator too: only what changes the loss counts there
        after = _random_state(self.model, self._generators)
        changed = [a != b for a, b in zip(before, after, strict=True)]
        if any(changed) and (
            changed != [False, *(one is _PYTHON for one in self._generators)]
            or self._varies(i, batch, name, value)
        ):
            raise ModelError(
                f"{name}: {type(self.model).__name__} or the loss drew random numbers (of torch, Python or NumPy), so "
                "the loss is random; call model.eval() or remove the randomness"
            )
        if returned is not None and self._mean and self._weights is not None:
            raise ModelError(f"{_name(self.loss)} returns weights of its own; leave weights= out")
        if returned is not None and not self._mean:
            raise ModelError(
                f"{_name(self.loss)} returns a weight with its value, as a mean does, and is said to be a sum; "
                "return the value alone"
            )
        if self._terms is not None and self._mean and weight is None and isinstance(value, Tensor):
            weight = self._terms(head, target)
        weight = returned if returned is not None else 1.0 if weight is None else weight
        if weight == 0:
            return None
        _require_scalar(i, name, value, batch, self.order > 0)
        return Evaluation(
            output, head, value, weight, returned is not None, tuple(t.shape for t in tensors(batch))
        )

    def _varies(self, i: int, batch: Any, name: str, value: Tensor) -> bool:
        """Whether any of some further passes gives another loss."""
        first = float(value.detach())
        for _ in range(_PASSES):
            again = float(_alone(self._value(i, batch, name)[2]).detach())
            if not abs(again - first) <= 1e3 * torch.finfo(value.dtype).eps * abs(first):
                return True
        return False

    def _weight_before(self, i: int, batch: Any) -> float | None:
        """The weight of a batch where it is known before the loss is."""
        if not self._mean:
            return 1.0
        if callable(self._weights):
            return _weight(f"batch {i}", self._weights(batch))
        if self._weights is not None:
            # that there are too few is said when the batches were counted
            return self._weights[i] if i < len(self._weights) else 1.0
        if self._kind_weights is not None and i < len(self._kind_weights):
            return self._kind_weights[i]
        return None if self._kind is None else numbers_of_terms(i, batch)[self._kind]

    def _value(self, i: int, batch: Any, name: str) -> tuple[Any, Any, Any, Any]:
        """Output, what the loss was given of it, what the loss returned, and the target."""
        if self._takes_model:
            return self._value_by_model(batch, name)
        x, y = halves(self.model, i, batch)
        try:
            output = call(self.model, x)
        except _MISFITS as error:
            raise ModelError(f"{name}: {type(self.model).__name__} failed on its input: {error}") from error
        if isinstance(output, Tensor) and self.head is None:
            head = output.detach().requires_grad_() if self.cut else output
            try:
                return output, head, self.loss(head, y), y
            except _MISFITS as error:
                if _called(error, head):
                    self._takes_model = True
                    return self._value_by_model(batch, name)
                raise self._failed(name, error) from error
        return self._value_of_part(output, batch, y, name)

    def _value_of_part(self, output: Any, batch: Any, y: Any, name: str) -> tuple[Any, Any, Any, Any]:
        """Of an output that is no tensor, the loss is given the whole, or its head if it cannot take the whole."""
        part = self._part(output)
        if self._takes_head is None:
            inside = any(part is tensor for _, tensor in _tensors_of_output(output))
            self._takes_head = part is not None and (self._terms is not None or not inside)
            if not self._takes_head:
                try:
                    return part if self.cut else output, part, self.loss(output, y), y
                except _MISFITS as error:
                    if _called(error, output):
                        self._takes_model = True
                        return self._value_by_model(batch, name)
                    if part is None:
                        raise self._failed(name, error) from error
                    try:
                        self.loss(part, y)
                    except _MISFITS:
                        raise self._failed(name, error) from error
                    self._takes_head = True
        given = output
        if self._takes_head:
            assert part is not None
            given = part.detach().requires_grad_() if self.cut else part
        try:
            value = self.loss(given, y)
        except _MISFITS as error:
            raise self._failed(name, error) from error
        return part if self.cut else output, given if self._takes_head else part, value, y

    def _value_by_model(self, batch: Any, name: str) -> tuple[Any, Any, Any, Any]:
        outputs: list[Any] = []
        hook = self.model.register_forward_hook(lambda _, __, output: outputs.append(output))
        try:
            value = self.loss(self.model, batch)
        except _MISFITS as error:
            raise ModelError(f"{name}: the loss of model and batch failed: {error}") from error
        finally:
            hook.remove()
        if not self.cut:
            return None, None, value, None
        if len(outputs) != 1:
            raise ModelError(
                f'{name}: the loss calls the model {len(outputs)} times; kind="ggn" needs one output between the '
                'weights and the loss: call the model once, or use "hessian"'
            )
        part = self._part(outputs[0])
        return part, part, value, None

    def _part(self, output: Any) -> Tensor | None:
        """The tensor of an output that the loss is taken of, where that is plain or was said."""
        if self.head is not None:
            return _selected(output, self.head)
        if isinstance(output, Tensor):
            return output
        tensors_by_name = {
            name: t
            for name, t in _tensors_of_output(output)
            if t.ndim and (t.requires_grad or not self.order) and t.is_floating_point()
        }
        if "logits" in tensors_by_name or len(tensors_by_name) == 1:
            return tensors_by_name.get("logits", next(iter(tensors_by_name.values())))
        if self.cut:
            names = ", ".join(name for name, _ in _tensors_of_output(output)) or "no tensor"
            raise ModelError(
                f"the model returns a {type(output).__name__} of {names}; "
                'kind="ggn" needs the tensor that the loss is taken of: name it by head=, a key, an index or a '
                'function of the output, or use "hessian"'
            )
        return None

    def _failed(self, name: str, error: Exception) -> ModelError:
        return ModelError(f"{name}: the loss failed on the model's output: {error}")

    def _kind_by_trial(self) -> str | None:
        """Which number of terms weighs the batches; None for a single batch, or if the loss says it."""
        counts: list[dict[str, float]] = []
        waiting, self._surveyed = None, 0
        with self.undisturbed():
            for i, batch in enumerate(self.batches):
                self._surveyed = i + 1
                if i < 2:
                    _refuse_random(self.model, i + 1)
                if i == 0:
                    require_examples(0, batch)
                    waiting = batch
                    continue
                if i == 1:
                    counts.append(numbers_of_terms(0, waiting))
                    waiting = None
                counts.append(numbers_of_terms(i, batch))
        if not counts:
            return None
        try:
            kind = weighed(proportions(counts), self._trial)
        except _Stated:
            return None
        if isinstance(self.batches, list | tuple):
            self._kind_weights = [one[kind] for one in counts]
        return kind

    def _trial(self, numbers: tuple[int, ...], with_gradient: bool) -> Tensor:
        """Value, or gradient, of the loss of one batch, or of two joined."""
        with self.undisturbed():
            return self._tried(numbers, with_gradient)

    def _tried(self, numbers: tuple[int, ...], with_gradient: bool) -> Tensor:
        several = self._fetched(numbers)
        batch, name = several[0], f"batch {numbers[0]}"
        if len(several) == 2:
            sizes = examples(numbers[0], several[0]), examples(numbers[1], several[1])
            batch = joined(several[0], several[1], sizes)
            name = f"batches {numbers[0]} and {numbers[1]} joined"
        with torch.set_grad_enabled(with_gradient or self.order > 0):
            evaluation = self._evaluation(numbers[0], batch, name)
        if evaluation is None or evaluation.stated:
            raise _Stated
        if not with_gradient:
            return evaluation.loss.detach().reshape(1)
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        slopes = torch.autograd.grad(evaluation.loss, parameters, allow_unused=True)
        return torch.cat([
            (torch.zeros_like(p) if g is None else g).reshape(-1) for p, g in zip(parameters, slopes, strict=True)
        ])  # fmt: skip

    def _fetched(self, numbers: Sequence[int]) -> list[Any]:
        if isinstance(self.batches, list | tuple):
            return [self.batches[i] for i in numbers]
        several = {i: batch for i, batch in enumerate(self.batches) if i in numbers}
        return [several[i] for i in numbers]

    def _require_repeat(self) -> None:
        """The very same tensors need no second evaluation; others must give the same loss up to rounding."""
        if isinstance(self.batches, list | tuple):
            return
        count, loss, total = 0, 0.0, 0.0
        rounding = 0.0
        with self.undisturbed(later=True):
            for i, batch in enumerate(self.batches):
                count += 1
                value, weight, before = self._seen[i] if i < len(self._seen) else (0.0, 0.0, [])
                now = tensors(batch)
                if not len(now) == len(before) > 0 or any(
                    a() is not b for a, b in zip(before, now, strict=True)
                ):
                    evaluation = self._evaluation(i, batch)
                    value, weight = 0.0, 0.0
                    if evaluation is not None:
                        value, weight = float(evaluation.loss.detach()), evaluation.weight
                        rounding = 1e3 * torch.finfo(evaluation.loss.dtype).eps
                    del evaluation
                loss, total = loss + weight * value, total + weight
        first = sum(weight * value for value, weight, _ in self._seen) / self.total
        again = loss / (total if self._mean and total else 1.0)
        if count != self.count or not abs(again - first) <= rounding * max(abs(first), abs(again)):
            raise DataError(
                f"batches changed between two passes at the same weights: {self.count} batches of loss {first:.6g}, "
                f"then {count} of loss {again:.6g}; give data that repeat (no random augmentation, no one-pass source)"
            )


def _alone(value: Any) -> Tensor:
    """The value that a loss returned, without its weight."""
    return value[0] if isinstance(value, tuple | list) else value


class _Stated(Exception):
    """The loss returns its weight by itself."""


def evaluate(
    model: nn.Module,
    loss: Loss,
    batches: Batches,
    *,
    reduction: str | None = None,
    weights: Weights | None = None,
    head: Head | None = None,
    cut: bool = False,
) -> list[Evaluation]:
    """Output and loss of every batch, all graphs at once, with weights such that the full loss is the weighted sum.

    Arguments and errors are those of `Objective`, which goes from batch to batch instead.
    """
    objective = Objective(model, loss, batches, reduction=reduction, weights=weights, head=head, cut=cut)
    done: list[Evaluation] = []
    objective.visit(lambda _, evaluation: done.append(evaluation))
    return [replace(one, weight=one.weight / objective.total) for one in done]


def _require_batches(batches: Any) -> None:
    if isinstance(batches, Iterator):
        raise DataError(
            f"batches is a {type(batches).__name__}, an iterator that can be gone over only once; "
            "give a list of (x, y) pairs or a DataLoader"
        )
    if isinstance(batches, Mapping) or (
        not isinstance(batches, Iterable) and not hasattr(batches, "__getitem__")
    ):
        raise DataError(
            f"batches is of type {type(batches).__name__}; give a list of (x, y) pairs or a DataLoader"
        )


def _given(weights: Any, mean: bool) -> list[float] | Callable[[Any], float] | None:
    if weights is None or callable(weights):
        given = weights
    else:
        given = [_weight(f"batch {i}", weight) for i, weight in enumerate(weights)]
    if given is not None and not mean:
        raise ModelError("weights are the numbers of terms of means, and the loss is a sum; leave one out")
    return given


def _weight(name: str, given: Any) -> float:
    try:
        weight = float(given.detach() if isinstance(given, Tensor) else given)
    except _MISFITS:
        weight = -1.0
    if not 0 <= weight < float("inf"):
        raise DataError(f"{name}: its weight is {given!r}; a weight is a finite number from 0 on")
    return weight


def _names_a_model(loss: Loss) -> bool:
    if isinstance(loss, nn.Module):
        return False
    try:
        first = next(iter(inspect.signature(loss).parameters), "")
    except (TypeError, ValueError):
        return False
    return first in _MODEL_NAMES


def _called(error: Exception, output: Any) -> bool:
    """Whether a loss failed because it called what it took for the model."""
    return isinstance(error, TypeError) and f"'{type(output).__name__}' object is not callable" in str(error)


def _reduction(loss: Loss, given: str | None) -> str:
    said = stated(loss, "reduction")
    if said == "batchmean" and terms_of(loss) is not None:
        said = "mean"  # over the examples
    reduction = given or said or "mean"
    if reduction not in ("mean", "sum"):
        origin = "reduction" if given else f"the reduction of {_name(loss)}"
        raise ModelError(
            f'{origin} is {reduction!r}; a batch must have one number: allowed are "mean" and "sum" over '
            "its examples"
        )
    if said in ("mean", "sum") and reduction != said:
        raise ModelError(
            f"{_name(loss)} takes the {said} and reduction is {reduction!r}; leave reduction out"
        )
    return str(reduction)


def _name(loss: Loss) -> str:
    function = loss.func if isinstance(loss, functools.partial) else loss
    return getattr(function, "__name__", type(function).__name__)


def _selected(output: Any, head: Head) -> Tensor:
    try:
        if callable(head):
            part = head(output)
        elif isinstance(head, str) and not isinstance(output, Mapping):
            part = getattr(output, head)
        else:
            part = output[head]
    except _MISFITS:
        part = None
    if not isinstance(part, Tensor):
        names = ", ".join(name for name, _ in _tensors_of_output(output)) or "no tensor"
        raise ModelError(
            f"head={head!r} is no tensor of the model's output, a {type(output).__name__} of {names}; give a key, an "
            "index or a function of the output that returns a tensor"
        )
    return part


def _tensors_of_output(output: Any) -> list[tuple[str, Tensor]]:
    if is_dataclass(output) and not isinstance(output, Mapping):
        output = vars(output)
    return [(name or "output", tensor) for name, tensor in named_tensors(output)]


def _refuse_random(model: nn.Module, batches: int) -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.training and module.p > 0:
            raise ModelError(
                f"module {name!r} is {type(module).__name__}(p={module.p}) in train mode, so the loss is "
                "random; "
                "call model.eval()"
            )
        drops = isinstance(module, nn.MultiheadAttention | nn.RNNBase) and module.training
        if drops and module.dropout > 0:
            raise ModelError(
                f"module {name!r} is {type(module).__name__} with dropout {module.dropout} in train mode, so the "
                "loss is random; call model.eval()"
            )
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and batches > 1:
            own = module.training or module.running_mean is None
            if own:
                raise ModelError(
                    f"module {name!r} is {type(module).__name__} normalising by each batch, so the loss over "
                    "several batches is not that of the data as a whole; give one batch, or call model.eval()"
                )


def _require_scalar(i: int, name: str, value: Any, batch: Any, with_graph: bool) -> None:
    if not isinstance(value, Tensor) or value.ndim != 0:
        got = (
            f"a tensor of shape {tuple(value.shape)}"
            if isinstance(value, Tensor)
            else f"a {type(value).__name__}"
        )
        raise ModelError(
            f"{name}: the loss returned {got}; it must return a scalar tensor: take its mean or sum"
        )
    if with_graph and not value.requires_grad:
        raise ModelError(
            f"{name}: the loss does not depend on any trainable parameter; look for detach(), .data, no_grad() "
            "or rounding in the model and loss"
        )
    if value.is_complex():
        raise ModelError(f"{name}: the loss is a complex number; return its real part or its modulus")
    if not bool(value.isfinite()):
        _refuse_not_finite(name, batch)
        raise NoNumber(
            f"{name}: the loss is {value.item()}; the weights or the loss have left the finite numbers", i
        )


def refuse_data_not_finite(batches: Batches) -> None:
    """DataError where a batch holds NaN or infinity."""
    for i, batch in enumerate(batches):
        _refuse_not_finite(f"batch {i}", batch)


def _refuse_not_finite(name: str, batch: Any) -> None:
    for part, tensor in named_parts(batch):
        if not bool(tensor.isfinite().all()):
            raise DataError(f"{name}: {part} holds NaN or infinity; clean the data")


def _versions(parts: list[Tensor]) -> list[int]:
    """How often each tensor was written to."""
    return [0 if t.is_inference() else t._version for t in parts]


_PYTHON: random.Random = random.random.__self__  # type: ignore[attr-defined]
_NUMPY: np.random.RandomState = np.random.get_state.__self__  # type: ignore[attr-defined]
_PASSES = 10  # after which a layer that is kept or dropped by a coin has been seen both ways

Generator = torch.Generator | random.Random | np.random.Generator | np.random.RandomState


def _random_state(model: nn.Module, own: list[Generator]) -> list[Any]:
    """One of each of `own`, and before them one of all that torch's own functions draw from."""
    devices = [torch.cuda.get_rng_state(d) for d in _cuda(model)]
    torches = _frozen((torch.get_rng_state(), *devices))
    return [torches, *(_frozen(_state(generator)) for generator in own)]


def _draw(generator: Generator) -> None:
    if isinstance(generator, torch.Generator):
        torch.rand((), generator=generator, device=generator.device)
    elif isinstance(generator, np.random.RandomState):
        generator.random_sample()
    else:
        generator.random()


def _state(generator: Generator) -> Any:
    if isinstance(generator, random.Random):
        return generator.getstate()
    return (
        generator.bit_generator.state if isinstance(generator, np.random.Generator) else generator.get_state()
    )


def _put_back(generator: Generator, state: Any) -> None:
    if isinstance(generator, random.Random):
        generator.setstate(state)
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    else:
        generator.set_state(state)


def _frozen(state: Any) -> Any:
    """A state as values that can be compared."""
    if isinstance(state, Tensor):
        return state.cpu().numpy().tobytes()
    if isinstance(state, np.ndarray):
        return state.tobytes()
    if isinstance(state, Mapping):
        return {key: _frozen(part) for key, part in state.items()}
    # the parts of long tuples, as that of Python's generator is, are numbers
    if isinstance(state, tuple) and len(state) < 10:
        return tuple(map(_frozen, state))
    return state


def _shared_generators(batches: Batches) -> list[Generator]:
    """Those of Python and NumPy that all share, and those that a loader of the batches has for itself."""
    samplers = [getattr(batches, "sampler", None), getattr(batches, "batch_sampler", None)]
    samplers.append(getattr(samplers[1], "sampler", None))
    own = [getattr(part, "generator", None) for part in (batches, *samplers)]
    return [_PYTHON, _NUMPY, *{id(one): one for one in own if isinstance(one, Generator)}.values()]


def _own_generators(model: nn.Module, loss: Loss) -> list[Generator]:
    """Generators that the model's modules or the loss hold as attributes, keywords or in a closure, and the global ones
    that their code names.
    """
    held: list[Any] = []
    for part in (*model.modules(), loss, getattr(loss, "func", None)):
        held += getattr(part, "__dict__", {}).values()
        held += getattr(part, "keywords", {}).values()
        held += [cell.cell_contents for cell in getattr(part, "__closure__", None) or () if _filled(cell)]
        held += getattr(part, "__defaults__", None) or ()
    for function in {getattr(part, "forward", part) for part in (*model.modules(), loss)}:
        code = getattr(function, "__code__", None)
        known = getattr(function, "__globals__", {})
        held += [known[name] for name in getattr(code, "co_names", ()) if name in known]
    found = {id(one): one for one in held if isinstance(one, Generator)}
    return [*found.values()]


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


@contextmanager
def _states_kept(generators: list[Generator]) -> Iterator[None]:
    states = [_state(generator) for generator in generators]
    try:
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            _put_back(generator, state)


def _cuda(model: nn.Module) -> list[int]:
    return sorted({p.device.index for p in model.parameters() if p.device.type == "cuda"})


@contextmanager
def _buffers_kept(model: nn.Module) -> Iterator[None]:
    """Copies stand in for the buffers meanwhile.

    Writing the old values back instead would invalidate the graph that was built on the buffers.
    """
    kept = [(m, name, b) for m in model.modules() for name, b in m._buffers.items() if b is not None]
    copies = {id(b): b.clone() for _, _, b in kept}
    for module, name, buffer in kept:
        module._buffers[name] = copies[id(buffer)]
    try:
        yield
    finally:
        for module, name, buffer in kept:
            module._buffers[name] = buffer


def copied(model: nn.Module) -> nn.Module:
    """A copy that shares nothing with the model, and whose trainable weights may be written to.

    What a module computed in its last forward pass and keeps as an attribute, as `torch.nn.utils.weight_norm` keeps the
    weight, has a graph, which `copy.deepcopy` refuses: its value is copied without.
    """
    computed = [
        t for m in model.modules() for t in vars(m).values() if isinstance(t, Tensor) and not t.is_leaf
    ]
    return copy.deepcopy(model, {id(t): t.detach().clone() for t in computed})
