"""The loss of a model over all batches, batch by batch; refuses losses without well-defined curvature."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from netassay.curvature.batches import named_parts, plain, sample_of, tensors
from netassay.curvature.forward import (
    MISFITS,
    Batches,
    BatchWeights,
    Evaluation,
    ForwardPass,
    Head,
    Loss,
    Weights,
    alone,
    numbers_of_all,
    trial_value,
    weight,
)
from netassay.curvature.model import (
    PYTHON,
    Generator,
    buffers_kept,
    cuda_devices,
    draw,
    original,
    own_generators,
    plain_backends,
    put_back,
    random_state,
    recurrence_step_by_step,
    shared_generators,
    state_of,
    states_kept,
    trainable_parameters,
)
from netassay.curvature.tape import differentiable_twice
from netassay.curvature.weighing import NoNumber
from netassay.errors import DataError, ModelError, NetassayError


def require_batches(batches: Any) -> None:
    if isinstance(batches, Iterator):
        raise DataError(
            f"batches is a {type(batches).__name__}, an iterator that can be gone over only once; "
            "give a list of (x, y) pairs or a DataLoader"
        )
    if isinstance(batches, Mapping) or (not isinstance(batches, Iterable) and not hasattr(batches, "__getitem__")):
        raise DataError(f"batches is of type {type(batches).__name__}; give a list of (x, y) pairs or a DataLoader")


def refuse_random(model: nn.Module, batches: int) -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.training and module.p > 0:
            raise ModelError(
                f"module {name!r} is {type(module).__name__}(p={module.p}) in train mode, so the loss is random; call "
                "model.eval()"
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


def require_scalar(i: int, name: str, value: Any, batch: Any) -> None:
    if not isinstance(value, Tensor) or value.ndim != 0:
        got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise ModelError(f"{name}: the loss returned {got}; it must return a scalar tensor: take its mean or sum")
    if torch.is_grad_enabled() and not value.requires_grad:
        raise ModelError(
            f"{name}: the loss does not depend on any trainable parameter; look for detach(), .data, no_grad() "
            "or rounding in the model and loss"
        )
    if value.is_complex():
        raise ModelError(f"{name}: the loss is a complex number; return its real part or its modulus")
    if not bool(value.isfinite()):
        _refuse_not_finite(name, batch)
        raise NoNumber(f"{name}: the loss is {value.item()}; the weights or the loss have left the finite numbers", i)


def refuse_data_not_finite(batches: Batches) -> None:
    """DataError if a batch holds NaN or infinity."""
    for i, batch in enumerate(batches):
        _refuse_not_finite(f"batch {i}", batch)


def _refuse_not_finite(name: str, batch: Any) -> None:
    for part, tensor in named_parts(batch):
        if not bool(tensor.isfinite().all()):
            raise DataError(f"{name}: {part} holds NaN or infinity; clean the data")


_T = TypeVar("_T")
_PASSES = 10  # enough to see a randomly dropped layer both ways
_SAMPLES = 4  # further passes over a sample: less work than one over all, and as likely to reveal randomness


class Objective:
    """The loss over all batches at the present weights of a model.

    The full loss is the sum of the batches' losses times their weights, over `total`. `reduction` says what the loss
    does over the terms of a batch ("mean" or "sum"; default: what the loss states, as a module or as
    `functools.partial(..., reduction=...)`, else "mean"). The weight of a mean is the number of its terms: that of
    `weights`, or that returned with the value, or that of the losses of `torch.nn`; of other losses one that makes two
    batches alone and joined agree, which is tried when the objective is made. With `detach`, the loss is taken
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
        detach: bool = False,
        order: int = 2,
    ) -> None:
        self.model, self.loss, self.batches = original(model), plain(loss), batches
        self.order, self.count, self.total = order, 0, 0.0
        self.forward = ForwardPass(self.model, self.loss, head, detach)
        self.weights = BatchWeights(weights, self.loss, reduction)
        self._surveyed: int | None = None  # number of batches, if they were counted beforehand
        # value and weight of each batch, and its tensors, in the first visit
        self._records: list[tuple[float, float, list[weakref.ref[Tensor]]]] = []
        self._sample: tuple[int, Any] | None = None  # number of the first batch with a term, and some examples of it
        self._repeats = False  # whether a second pass over all batches gave the same loss
        require_batches(batches)
        if order > 1:
            trainable_parameters(self.model)
        shared = shared_generators(batches)
        own = [g for g in own_generators(self.model, self.loss) if all(g is not s for s in shared)]
        self._generators: list[Generator] = [*shared, *own]
        self._begin = torch.get_rng_state(), [state_of(generator) for generator in self._generators]
        if self.weights.mean and self.weights.explicit is None and self.forward.terms is None:
            self._weigh_by_trial()

    def visit(self, of: Callable[[int, Evaluation], None], only: Container[int] | None = None) -> None:
        """Passes number and evaluation of each batch, or of those in `only`, to `of`, one after the other.

        The graphs live as long as `of` keeps them. Batches without a term are left out. `total` and `count` are known
        after the first full visit.
        """
        full = only is None
        count, total, records = 0, 0.0, []
        with self.undisturbed():
            for i, batch in enumerate(self.batches):
                self._refuse_random_at(i)
                count = i + 1
                if not full and i not in only:  # type: ignore[operator]
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
                number = 0.0 if evaluation is None else evaluation.weight
                value = 0.0 if evaluation is None else float(evaluation.loss.detach())
                records.append((value, number, [weakref.ref(t) for t in parts]))
                if self._sample is None and evaluation is not None:
                    self._sample = i, sample_of(batch)
                if evaluation is not None:
                    of(i, evaluation)
                del evaluation, batch, parts  # the next graph must not be built while this one is alive
        if not full:
            return
        if self._surveyed not in (None, count):
            raise DataError(
                f"batches changed between two passes: {self._surveyed} batches, then {count}; give data that repeat "
                "(no one-pass source)"
            )
        if count == 0:
            raise DataError("batches gave no (x, y) pair; give at least one")
        self.weights.require_number(count)
        if total <= 0:
            raise DataError("no batch has a term in its mean (all weights are 0, or all targets are ignored)")
        first = not self._records
        self.count, self.total, self._records = count, total if self.weights.mean else 1.0, records
        if first:
            self._require_repeat()

    @property
    def is_mean(self) -> bool:
        """Whether the loss of a batch is the mean of its terms, not their sum."""
        return self.weights.mean

    def run_model(self) -> None:
        """Runs the model on the first batch, for the effect of its hooks."""
        with self.undisturbed():
            self.forward.run_model(next(iter(self.batches)))

    def on_sample(self, of: Callable[[Evaluation], _T]) -> _T | None:
        """`of` some examples of the first batch as a batch of their own; None if they cannot be evaluated alone."""
        i, batch = self._sample or (0, None)
        if batch is None:
            return None
        with self.undisturbed():
            try:
                evaluation = self._evaluation(i, batch, f"a sample of batch {i}")
            except (*MISFITS, NetassayError):
                return None
            return None if evaluation is None else of(evaluation)

    def require_same_loss(self, before: float) -> None:
        """ModelError if a further pass does not give the loss of the first, `before`.

        Random numbers from other sources, such as the system or a clock, leave no other trace. A sample reveals them
        as well as all examples do; without a sample, modules of torch, which have no such source, cost no pass.
        """
        parts = (*self.model.modules(), *(self.loss.modules() if isinstance(self.loss, nn.Module) else ()))
        torches = all(type(part).__module__.partition(".")[0] in ("torch", "netassay") for part in parts)
        first = self.on_sample(_value)
        if first is not None:
            for _ in range(1 if torches else _SAMPLES):
                again = self.on_sample(_value)
                self._require_same(first, again if again is not None else (float("nan"), 0.0))
        elif not (torches or self._repeats):
            value, rounding = 0.0, 0.0

            def add(_: int, evaluation: Evaluation) -> None:
                nonlocal value, rounding
                loss, rounding = _value(evaluation)
                value += loss * evaluation.weight

            self.visit(add, only=range(self.count) if self._records else None)
            self._require_same((before, rounding), (value / self.total, rounding))

    def _require_same(self, first: tuple[float, float], again: tuple[float, float]) -> None:
        if not abs(again[0] - first[0]) <= first[1] * max(abs(again[0]), abs(first[0])):
            raise ModelError(
                f"{type(self.model).__name__} or the loss gives {first[0]:.6g} and then {again[0]:.6g} at the same "
                "weights and data, so the loss is random; call model.eval() or remove the randomness"
            )

    @contextmanager
    def undisturbed(self, *, later: bool = False) -> Iterator[None]:
        """Context that changes nothing outside; random states are the initial ones or, if `later`, others."""
        with (
            torch.random.fork_rng(devices=cuda_devices(self.model)),
            states_kept(self._generators),
            buffers_kept(self.model),
            plain_backends() if self.order > 1 else nullcontext(),
            recurrence_step_by_step(self.model) if self.order > 1 else nullcontext(),
            differentiable_twice(self.model) if self.order > 1 else nullcontext(),
            torch.set_grad_enabled(self.order > 0),
        ):
            torch.set_rng_state(self._begin[0])
            for generator, state in zip(self._generators, self._begin[1], strict=True):
                put_back(generator, state)
            if later:
                torch.rand(())
                for generator in self._generators:
                    draw(generator)
            yield

    def _weigh_by_trial(self) -> None:
        """Finds which number of terms weighs the batches; none for a single batch, or if the loss gives it."""

        def trial(numbers: tuple[int, ...], with_gradient: bool) -> Tensor:
            with self.undisturbed():
                return trial_value(self.batches, numbers, self._evaluation, self.model if with_gradient else None)

        with self.undisturbed():
            self._surveyed, counts = numbers_of_all(self.batches, self._refuse_random_at)
        if counts:
            self.weights.settle(counts, trial, is_list=isinstance(self.batches, list | tuple))

    def _refuse_random_at(self, i: int) -> None:
        if i < 2:
            refuse_random(self.model, i + 1)

    def _evaluation(self, i: int, batch: Any, name: str = "") -> Evaluation | None:
        """None for a batch without a term. `name` is that of the batch, for messages."""
        name = name or f"batch {i}"
        number = self.weights.before(i, batch)
        if number == 0:
            return None
        before = random_state(self.model, self._generators)
        output, head, value, target = self.forward.run(i, batch, name)
        returned = None
        if isinstance(value, tuple | list) and len(value) == 2:
            value, returned = value[0], weight(name, value[1])
        # runtime type checkers use Python's generator too: there only a change of the loss counts
        after = random_state(self.model, self._generators)
        changed = [a != b for a, b in zip(before, after, strict=True)]
        if any(changed) and (
            changed != [False, *(generator is PYTHON for generator in self._generators)]
            or self._varies(i, batch, name, value)
        ):
            raise ModelError(
                f"{name}: {type(self.model).__name__} or the loss drew random numbers (of torch, Python or NumPy), so "
                "the loss is random; call model.eval() or remove the randomness"
            )
        if returned is not None:
            self.weights.require_none_returned(self.loss)
        terms = self.forward.terms
        if terms is not None and self.weights.mean and number is None and isinstance(value, Tensor):
            number = terms(head, target)
        number = returned if returned is not None else 1.0 if number is None else number
        if number == 0:
            return None
        require_scalar(i, name, value, batch)
        return Evaluation(output, head, value, number, returned is not None, tuple(t.shape for t in tensors(batch)))

    def _varies(self, i: int, batch: Any, name: str, value: Tensor) -> bool:
        """Whether any of some further passes gives another loss."""
        first = float(value.detach())
        for _ in range(_PASSES):
            again = float(alone(self.forward.run(i, batch, name)[2]).detach())
            if not abs(again - first) <= 1e3 * torch.finfo(value.dtype).eps * abs(first):
                return True
        return False

    def _require_repeat(self) -> None:
        """The very same tensors need no second evaluation; others must give the same loss up to rounding."""
        if isinstance(self.batches, list | tuple):
            return
        count, evaluated, loss, total = 0, 0, 0.0, 0.0
        rounding = 0.0
        with self.undisturbed(later=True):
            for i, batch in enumerate(self.batches):
                count += 1
                value, number, before = self._records[i] if i < len(self._records) else (0.0, 0.0, [])
                now = tensors(batch)
                if not len(now) == len(before) > 0 or any(a() is not b for a, b in zip(before, now, strict=True)):
                    evaluation = self._evaluation(i, batch)
                    evaluated += 1
                    value, number = 0.0, 0.0
                    if evaluation is not None:
                        value, number = float(evaluation.loss.detach()), evaluation.weight
                        rounding = 1e3 * torch.finfo(evaluation.loss.dtype).eps
                    del evaluation
                loss, total = loss + number * value, total + number
        self._repeats = evaluated == count
        first = sum(number * value for value, number, _ in self._records) / self.total
        again = loss / (total if self.weights.mean and total else 1.0)
        if count != self.count or not abs(again - first) <= rounding * max(abs(first), abs(again)):
            raise DataError(
                f"batches changed between two passes at the same weights: {self.count} batches of loss {first:.6g}, "
                f"then {count} of loss {again:.6g}; give data that repeat (no random augmentation, no one-pass source)"
            )


def _value(evaluation: Evaluation) -> tuple[float, float]:
    """A loss, and how far another pass may be from it, relative to it."""
    return float(evaluation.loss.detach()), 1e3 * torch.finfo(evaluation.loss.dtype).eps


def _versions(parts: list[Tensor]) -> list[int]:
    """Number of writes to each tensor."""
    return [0 if t.is_inference() else t._version for t in parts]
