"""The gradient of one batch as a retained graph, and the products with the curvature computed from it.

Normalisations are made of primitives where PyTorch's own cannot be differentiated as often as is needed.

The second derivative of its weight norm, and the third derivatives of its layer, instance and (in train mode) batch
norm, are silently wrong: they treat the statistics that the forward pass keeps as constants.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.weight_norm import WeightNorm
from torch.overrides import TorchFunctionMode

from netassay.curvature.forward import Evaluation
from netassay.errors import ModelError


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


_PART = "that part of the model's output that the Gauss-Newton matrix is taken at"
_CURE = 'name by head= the tensor of the output that the loss is computed from, or use kind="hessian"'


class HessianTape:
    """The gradient of one batch as a graph of the parameters."""

    def __init__(self, evaluation: Evaluation, parameters: dict[str, nn.Parameter]) -> None:
        self.parameters = parameters
        self.gradient = torch.autograd.grad(
            evaluation.loss, list(parameters.values()), create_graph=True, allow_unused=True
        )

    def roots(self) -> list[Tensor]:
        return [g for g in self.gradient if g is not None]

    def product(self, v: dict[str, Tensor]) -> Sequence[Tensor | None]:
        slopes = dict(zip(self.parameters, self.gradient, strict=True))
        live = {n: g for n in v if (g := slopes[n]) is not None and g.requires_grad}
        return _pull(list(live.values()), [self.parameters[n] for n in v], [v[n] for n in live])


class GaussNewtonTape:
    """One batch as output graph, its transposed Jacobian as a linear graph of `seed`, and the loss at the
    output.
    """

    def __init__(self, evaluation: Evaluation, parameters: dict[str, nn.Parameter], *, again: bool = False) -> None:
        """`again`: the batch was seen before, so the gradient is not computed, and nothing is checked."""
        self.parameters = parameters
        self.output, self.head = evaluation.output, evaluation.head
        weights = list(parameters.values())
        self.seed = torch.zeros_like(self.output, requires_grad=True)
        # J'seed, to be differentiated in seed: the double-backward form of J v
        self.pulled = torch.autograd.grad(self.output, weights, self.seed, create_graph=True, allow_unused=True)
        (self.slope,) = torch.autograd.grad(
            evaluation.loss, [self.head], create_graph=True, allow_unused=not evaluation.is_cut
        )
        if self.slope is None:
            raise ModelError(f"{_PART} does not enter the loss; {_CURE}")
        if again:
            return
        self.gradient = _pull([self.output], weights, [self.slope.detach()])
        if not evaluation.is_cut:
            self._require_all_through_head(evaluation.loss)

    def _require_all_through_head(self, loss: Tensor) -> None:
        full = _pull([loss], list(self.parameters.values()), [torch.ones_like(loss)])
        pairs = [
            (torch.zeros(()) if a is None else a.detach(), torch.zeros(()) if b is None else b.detach())
            for a, b in zip(full, self.gradient, strict=True)
        ]
        size = sum(float(a.double().square().sum()) for a, _ in pairs)
        off = sum(float((a.double() - b.double()).square().sum()) for a, b in pairs)
        if not off <= 1e-6 * size:
            raise ModelError(f"the loss depends on the weights other than through {_PART}; {_CURE}")

    def roots(self) -> list[Tensor]:
        return [self.slope, *(g for g in self.pulled if g is not None)]

    def product(self, v: dict[str, Tensor]) -> Sequence[Tensor | None]:
        pulled = dict(zip(self.parameters, self.pulled, strict=True))
        live = {n: g for n in v if (g := pulled[n]) is not None and g.requires_grad}
        (forward,) = _pull(list(live.values()), [self.seed], [v[n] for n in live])
        if forward is None or not self.slope.requires_grad:
            return [None] * len(v)
        (bent,) = _pull([self.slope], [self.head], [forward])
        if bent is None:
            return [None] * len(v)
        return _pull([self.output], [self.parameters[n] for n in v], [bent])


def _pull(outputs: Sequence[Tensor], inputs: Sequence[Tensor], v: Sequence[Tensor]) -> Sequence[Tensor | None]:
    if not outputs:
        return [None] * len(inputs)
    return torch.autograd.grad(outputs, inputs, v, retain_graph=True, allow_unused=True)


def differentiable_once(roots: Sequence[Tensor]) -> bool:
    """Whether the graph has a function marked once_differentiable, which autograd would silently take for zero."""
    return _has_node(roots, "torch::autograd::Error")


def is_reentrant(loss: Tensor) -> bool:
    """Whether the graph has a checkpoint that is reentrant: the weights within it are not part of the graph, so
    autograd would treat them as weights that the loss does not reach.
    """
    return _has_node([loss], "CheckpointFunctionBackward")


REENTRANT = (
    "recomputes activations by reentrant checkpointing, which hides weights from the graph of the loss; call "
    "checkpoint(..., use_reentrant=False) (Hugging Face: gradient_checkpointing_enable({'use_reentrant': False})), "
    "or take the critical sharpness of an optimiser's update, by forward passes alone"
)


def _has_node(roots: Sequence[Tensor], name: str) -> bool:
    return any(node.name() == name for node in _nodes(roots))


def _nodes(roots: Iterable[Tensor]) -> Iterator[Any]:
    """The nodes of the graphs of the roots, each once."""
    todo, visited = [r.grad_fn for r in roots], set()
    while todo:
        node = todo.pop()
        if node is not None and node not in visited:
            visited.add(node)
            yield node
            todo += [following for following, _ in node.next_functions]


def graph_bytes(roots: Iterable[Tensor], apart: Iterable[Tensor]) -> int:
    """Bytes of the tensors that the graphs of the roots keep, each storage once, without those of `apart`."""
    storages = {t.untyped_storage().data_ptr() for t in apart}
    total = 0
    for node in _nodes(roots):
        for tensor in _saved(node):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in storages:
                storages.add(storage.data_ptr())
                total += storage.nbytes()
    return total


_SAVED: dict[type, tuple[str, ...]] = {}
"""Attributes in which each kind of node keeps its tensors."""


def _saved(node: Any) -> list[Tensor]:
    kind = type(node)
    if kind not in _SAVED:
        _SAVED[kind] = tuple(n for n in dir(node) if n.startswith("_saved_") or n == "saved_tensors")
    tensors: list[Tensor] = []
    for name in _SAVED[kind]:
        # a tensor that was freed or cannot be unpacked takes no memory
        with suppress(RuntimeError):
            value = getattr(node, name)
            values = value if isinstance(value, tuple | list) else [value]
            tensors += [t for t in values if isinstance(t, Tensor) and t.layout is torch.strided]
    return tensors


def not_twice_differentiable(model: nn.Module, run: Callable[[], None]) -> nn.Module | None:
    """The innermost module that fails to be differentiated twice by itself as `run` calls the model, if one does.

    Each is tested on copies of its inputs, so that neither earlier modules nor a weight that it shares with another
    module can be the cause.
    """
    culprits: list[nn.Module] = []
    busy = False

    def try_twice(module: nn.Module, inputs: tuple[Any, ...], keywords: Mapping[str, Any], output: Any) -> None:
        nonlocal busy
        if busy or culprits:
            return
        busy = True  # the modules within are called again, too
        try:
            if not _differentiates_twice(module, inputs, keywords):
                culprits.append(module)
        finally:
            busy = False

    # called as the modules finish, inner ones before outer ones
    hooks = [module.register_forward_hook(try_twice, with_kwargs=True) for module in model.modules()]
    try:
        with torch.enable_grad():
            run()
    except (RuntimeError, ModelError):
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return culprits[0] if culprits else None


def _differentiates_twice(module: nn.Module, inputs: tuple[Any, ...], keywords: Mapping[str, Any]) -> bool:
    leaves: list[Tensor] = [p for p in module.parameters() if p.requires_grad]

    def copied(value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return value
        leaf = value.detach().clone().requires_grad_()
        leaves.append(leaf)
        # the module may work in place, which a leaf forbids
        return leaf.clone() if value.requires_grad else leaf.detach().clone()

    try:
        output = module.forward(*map(copied, inputs), **{name: copied(value) for name, value in keywords.items()})
        outputs = [t for t in _flat(output) if t.requires_grad]
        slopes = (
            torch.autograd.grad([t.square().sum() for t in outputs], leaves, create_graph=True, allow_unused=True)
            if outputs
            else []
        )
        live = [s.square().sum() for s in slopes if s is not None and s.requires_grad]
        if differentiable_once(live):
            return False
        if live:
            torch.autograd.grad(live, leaves, retain_graph=True, allow_unused=True)
    except RuntimeError:
        return False
    return True


def _flat(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, Mapping):
        output = list(output.values())
    return [t for part in output for t in _flat(part)] if isinstance(output, tuple | list) else []
