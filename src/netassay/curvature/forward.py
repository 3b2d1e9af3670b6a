"""One pass of a model and loss over all batches, refusing what has no well-defined curvature."""

from __future__ import annotations

import copy
import functools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netassay.errors import DataError, ModelError, NotFinite

Loss = Callable[[Any, Any], Tensor]
"""loss(output, target) -> scalar of one batch, the mean or the sum over its examples."""

Batches = Iterable[tuple[Any, Any]]
"""(x, y) pairs that can be gone over again. A tuple x becomes the model's arguments, a dict its keywords."""


_IGNORED = -100  # target that torch's functional losses leave out unless told otherwise
_MISFITS = (
    RuntimeError,
    ValueError,
    IndexError,
    TypeError,
)  # what torch raises when shapes and types do not fit


@dataclass(frozen=True)
class Evaluation:
    """One batch, with its autograd graph. `head` is what the loss was given: the output, or a cut-off
    copy of it.
    """

    output: Any
    head: Any
    loss: Tensor
    weight: float  # of this batch's loss in the whole


def evaluate(
    model: nn.Module, loss: Loss, batches: Batches, *, reduction: str | None = None, cut: bool = False
) -> list[Evaluation]:
    """Output and loss of every batch with weights such that the full loss is the weighted sum.

    `reduction` says what the loss does over the examples of a batch ("mean" or "sum"; default: what the loss
    states, as a module or as `functools.partial(..., reduction=...)`, else "mean"). Examples are counted as
    the first dimension of y (of its tensors, if it holds several). With `cut`, the loss is taken at a
    detached copy of the output. Mode, gradients, buffers and random state of the model stay as they were.
    Raises ModelError or DataError for what cannot be assayed, and when a second
    pass does not give the same loss.
    """
    mean = _reduction(loss, reduction) == "mean"
    if isinstance(batches, Iterator):
        raise DataError(
            f"batches is a {type(batches).__name__}, an iterator that can be gone over only once; "
            "give a list of (x, y) pairs or a DataLoader"
        )
    if not isinstance(batches, Iterable) and not hasattr(batches, "__getitem__"):
        raise DataError(
            f"batches is of type {type(batches).__name__}; give a list of (x, y) pairs or a DataLoader"
        )
    shared = _shared_generators(batches)
    with torch.random.fork_rng(devices=_cuda(model)), _states_kept(shared):
        first = list(_pairs(batches))
        if not first:
            raise DataError("batches gave no (x, y) pair; give at least one")
        _refuse_random(model, len(first))
        if mean and len(first) > 1:
            _refuse_unequal(loss, [y for _, y in first])
        counts = [_examples(i, x, y) for i, (x, y) in enumerate(first)]
        weights = [n / sum(counts) if mean else 1.0 for n in counts]
        versions = _versions(first)
        own = [*shared, *_own_generators(model, loss)]
        with torch.enable_grad(), _buffers_kept(model), _states_kept(own):
            done = [
                _evaluation(model, loss, i, pair, weight, cut, own)
                for i, (pair, weight) in enumerate(zip(first, weights, strict=True))
            ]
        with torch.no_grad(), _buffers_kept(model):
            _require_repeat(model, loss, batches, first, done, mean, versions)
    return done


def require_same_loss(
    model: nn.Module, loss: Loss, batches: Batches, weights: Sequence[float], before: float
) -> None:
    """ModelError where a second pass does not give the loss of the first, `before`.

    What draws from a source of its own, such as the system's or a clock, leaves no other trace. The modules of torch
    have none, and cost no pass.
    """
    parts = (*model.modules(), *(loss.modules() if isinstance(loss, nn.Module) else ()))
    if all(type(part).__module__.partition(".")[0] in ("torch", "netassay") for part in parts):
        return
    shared = _shared_generators(batches)
    with (
        torch.random.fork_rng(devices=_cuda(model)),
        _states_kept(shared),
        torch.no_grad(),
        _buffers_kept(model),
    ):
        values = [loss(call(model, x), y) for x, y in _pairs(batches)]
    again = sum(float(value) * weight for value, weight in zip(values, weights, strict=True))
    rounding = 1e3 * torch.finfo(values[0].dtype).eps
    if not abs(again - before) <= rounding * max(abs(again), abs(before)):
        raise ModelError(
            f"{type(model).__name__} or the loss gives {before:.6g} and then {again:.6g} at the same weights and data, "
            "so the loss is random; call model.eval() or remove the randomness"
        )


def _reduction(loss: Loss, given: str | None) -> str:
    reduction = given or _stated(loss, "reduction") or "mean"
    if reduction not in ("mean", "sum"):
        origin = "reduction" if given else f"the reduction of {_name(loss)}"
        raise ModelError(
            f'{origin} is {reduction!r}; a batch must have one number: allowed are "mean" and "sum" over '
            "its examples"
        )
    return str(reduction)


