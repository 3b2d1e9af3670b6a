"""Refusals of models, losses and data without well-defined or finite curvature."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from netassay.curvature.batches import named_parts
from netassay.curvature.forward import Batches
from netassay.curvature.weighing import NoNumber
from netassay.errors import DataError, ModelError


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
