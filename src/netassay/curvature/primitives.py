"""Normalisations from primitives, where PyTorch's own cannot be differentiated as often as is needed.

The second derivative of its weight norm, and the third derivatives of its layer, instance and (in train mode) batch
norm, are silently wrong: they treat the statistics that the forward pass keeps as constants.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.weight_norm import WeightNorm
from torch.overrides import TorchFunctionMode


class _Replaced(TorchFunctionMode):
    """Replaces some functions by others."""

    def __init__(self, replacements: Mapping[Callable[..., Any], Callable[..., Any]]) -> None:
        super().__init__()
        self._replacements = replacements

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return self._replacements.get(func, func)(*args, **(kwargs or {}))


def differentiable_thrice() -> AbstractContextManager[object]:
    """Context in which a forward pass gives a graph with correct third derivatives through all normalisations of torch.

    Running statistics are not updated meanwhile.
    """
    return _Replaced(_THRICE)


def differentiable_twice(model: nn.Module) -> AbstractContextManager[object]:
    """The same for second derivatives, where only weight norm is wrong."""
    return _Replaced({torch._weight_norm: _weight_norm}) if _has_weight_norm(model) else nullcontext()


def _has_weight_norm(model: nn.Module) -> bool:
    return any(
        isinstance(m, parametrizations._WeightNorm)
        or any(isinstance(hook, WeightNorm) for hook in m._forward_pre_hooks.values())
        for m in model.modules()
    )


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    axes = [axis for axis in range(v.ndim) if dim == -1 or axis != dim % v.ndim]
    return v * (g / v.square().sum(axes, keepdim=True).sqrt())


def _standardised(x: Tensor, axes: list[int], eps: float) -> Tensor:
    centred = x - x.mean(axes, keepdim=True)
    return centred * (centred.square().mean(axes, keepdim=True) + eps).rsqrt()


def _scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Scale and shift of each channel (dimension 1)."""
    shape = [1, -1] + [1] * (x.ndim - 2)
    x = x if weight is None else x * weight.view(shape)
    return x if bias is None else x + bias.view(shape)


def _layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    x = _standardised(input, [*range(-len(normalized_shape), 0)], eps)
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    axes = [*range(-len(normalized_shape), 0)]
    floor = torch.finfo(input.dtype).eps if eps is None else eps
    x = input * (input.square().mean(axes, keepdim=True) + floor).rsqrt()
    return x if weight is None else x * weight


def _group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    groups = input.reshape(len(input), num_groups, math.prod(input.shape[1:]) // num_groups)
    return _scaled(_standardised(groups, [2], eps).view(input.shape), weight, bias)


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not training:
        return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    return _scaled(_standardised(input, [0, *range(2, input.ndim)], eps), weight, bias)


def _instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not use_input_stats:
        return F.instance_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    return _scaled(_standardised(input, [*range(2, input.ndim)], eps), weight, bias)


def _in_order_of_torch(norm: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """torch.batch_norm takes scale and shift before the running statistics, F.batch_norm after them."""

    def reordered(
        input: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        training: bool,
        momentum: float,
        eps: float,
        cudnn_enabled: bool = True,
    ) -> Tensor:
        return norm(input, running_mean, running_var, weight, bias, training, momentum, eps)

    return reordered


_THRICE: dict[Callable[..., Any], Callable[..., Any]] = {
    torch._weight_norm: _weight_norm,
    F.layer_norm: _layer_norm,
    torch.layer_norm: _layer_norm,
    F.rms_norm: _rms_norm,
    torch.rms_norm: _rms_norm,
    F.group_norm: _group_norm,
    torch.group_norm: _group_norm,
    F.batch_norm: _batch_norm,
    torch.batch_norm: _in_order_of_torch(_batch_norm),
    F.instance_norm: _instance_norm,
    torch.instance_norm: _in_order_of_torch(_instance_norm),
}
