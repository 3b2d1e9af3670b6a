"""Batches: how a model is called on one, how many examples it has, how two are joined, and over how many terms of one a
loss takes its mean."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netassay.errors import DataError

TARGETS = ("labels", "label", "targets", "target", "y")
IGNORED = -100  # target that torch's losses ignore by default
LEAST, SHARE = 8, 32  # a sample of a batch is 1 in 32 of its examples, the first ones, and at least 8


def halves(model: nn.Module, i: int, batch: Any) -> tuple[Any, Any]:
    """The part of batch `i` for the model, and the part for the loss."""
    if isinstance(batch, Mapping):
        return _halves_of_mapping(model, i, batch)
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        shape = f"{len(batch)} parts" if isinstance(batch, tuple | list) else f"a {type(batch).__name__}"
        raise DataError(
            f"batch {i} is {shape}; each batch must be a pair (x, y) or a mapping with a key of "
            f"{', '.join(TARGETS)}; for others give a loss(model, batch), its first parameter named model"
        )
    return batch[0], batch[1]


def _halves_of_mapping(model: nn.Module, i: int, batch: Mapping[Any, Any]) -> tuple[Any, Any]:
    key = next((name for name in TARGETS if name in batch), None)
    target = batch if key is None else batch[key]
    if _takes_keywords(model, batch):
        return batch, target
    inputs = {name: value for name, value in batch.items() if name != key}
    if _takes_keywords(model, inputs):
        return inputs, target
    if key is not None and len(inputs) == 1 and not _wants_mapping(model):
        return next(iter(inputs.values())), target
    if _wants_mapping(model) or (not _is_named(model, batch) and _binds(model, batch)):
        return batch, target
    raise DataError(
        f"batch {i} is a mapping of {', '.join(map(str, batch))}, and {type(model).__name__}.forward takes "
        f"{', '.join(_parameters(model))}; leave out what it does not accept, or give a loss(model, batch)"
    )


def call(model: nn.Module, x: Any) -> Any:
    """The model at x, called as `arguments` describes."""
    positional, keywords = arguments(model, x)
    return model(*positional, **keywords)


def arguments(model: nn.Module, x: Any) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """A tuple or list x gives the model's arguments, a mapping its keywords, anything else its one argument.

    A mapping or tuple that fits the parameters of `forward` only as one argument is that argument.
    """
    if isinstance(x, Mapping):
        as_one = _wants_mapping(model) or (not _takes_keywords(model, x) and _binds(model, x))
        return ((x,), {}) if as_one else ((), x)
    if isinstance(x, tuple | list) and (_binds(model, *x) or not _binds(model, x)):
        return x, {}
    return (x,), {}


def _signature(model: nn.Module) -> inspect.Signature | None:
    # wrappers for several devices accept anything and pass it on
    while isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        model = model.module
    try:
        return inspect.signature(model.forward)
    except (TypeError, ValueError):
        return None


def _parameters(model: nn.Module) -> list[str]:
    signature = _signature(model)
    return [] if signature is None else list(signature.parameters)


def _binds(model: nn.Module, *arguments: Any, **keywords: Any) -> bool:
    signature = _signature(model)
    if signature is None:
        return True
    try:
        signature.bind(*arguments, **keywords)
    except TypeError:
        return False
    return True


def _takes_keywords(model: nn.Module, keywords: Mapping[Any, Any]) -> bool:
    return all(isinstance(name, str) for name in keywords) and _binds(model, **keywords)


def _is_named(model: nn.Module, batch: Mapping[Any, Any]) -> bool:
    """Whether `forward` has a parameter named like one of the keys."""
    return any(name in batch for name in _parameters(model))


def _wants_mapping(model: nn.Module) -> bool:
    """Whether the one argument of `forward` is annotated as a mapping, or called batch."""
    signature = _signature(model)
    if signature is None:
        return False
    empty = inspect.Parameter.empty
    required = [p for p in signature.parameters.values() if p.default is empty and p.kind < p.VAR_POSITIONAL]
    if len(required) != 1 or required[0].annotation is empty:
        return len(required) == 1 and required[0].name == "batch"
    annotation = required[0].annotation
    if isinstance(annotation, str):
        return annotation.rpartition(".")[2].lower().partition("[")[0] in ("dict", "mapping", "mutablemapping")
    origin = getattr(annotation, "__origin__", annotation)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def examples(i: int, batch: Any) -> int:
    """Number of examples of batch `i`: the first dimension of its first part that has one, labels first.

    DataError if there is none, or no example.
    """
    # the length of a tuple or mapping of tensors is that of its tensors, not their number
    parts = _labels_first(batch)
    for part in (*parts, *(tensor for inner in parts for tensor in tensors(inner))):
        if isinstance(part, Tensor) and part.ndim == 0:
            continue
        if not isinstance(part, Tensor) and tensors(part):
            continue
        if hasattr(part, "__len__") and not isinstance(part, Mapping | str):
            if len(part) == 0:
                raise DataError(f"batch {i} has no examples (its y is empty); leave it out")
            return len(part)
    raise DataError(
        f"batch {i}: neither y nor x has a first dimension, so its examples cannot be counted; give weights="
    )


def require_examples(i: int, batch: Any) -> None:
    """DataError for a batch without examples; one whose examples cannot be counted may have some."""
    if any(tensor.ndim and len(tensor) == 0 for tensor in tensors(batch)):
        examples(i, batch)


def _labels_first(batch: Any) -> list[Any]:
    if isinstance(batch, Mapping):
        return [value for _, value in sorted(batch.items(), key=lambda item: item[0] not in TARGETS)]
    if isinstance(batch, tuple | list):
        return [*batch][::-1]
    return [batch]


def sample_of(batch: Any) -> Any:
    """Copies of the first examples of a batch; None if that saves little, or its parts differ in length."""
    lengths = {len(tensor) if tensor.ndim else 0 for tensor in tensors(batch)}
    number = max(LEAST, max(lengths, default=0) // SHARE)
    if len(lengths) != 1 or 4 * number > min(lengths):
        return None
    try:
        return _first(batch, number)
    except NotJoined:
        return None


def _first(part: Any, number: int) -> Any:
    if isinstance(part, Tensor):
        return part[:number].detach().clone()
    if isinstance(part, Mapping):
        return {key: _first(inner, number) for key, inner in part.items()}
    if isinstance(part, tuple | list):
        parts = [_first(inner, number) for inner in part]
        return type(part)(*parts) if hasattr(part, "_fields") else type(part)(parts)
    raise NotJoined(f"a {type(part).__name__} has no examples")


def named_parts(batch: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a batch, with their places: x and y of a pair, the keys of a mapping."""
    if isinstance(batch, tuple | list) and len(batch) == 2:
        yield from named_tensors(batch[0], "x")
        yield from named_tensors(batch[1], "y")
    else:
        yield from named_tensors(batch)


