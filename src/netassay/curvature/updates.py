"""The next step of an optimiser, taken on copies of weights and state."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.grad_mode import _unsafe_preserve_version_counter
from torch.optim import optimizer as torch_optimizer
from torch.utils._pytree import tree_leaves, tree_map

from netassay.curvature.shards import sharded_update
from netassay.errors import ModelError

_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")


class Update(NamedTuple):
    """theta <- theta - rate * direction is the next step; `memory` is the size of the copies in bytes."""

    direction: dict[str, Tensor]
    rate: float
    memory: int


def is_optimizer(candidate: Any) -> bool:
    return hasattr(candidate, "param_groups") and callable(getattr(candidate, "step", None))


def next_update(
    optimizer: Any, parameters: Mapping[str, nn.Parameter], gradients: Mapping[str, Tensor] | None = None
) -> Update:
    """The next update of `optimizer` from its settings, its state and the gradients in the parameters, or others.

    Per unit of its learning rate, the largest where those of its groups differ. The step is taken in float64, so that
    a small one is not rounded to the weights, on copies of the weights, gradients and state: the optimiser's own
    tensors are never written to, and it finds them, its hooks and random generators as they were. Hooks do not run.
    The copies take 8 bytes a number: 16 and 8 for each number of state per parameter. Raises ModelError for one that
    needs a closure (LBFGS), has no gradient or no learning rate yet, or fails.
    """
    _refuse_closure(optimizer)
    own = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if not any(id(p) in own for p in parameters.values()):
        raise ModelError(f"{type(optimizer).__name__} holds none of the trainable parameters of this model")
    if gradients is None and all(p.grad is None for p in parameters.values()):
        raise ModelError(
            f"no trainable parameter has a gradient, so {type(optimizer).__name__} would not move: call this between "
            "loss.backward() and optimizer.step(), or give along="
        )
    rate = max(float(group.get("lr", 1.0)) for group in optimizer.param_groups)
    if not rate > 0:
        raise ModelError(f"the learning rate of {type(optimizer).__name__} is {rate:g}, so its update is zero")
    failure: Exception | None = None
    if any(hasattr(p, "device_mesh") for p in parameters.values()):
        return Update(sharded_update(optimizer, parameters, rate), rate, 0)
    for kind in (torch.float64, torch.float32, None):
        try:
            return _stepped(optimizer, parameters, gradients, rate, kind)
        except Exception as cause:  # whatever a step raises; nothing of it was written
            failure = failure or cause
    raise ModelError(
        f"{type(optimizer).__name__}.step() failed on copies of the weights: {type(failure).__name__}: {failure}"
    ) from failure


def _refuse_closure(optimizer: Any) -> None:
    try:
        closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    except (TypeError, ValueError):
        closure = None
    required = closure is not None and closure.default is inspect.Parameter.empty
    if required or any(isinstance(inner, torch.optim.LBFGS) for inner in _nested(optimizer)):
        raise ModelError(
            f"{type(optimizer).__name__} steps by a closure that evaluates the loss again, so its next update is no "
            'fixed direction; take direction="gradient"'
        )


def _stepped(
    optimizer: Any,
    parameters: Mapping[str, nn.Parameter],
    gradients: Mapping[str, Tensor] | None,
    rate: float,
    kind: torch.dtype | None,
) -> Update:
    members = {id(p): p for inner in _nested(optimizer) for group in inner.param_groups for p in group["params"]}
    devices = sorted({p.device.index for p in members.values() if p.device.type == "cuda"})
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=devices))
        # a graph that the caller still has must not consider the weights changed
        stack.enter_context(_unsafe_preserve_version_counter(tuple(members.values())))
        stack.enter_context(_global_hooks_off())
        if gradients is not None:
            stack.enter_context(_gradients_given(parameters, gradients))
        twins = {key: _twin(p, kind) for key, p in members.items()}
        sizes = [stack.enter_context(_state_copied(inner, kind, twins)) for inner in _nested(optimizer)]
        sizes.append(stack.enter_context(_weights_copied(members)))
        # an optimiser may reach a weight otherwise than by its groups, state and attributes; then the weight moves
        moving = {name: [p.data, *([twins[id(p)].data] if id(p) in twins else [])] for name, p in parameters.items()}
        before = {name: [part.clone() for part in parts] for name, parts in moving.items()}
        with torch.no_grad():
            type(optimizer).step(optimizer)
        direction = {}
        for name, parts in moving.items():
            own, *twin = [(then - now) / rate for then, now in zip(before[name], parts, strict=True)]
            direction[name] = own if not twin or bool(own.any()) else twin[0]
    single = {n: d if parameters[n].dtype == torch.float64 else d.float() for n, d in direction.items()}
    if not all(bool(part.isfinite().all()) for part in single.values()):
        raise ModelError(f"the next update of {type(optimizer).__name__} is not finite")
    copies = [*twins.values(), *(t for parts in before.values() for t in parts)]
    return Update(single, rate, sum(sizes) + sum(t.nbytes for t in copies))


def _nested(optimizer: Any) -> list[Any]:
    """The optimiser and those that it wraps."""
    chain: list[Any] = []
    ahead = [optimizer]
    while ahead:
        current = ahead.pop()
        if any(current is old for old in chain):
            continue
        chain.append(current)
        ahead += [inner for inner in vars(current).values() if is_optimizer(inner)]
    return chain


@contextmanager
def _global_hooks_off() -> Iterator[None]:
    registries: list[Any] = [
        torch_optimizer._global_optimizer_pre_hooks,
        torch_optimizer._global_optimizer_post_hooks,
    ]
    saved = [dict(hooks) for hooks in registries]
    try:
        for hooks in registries:
            hooks.clear()
        yield
    finally:
        for hooks, entries in zip(registries, saved, strict=True):
            hooks.update(entries)


def _twin(p: Tensor, kind: torch.dtype | None) -> nn.Parameter:
    """A parameter with copies of a weight and its gradient, in another type.

    A weight itself must not change its type, even for a moment: its gradient accumulator would be recreated without
    the hooks by which DistributedDataParallel averages gradients.
    """
    twin = nn.Parameter(_copied(p.data, kind), requires_grad=p.requires_grad)
    if p.grad is not None:
        twin.grad = p.grad.detach().clone().to(twin.dtype)
    return twin


@contextmanager
def _gradients_given(parameters: Mapping[str, nn.Parameter], gradients: Mapping[str, Tensor]) -> Iterator[None]:
    saved = {name: p.grad for name, p in parameters.items()}
    try:
        for name, p in parameters.items():
            p.grad = gradients[name].to(p)
        yield
    finally:
        for name, p in parameters.items():
            p.grad = saved[name]


@contextmanager
def _state_copied(optimizer: Any, kind: torch.dtype | None, twins: Mapping[int, nn.Parameter]) -> Iterator[int]:
    """Replaces state, settings and attributes by copies, and weights by twins; restores the original objects
    afterwards.

    Yields the bytes of the copies.
    """
    own = vars(optimizer)
    attributes = dict(own)
    groups = [(group, dict(group)) for group in optimizer.param_groups]
    state = getattr(optimizer, "state", {})
    entries = [(key, entry, dict(entry)) for key, entry in state.items() if isinstance(entry, dict)]
    loose = {key: entry for key, entry in state.items() if not isinstance(entry, dict)}
    generators = [(g, g.get_state()) for g in tree_leaves([*attributes.values()]) if isinstance(g, torch.Generator)]
    try:
        for name, value in attributes.items():
            if name in _HOOKS:
                own[name] = type(value)()
            elif name not in ("param_groups", "state") and not is_optimizer(value):
                own[name] = _copied(value, None, twins)
        for group, saved in groups:
            group.update({k: _copied(v, None, twins) for k, v in saved.items()})
        state.clear()
        for key, entry, saved in entries:
            entry.update({k: _copied(v, kind, twins) for k, v in saved.items()})
            state[twins.get(id(key), key)] = entry
        state.update({twins.get(id(key), key): _copied(entry, kind, twins) for key, entry in loose.items()})
        yield sum(t.nbytes for _, entry, _ in entries for t in tree_leaves(entry) if isinstance(t, Tensor))
    finally:
        own.clear()
        own.update(attributes)
        for group, saved in groups:
            group.clear()
            group.update(saved)
        state.clear()
        for key, entry, saved in entries:
            entry.clear()
            entry.update(saved)
            state[key] = entry
        state.update(loose)
        for generator, begin in generators:
            generator.set_state(begin)


@contextmanager
def _weights_copied(members: Mapping[int, Tensor]) -> Iterator[int]:
    saved = [(p, p.data, p.grad) for p in members.values()]
    try:
        for p, data, grad in saved:
            p.grad = None
            p.data = data.clone()
            if grad is not None:
                p.grad = grad.detach().clone()
        yield sum(p.nbytes * (1 if p.grad is None else 2) for p in members.values())
    finally:
        for p, data, grad in saved:
            p.grad = None
            p.data = data
            p.grad = grad


def _copied(tree: Any, kind: torch.dtype | None, twins: Mapping[int, nn.Parameter] | None = None) -> Any:
    """Copies of containers and tensors, floating-point ones of more than one number in `kind`; parameters as their
    twins, other objects as they are.
    """

    def copy(leaf: Any) -> Any:
        if twins is not None and id(leaf) in twins:
            return twins[id(leaf)]
        if not isinstance(leaf, Tensor) or isinstance(leaf, nn.Parameter):
            return leaf
        twin = leaf.detach().clone()
        return twin.to(kind) if kind is not None and twin.is_floating_point() and twin.ndim else twin

    return tree_map(copy, tree)
