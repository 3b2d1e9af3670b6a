"""The number of terms in the mean of one of torch's losses."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netassay.curvature.batches import IGNORED

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
