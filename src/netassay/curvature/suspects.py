"""Which module of a network has wrong derivatives: each by itself, in double precision, against what must hold.

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
"""How far the two sides of u'Hv = v'Hu may be apart in double precision, relative to Hu."""

INEXACT = 1e-3  # the same of third derivatives against central differences
_DRAWS = 3  # a difference across a kink, as of a rectifier, is no fault: one draw that agrees is enough
_SHIFT = 1e-6
_FAILURES = (RuntimeError, TypeError, ValueError, IndexError, AttributeError, NotImplementedError)


class _Held(nn.Module):
    """A model with other tensors for its weights and buffers."""

    def __init__(self, model: nn.Module, state: dict[str, Tensor]) -> None:
        super().__init__()
        self._of = (model, state)  # a tuple, so that the model is no part of this one

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return functional_call(*self._of, args, kwargs)


@dataclass(frozen=True)
class Form:
    """A scalar function of some tensors, at a place; `name` is what computes it."""

    name: str
    value: Callable[[Sequence[Tensor]], Tensor]
    at: Sequence[Tensor]


def asymmetric(objective: Objective) -> str | None:
    """The innermost module (or the loss) whose own Hessian is not symmetric; None where there is none."""
    return next((form.name for form in _forms(objective) if asymmetry(form) > ASYMMETRIC), None)


def thrice_wrong(objective: Objective) -> tuple[str, float] | None:
    """What has third derivatives that are not the differences of its second, and by how much of them; None where all
    is well. The loss of the first batch is looked at as a whole, and its parts only if that is wrong.
    """
    whole = _whole(objective)
    off = min(_third_off(whole, draw) for draw in range(_DRAWS))
    if off <= INEXACT:
        return None
    for form in _forms(objective):
        part = min(_third_off(form, draw) for draw in range(_DRAWS))
        if part > INEXACT:
            return form.name, part
    return whole.name, off


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
        here = _norm(_times(form, form.at, u))
    except _FAILURES:
        return 0.0
    slopes = [(a - b) / (2 * step) for a, b in zip(ahead, behind, strict=True)]
    apart = _norm([a - b for a, b in zip(third, slopes, strict=True)])
    size = max(_norm(third), _norm(slopes))
    # what is no more than the rounding of the difference is zero
    return apart / size if apart > 1e-11 * here / step else 0.0


def _times(form: Form, at: Sequence[Tensor], u: Sequence[Tensor]) -> list[Tensor]:
    """H u at a place."""
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
    drawn = [torch.randn(t.shape, generator=draws, dtype=torch.float64).to(t) for t in at]
    size = _norm(drawn) or 1.0
    return [t / size for t in drawn]


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
    """Trainable weights, and all else, in double precision; copies."""
    own = {name: _double(p).clone() for name, p in module.named_parameters()}
    live = {name: own.pop(name) for name, p in module.named_parameters() if p.requires_grad}
    return live, own | {name: _double(b).clone() for name, b in module.named_buffers()}


def _whole(objective: Objective) -> Form:
    model, batch = objective.model, _doubled(next(iter(objective.batches)))
    live, rest = _state(model)

    def value(weights: Sequence[Tensor]) -> Tensor:
        # buffers that a pass writes to begin each as they were
        held = {key: t.clone() for key, t in rest.items()} | dict(zip(live, weights, strict=True))
        return objective.forward.value(_Held(model, held), batch)

    return Form(f"the model ({type(model).__name__}) or the loss", value, list(live.values()))


def _forms(objective: Objective) -> Iterator[Form]:
    """Every module at its inputs in the first batch, inner ones before those that hold them, and the loss."""
    calls: dict[nn.Module, tuple[Any, Any]] = {}

    def seen(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if module not in calls:
            calls[module] = (_doubled(args), _doubled(kwargs))

    model, batch = objective.model, next(iter(objective.batches))
    halves, output = objective.forward.halves(batch), None
    names = {module: name for name, module in model.named_modules()}
    hooks = [module.register_forward_hook(seen, with_kwargs=True) for module in names]
    try:
        with objective.undisturbed(), torch.no_grad():
            if halves is None:
                objective.forward.value(model, batch)
            else:
                positional, named = arguments(model, halves[0])
                output = model(*positional, **named)
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

    def value(given: Sequence[Tensor]) -> Tensor:
        parts = [*leaves]
        for i, tensor in zip(places, given, strict=True):
            parts[i] = tensor
        return objective.forward.value_at(tree_unflatten(parts, shape), target)

    yield Form("the loss", value, [leaves[i] for i in places])


def _form_of(name: str, module: nn.Module, args: Any, kwargs: Any) -> Form:
    """What a module computes of its inputs and weights, times fixed random numbers."""
    live, rest = _state(module)
    leaves, shape = tree_flatten((args, kwargs))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf.is_floating_point()]

    def value(given: Sequence[Tensor]) -> Tensor:
        parts = [*leaves]
        for i, tensor in zip(places, given, strict=False):
            parts[i] = tensor * 1.0  # a module that works in place may not write into a leaf
        weights = dict(zip(live, given[len(places) :], strict=True))
        held = {key: t.clone() for key, t in rest.items()} | weights
        positional, named = tree_unflatten(parts, shape)
        found = functional_call(module, held, positional, named)
        outputs = [t for t in tree_flatten(found)[0] if isinstance(t, Tensor) and t.is_floating_point()]
        draws = torch.Generator().manual_seed(1)
        return torch.stack(
            [(t * torch.randn(t.shape, generator=draws, dtype=torch.float64).to(t)).sum() for t in outputs]
        ).sum()

    return Form(name, value, [*(leaves[i] for i in places), *live.values()])