def tensors(part: Any) -> list[Tensor]:
    return [tensor for _, tensor in named_tensors(part)]


def named_tensors(part: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors within tuples, lists and mappings, with their places."""
    if isinstance(part, Tensor):
        yield name, part
    elif isinstance(part, Mapping):
        for key, inner in part.items():
            yield from named_tensors(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(part, tuple | list):
        for index, inner in enumerate(part):
            yield from named_tensors(inner, f"{name}[{index}]")


def numbers_of_terms(i: int, batch: Any) -> dict[str, float]:
    """Possible numbers of terms in the mean of a loss over a batch: its examples, or the counted entries of a tensor.

    Entries of integer tensors are counted in total, where they are not negative (-100 and -1 mark ignored labels), and
    where they are not 0 (as in a mask); each also without the first of every row, since a language model predicts from
    the second on.
    """
    counts: dict[str, float] = {"examples": examples(i, batch)}
    for name, tensor in named_parts(batch):
        if tensor.ndim == 0:
            continue
        if tensor.is_floating_point() or tensor.is_complex():
            counts[f"entries of {name}"] = tensor.numel()
            if "mask" in name or "weight" in name:
                counts[f"sum of {name}"] = float(tensor.sum())
            continue
        for rows, label in ((tensor, name), (tensor[:, 1:] if tensor.ndim > 1 else tensor, f"{name}[:, 1:]")):
            counts[f"entries of {label}"] = rows.numel()
            counts[f"entries of {label} from 0 on"] = int((rows >= 0).sum())
            counts[f"entries of {label} other than 0"] = int((rows != 0).sum())
        if tensor.ndim == 1:
            counts[f"sum of {name}"] = float(tensor.sum())
    return counts


class NotJoined(Exception):
    """Two batches that cannot be joined, and why."""


def join(a: Any, b: Any, sizes: tuple[int, int], name: str = "") -> Any:
    """Two batches of these sizes as one; shorter rows are padded with 0, those of labels with the ignored
    label.

    Raises NotJoined.
    """
    if type(a) is not type(b) and not (isinstance(a, Mapping) and isinstance(b, Mapping)):
        raise NotJoined(f"{name or 'one'} is a {type(a).__name__} and a {type(b).__name__}")
    if isinstance(a, Tensor):
        return _join_tensors(a, b, name)
    if isinstance(a, Mapping):
        if set(a) != set(b):
            raise NotJoined(f"their keys are {', '.join(map(str, a))} and {', '.join(map(str, b))}")
        return {key: join(a[key], b[key], sizes, str(key)) for key in a}
    if isinstance(a, tuple | list):
        one_each = (len(a), len(b)) == sizes and not (
            len(a) == len(b) and all(isinstance(t, Tensor) and t.shape[:1] == sizes[:1] for t in a)
        )
        if one_each:
            return [*a, *b]
        if len(a) != len(b):
            raise NotJoined(f"{name or 'one'} has {len(a)} and {len(b)} parts")
        names = ("x", "y") if not name and len(a) == 2 else [f"{name}[{i}]" for i in range(len(a))]
        parts = [join(p, q, sizes, part) for p, q, part in zip(a, b, names, strict=True)]
        return type(a)(*parts) if hasattr(a, "_fields") else type(a)(parts)
    if a is b or (isinstance(a, str | int | float | bool) and a == b):
        return a
    raise NotJoined(f"{name or 'one'} is a {type(a).__name__}, which cannot be joined")


def _join_tensors(a: Tensor, b: Tensor, name: str) -> Tensor:
    if a.ndim == 0 and b.ndim == 0 and bool(a == b):
        return a
    if a.ndim == 0 or a.ndim != b.ndim or a.dtype != b.dtype:
        raise NotJoined(f"{name or 'one'} is {tuple(a.shape)} {a.dtype} and {tuple(b.shape)} {b.dtype}")
    if a.shape[1:] != b.shape[1:]:
        if a.shape[2:] != b.shape[2:] or a.is_floating_point():
            raise NotJoined(f"{name or 'one'} has shapes {tuple(a.shape)} and {tuple(b.shape)}")
        lowest = min(int(part.min()) for part in (a, b)) if a.numel() and b.numel() else 0
        value = lowest if lowest < 0 else IGNORED if name in TARGETS else 0
        width = max(a.shape[1], b.shape[1])
        a, b = (_filled(part, width, value) for part in (a, b))
    return torch.cat([a, b])


def _filled(rows: Tensor, width: int, value: int) -> Tensor:
    filled = rows.new_full((len(rows), width, *rows.shape[2:]), value)
    filled[:, : rows.shape[1]] = rows
    return filled


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