def _stated(loss: Loss, name: str) -> Any:
    """What a loss says of itself: a module by an attribute, a partial function by a keyword."""
    if isinstance(loss, functools.partial):
        return loss.keywords.get(name, _stated(loss.func, name))
    plain = name == "ignore_index" and loss in (F.cross_entropy, F.nll_loss)
    return getattr(loss, name, _IGNORED if plain else None)


def _name(loss: Loss) -> str:
    function = loss.func if isinstance(loss, functools.partial) else loss
    return getattr(function, "__name__", type(function).__name__)


def _pairs(batches: Batches) -> Iterator[tuple[Any, Any]]:
    for i, batch in enumerate(batches):
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            shape = f"{len(batch)} parts" if isinstance(batch, tuple | list) else f"a {type(batch).__name__}"
            raise DataError(f"batch {i} is {shape}; each batch must be a pair (x, y)")
        yield batch[0], batch[1]


def _examples(i: int, x: Any, y: Any) -> int:
    # a tuple or mapping of tensors is as long as its tensors, not as the number of them
    for part in (y, x, *_tensors(y), *_tensors(x)):
        if isinstance(part, Tensor) and part.ndim == 0:
            continue
        if not isinstance(part, Tensor) and _tensors(part):
            continue
        if hasattr(part, "__len__") and not isinstance(part, Mapping):
            if len(part) == 0:
                raise DataError(f"batch {i} has no examples (its y is empty); leave it out")
            return len(part)
    raise DataError(f"batch {i}: neither y nor x has a first dimension, so its examples cannot be counted")


def _refuse_random(model: nn.Module, batches: int) -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.training and module.p > 0:
            raise ModelError(
                f"module {name!r} is {type(module).__name__}(p={module.p}) in train mode, so the loss is "
                "random; "
                "call model.eval()"
            )
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and batches > 1:
            own = module.training or module.running_mean is None
            if own:
                raise ModelError(
                    f"module {name!r} is {type(module).__name__} normalising by each batch, so the loss "
                    f"over {batches} "
                    "batches is not that of the data as a whole; give one batch, or call model.eval()"
                )


def _refuse_unequal(loss: Loss, targets: list[Any]) -> None:
    """A weighted or masked mean divides by its own total in each batch, which the number of examples does
    not give.
    """
    ignored = _stated(loss, "ignore_index")
    masked = ignored is not None and any(
        isinstance(y, Tensor) and bool((y == ignored).any()) for y in targets
    )
    if masked or _stated(loss, "weight") is not None:
        what = f"ignores targets equal to {ignored}" if masked else "weights its classes"
        raise ModelError(
            f"{_name(loss)} {what} and takes the mean within each batch, so the means of "
            f"{len(targets)} batches "
            'do not combine to that of the whole; use reduction="sum" in the loss, or one batch'
        )


def _evaluation(
    model: nn.Module,
    loss: Loss,
    i: int,
    pair: tuple[Any, Any],
    weight: float,
    cut: bool,
    own: list[Generator],
) -> Evaluation:
    x, y = pair
    before = _random_state(model, own)
    try:
        output = call(model, x)
    except _MISFITS as error:
        raise ModelError(f"batch {i}: {type(model).__name__} failed on its input: {error}") from error
    if cut and not isinstance(output, Tensor):
        raise ModelError(
            f'the model returns a {type(output).__name__}; kind="ggn" needs one tensor: wrap the model, or '
            'use "hessian"'
        )
    head = output.detach().requires_grad_() if cut else output
    try:
        value = loss(head, y)
    except _MISFITS as error:
        raise ModelError(f"batch {i}: the loss failed on the model's output: {error}") from error
    # type checkers of Python draw from its generator too: only what changes the loss counts there
    changed = [a != b for a, b in zip(before, _random_state(model, own), strict=True)]
    if any(changed) and (
        changed != [False, *(one is _PYTHON for one in own)] or _varies(model, loss, pair, value)
    ):
        raise ModelError(
            f"batch {i}: {type(model).__name__} or the loss drew random numbers (of torch, Python or NumPy), so the "
            "loss is random; call model.eval() or remove the randomness"
        )
    _require_scalar(i, value, x, y)
    return Evaluation(output, head, value, weight)


@torch.no_grad()
def _varies(model: nn.Module, loss: Loss, pair: tuple[Any, Any], value: Any) -> bool:
    """Whether any of some further passes gives another loss."""
    rounding = 1e3 * torch.finfo(value.dtype).eps * abs(float(value.detach()))
    again = (float(loss(call(model, pair[0]), pair[1])) for _ in range(_PASSES))
    return any(not abs(one - float(value.detach())) <= rounding for one in again)


def call(model: nn.Module, x: Any) -> Any:
    """The model at x: a tuple or list is its arguments, a dict its keywords, anything else its one
    argument.
    """
    if isinstance(x, Mapping):
        return model(**x)
    return model(*x) if isinstance(x, tuple | list) else model(x)


