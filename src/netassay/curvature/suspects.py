"""Finds the module of a network with wrong derivatives, testing each by itself, in double precision.

PyTorch's formulas for higher derivatives of some operations are wrong, as may be those of a custom function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_flatten, tree_unflatten

from netassay.curvature.batches import arguments
from netassay.curvature.objective import Objective

ASYMMETRIC = 1e-6
"""Maximum difference of the two sides of u'Hv = v'Hu in double precision, relative to Hu."""

INEXACT = 1e-3  # the same for third derivatives against central differences
_DRAWS = 3  # a difference across a kink, as of a rectifier, is no fault: one draw that agrees is enough
_SHIFT = 1e-6
_FAILURES = (RuntimeError, TypeError, ValueError, IndexError, AttributeError, NotImplementedError)


class _WithState(nn.Module):
    """A model with other tensors for its weights and buffers."""

    def __init__(self, model: nn.Module, state: dict[str, Tensor]) -> None:
        super().__init__()
        self._of = (model, state)  # a tuple, so that the model is not a submodule

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return functional_call(*self._of, args, kwargs)


@dataclass(frozen=True)
class Form:
    """A scalar function of some tensors, at given values; `name` is what computes it."""

    name: str
    value: Callable[[Sequence[Tensor]], Tensor]
    at: Sequence[Tensor]


def asymmetric(objective: Objective) -> str | None:
    """The innermost module (or the loss) whose own Hessian is not symmetric; None where there is none."""
    return next((form.name for form in _forms(objective) if asymmetry(form) > ASYMMETRIC), None)


def thrice_wrong(objective: Objective) -> tuple[str, float] | None:
    """The module whose third derivatives disagree with differences of its second, and by how much; None if all agree.
    The loss of the first batch is tested as a whole, and its parts only if that is wrong.
    """
    model_form = _model_form(objective)
    off = min(_third_off(model_form, draw) for draw in range(_DRAWS))
    if off <= INEXACT:
        return None
    for form in _forms(objective):
        part = min(_third_off(form, draw) for draw in range(_DRAWS))
        if part > INEXACT:
            return form.name, part
    return model_form.name, off


def asymmetry(form: Form) -> float:
    """sqrt(n) |u'Hv - v'Hu| / max(|Hu|, |Hv|) for random unit u and v; 0 where there is no second derivative."""
    draws = torch.Generator().manual_seed(0)
    u, v = _direction(form.at, draws), _direction(form.at, draws)
    try:
        hu, hv = _times(form, form.at, u), _times(form, form.at, v)
    except _FAILURES:
        return 0.0
    size = max(_norm(hu), _norm(hv))
    n = sum(t.numel() for t in form.at)
    return n**0.5 * abs(_inner(v, hu) - _inner(u, hv)) / size if size > 0 else 0.0


def _third_off(form: Form, draw: int) -> float:
    """How far grad(u'Hu) is from the central difference of Hu along u, relative to the larger."""
    draws = torch.Generator().manual_seed(draw)
    u = _direction(form.at, draws)
    step = _SHIFT * max(1.0, sum(float(t.square().sum()) for t in form.at) ** 0.5)
    try:
        ahead, behind = (
            _times(form, [t + sign * step * part for t, part in zip(form.at, u, strict=True)], u) for sign in (1, -1)
        )
        third = _form_gradient(form, u)
        scale = _norm(_times(form, form.at, u))
    except _FAILURES:
        return 0.0
    slopes = [(a - b) / (2 * step) for a, b in zip(ahead, behind, strict=True)]
    apart = _norm([a - b for a, b in zip(third, slopes, strict=True)])
    size = max(_norm(third), _norm(slopes))
    # a difference within rounding is zero
    return apart / size if apart > 1e-11 * scale / step else 0.0


def _times(form: Form, at: Sequence[Tensor], u: Sequence[Tensor]) -> list[Tensor]:
    """H u at given values."""
    leaves = [t.detach().requires_grad_() for t in at]
    return [t.detach() for t in _pulled(form, leaves, u, graph=False)]


def _form_gradient(form: Form, u: Sequence[Tensor]) -> list[Tensor]:
    """The gradient of u'Hu."""
    leaves = [t.detach().requires_grad_() for t in form.at]
    bent = _pulled(form, leaves, u, graph=True)
    value = torch.stack([(a * b).sum() for a, b in zip(bent, u, strict=True)]).sum()
    if not value.requires_grad:
        return [torch.zeros_like(t) for t in leaves]
    return _filled(torch.autograd.grad(value, leaves, allow_unused=True), leaves)


def _pulled(form: Form, leaves: Sequence[Tensor], u: Sequence[Tensor], *, graph: bool) -> list[Tensor]:
    with torch.enable_grad():
        value = form.value(leaves)
        if not value.requires_grad:
            return [torch.zeros_like(t) for t in leaves]
        slopes = torch.autograd.grad(value, leaves, create_graph=True, allow_unused=True)
        live = [(s, part) for s, part in zip(slopes, u, strict=True) if s is not None and s.requires_grad]
        if not live:
            return [torch.zeros_like(t) for t in leaves]
        outputs, weights = zip(*live, strict=True)
        return _filled(torch.autograd.grad(outputs, leaves, weights, create_graph=graph, allow_unused=True), leaves)


def _filled(parts: Iterable[Tensor | None], like: Sequence[Tensor]) -> list[Tensor]:
    return [torch.zeros_like(t) if part is None else part for part, t in zip(parts, like, strict=True)]


def _direction(at: Sequence[Tensor], draws: torch.Generator) -> list[Tensor]:
    parts = [torch.randn(t.shape, generator=draws, dtype=torch.float64).to(t) for t in at]
    size = _norm(parts) or 1.0
    return [t / size for t in parts]


def _inner(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    return sum(float((x * y).sum()) for x, y in zip(a, b, strict=True))


def _norm(a: Sequence[Tensor]) -> float:
    return _inner(a, a) ** 0.5


def _double(part: Any) -> Any:
    if isinstance(part, Tensor):
        return part.detach().double() if part.is_floating_point() else part.detach().clone()
    return part


def _doubled(tree: Any) -> Any:
    leaves, shape = tree_flatten(tree)
    return tree_unflatten([_double(leaf) for leaf in leaves], shape)


def _state(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Copies of trainable weights, and of everything else, in double precision."""
    own = {name: _double(p).clone() for name, p in module.named_parameters()}
    live = {name: own.pop(name) for name, p in module.named_parameters() if p.requires_grad}
    return live, own | {name: _double(b).clone() for name, b in module.named_buffers()}


def _model_form(objective: Objective) -> Form:
    model, batch = objective.model, _doubled(next(iter(objective.batches)))
    live, frozen = _state(model)

    def value(weights: Sequence[Tensor]) -> Tensor:
        # buffers that a pass writes to start from their original values each time
        state = {key: t.clone() for key, t in frozen.items()} | dict(zip(live, weights, strict=True))
        return objective.forward.value(_WithState(model, state), batch)

    return Form(f"the model ({type(model).__name__}) or the loss", value, list(live.values()))


def _forms(objective: Objective) -> Iterator[Form]:
    """Every module at its inputs in the first batch, inner ones before outer ones, and the loss."""
    calls: dict[nn.Module, tuple[Any, Any]] = {}

    def record(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if module not in calls:
            calls[module] = (_doubled(args), _doubled(kwargs))

    model, batch = objective.model, next(iter(objective.batches))
    halves, output = objective.forward.halves(batch), None
    names = {module: name for name, module in model.named_modules()}
    hooks = [module.register_forward_hook(record, with_kwargs=True) for module in names]
    try:
        with objective.undisturbed(), torch.no_grad():
            if halves is None:
                objective.forward.value(model, batch)
            else:
                positional, keywords = arguments(model, halves[0])
                output = model(*positional, **keywords)
    finally:
        for hook in hooks:
            hook.remove()
    for module, (args, kwargs) in calls.items():
        name = f"module {names[module]!r} ({type(module).__name__})"
        if module is model:
            name = f"the model ({type(module).__name__})"
        yield _form_of(name, module, args, kwargs)
    if halves is None:
        return
    leaves, shape = tree_flatten(_doubled(output))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    target = _doubled(halves[1])

    def value(tensors: Sequence[Tensor]) -> Tensor:
        parts = [*leaves]
        for i, tensor in zip(places, tensors, strict=True):
            parts[i] = tensor
        return objective.forward.value_at(tree_unflatten(parts, shape), target)

    yield Form("the loss", value, [leaves[i] for i in places])


def _form_of(name: str, module: nn.Module, args: Any, kwargs: Any) -> Form:
    """The outputs of a module as a function of its inputs and weights, times fixed random numbers."""
    live, frozen = _state(module)
    leaves, shape = tree_flatten((args, kwargs))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf.is_floating_point()]

    def value(tensors: Sequence[Tensor]) -> Tensor:
        parts = [*leaves]
        for i, tensor in zip(places, tensors, strict=False):
            parts[i] = tensor * 1.0  # a module that works in place may not write into a leaf
        weights = dict(zip(live, tensors[len(places) :], strict=True))
        state = {key: t.clone() for key, t in frozen.items()} | weights
        positional, keywords = tree_unflatten(parts, shape)
        output = functional_call(module, state, positional, keywords)
        outputs = [t for t in tree_flatten(output)[0] if isinstance(t, Tensor) and t.is_floating_point()]
        draws = torch.Generator().manual_seed(1)
        return torch.stack(
            [(t * torch.randn(t.shape, generator=draws, dtype=torch.float64).to(t)).sum() for t in outputs]
        ).sum()

    return Form(name, value, [*(leaves[i] for i in places), *live.values()])