def _require_scalar(i: int, value: Any, x: Any, y: Any) -> None:
    if not isinstance(value, Tensor) or value.ndim != 0:
        got = (
            f"a tensor of shape {tuple(value.shape)}"
            if isinstance(value, Tensor)
            else f"a {type(value).__name__}"
        )
        raise ModelError(
            f"batch {i}: the loss returned {got}; it must return a scalar tensor: take its mean or sum"
        )
    if not value.requires_grad:
        raise ModelError(
            f"batch {i}: the loss does not depend on any trainable parameter; look for detach(), .data, "
            "no_grad() "
            "or rounding in the model and loss"
        )
    if value.is_complex():
        raise ModelError(f"batch {i}: the loss is a complex number; return its real part or its modulus")
    if not bool(value.isfinite()):
        _refuse_not_finite(i, x, y)
        raise NotFinite(
            f"batch {i}: the loss is {value.item()}; the weights or the loss have left the finite numbers"
        )


def refuse_data_not_finite(batches: Batches) -> None:
    """DataError where x or y of a batch hold NaN or infinity."""
    for i, (x, y) in enumerate(_pairs(batches)):
        _refuse_not_finite(i, x, y)


def _refuse_not_finite(i: int, x: Any, y: Any) -> None:
    for name, part in (("x", x), ("y", y)):
        if any(not bool(t.isfinite().all()) for t in _tensors(part)):
            raise DataError(f"batch {i}: {name} holds NaN or infinity; clean the data")


def _tensors(part: Any) -> list[Tensor]:
    if isinstance(part, Tensor):
        return [part]
    if isinstance(part, Mapping):
        part = list(part.values())
    return [t for inner in part for t in _tensors(inner)] if isinstance(part, tuple | list) else []


def _versions(batches: list[tuple[Any, Any]]) -> list[int]:
    """How often each tensor of the data was written to."""
    return [0 if t.is_inference() else t._version for pair in batches for t in _tensors(pair)]


def _require_repeat(
    model: nn.Module,
    loss: Loss,
    batches: Batches,
    first: list[tuple[Any, Any]],
    done: list[Evaluation],
    mean: bool,
    versions: list[int],
) -> None:
    """The very same tensors, left as they were, need no second evaluation; others must give the same loss
    up to rounding.
    """
    again = list(_pairs(batches))
    if len(again) == len(first) and all(
        len(_tensors(new)) == len(_tensors(old)) > 0
        and all(a is b for a, b in zip(_tensors(new), _tensors(old), strict=True))
        for new, old in zip(again, first, strict=True)
    ):
        if _versions(first) != versions:
            raise ModelError(
                f"{type(model).__name__} or the loss changes its input in place, so the data are no longer what "
                "they were; let it work on a copy (x.clone(), or inplace=False)"
            )
        return
    counts = [_examples(i, x, y) for i, (x, y) in enumerate(again)]
    scale = float(sum(counts)) if mean else 1.0
    value = sum(
        float(loss(call(model, x), y)) * (n if mean else 1) / scale
        for (x, y), n in zip(again, counts, strict=True)
    )
    before = sum(float(e.loss.detach()) * e.weight for e in done)
    rounding = 1e3 * torch.finfo(done[0].loss.dtype).eps
    if len(again) != len(first) or not abs(value - before) <= rounding * max(abs(before), abs(value)):
        raise DataError(
            f"batches changed between two passes at the same weights: {len(first)} batches of loss "
            f"{before:.6g}, then "
            f"{len(again)} of loss {value:.6g}; give data that repeat (no random augmentation, no one-pass "
            "source)"
        )


_PYTHON: random.Random = random.random.__self__  # type: ignore[attr-defined]
_NUMPY: np.random.RandomState = np.random.get_state.__self__  # type: ignore[attr-defined]
_PASSES = 10  # after which a layer that is kept or dropped by a coin has been seen both ways

Generator = torch.Generator | random.Random | np.random.Generator | np.random.RandomState


def _random_state(model: nn.Module, own: list[Generator]) -> list[Any]:
    """One of each of `own`, and before them one of all that torch's own functions draw from."""
    devices = [torch.cuda.get_rng_state(d) for d in _cuda(model)]
    torches = _frozen((torch.get_rng_state(), *devices))
    return [torches, *(_frozen(_state(generator)) for generator in own)]


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
    return tuple(map(_frozen, state)) if isinstance(state, tuple | list) else state


def _shared_generators(batches: Batches) -> list[Generator]:
    """Those of Python and NumPy that all share, and those that a loader of the batches has for itself."""
    own = [getattr(part, "generator", None) for part in (batches, getattr(batches, "sampler", None))]
    return [_PYTHON, _NUMPY, *(one for one in own if isinstance(one, Generator))]


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
