"""Modules whose weights are sharded over several processes (FSDP2), and the processes themselves."""

from __future__ import annotations

import copy
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from netassay.errors import ModelError

ELEMENTWISE = (
    torch.optim.SGD,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.RMSprop,
    torch.optim.Adagrad,
    torch.optim.Adadelta,
    torch.optim.Adamax,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.ASGD,
)
"""Optimisers that update each number from its own gradient and state, and so each shard by itself."""

REMEDY = "fully_shard(..., reshard_after_forward=False), or model.set_reshard_after_forward(False)"


class Processes:
    """The processes of a group, which call each method together and in the same order."""

    def __init__(self, group: Any = None) -> None:
        self.group = group
        self.rank: int = torch.distributed.get_rank(group)
        self.count: int = torch.distributed.get_world_size(group)

    def gathered(self, item: Any) -> list[Any]:
        """The items of all processes, by rank; for small objects."""
        items: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(items, item, group=self.group)
        return items

    def summed(self, value: float) -> float:
        """The sum of one number per process, the same in all."""
        return sum(self.gathered(float(value)))

    def add_up(self, tensor: Tensor) -> None:
        """Writes the sum over all processes into a tensor."""
        torch.distributed.all_reduce(tensor, group=self.group)

    def agreed(self, decision: bool) -> bool:
        """The decision of the first process."""
        return bool(self.gathered(decision)[0])


def is_sharded(model: nn.Module) -> bool:
    """Whether `fully_shard` was applied to the module or to parts of it."""
    return any(_is_shard(module) for module in model.modules())


def processes_of(model: nn.Module) -> Processes:
    """The processes that hold the shards.

    Raises ModelError for more than one dimension of them, and for parameters sharded by anything but `fully_shard`.
    """
    meshes = {p.device_mesh for p in model.parameters() if hasattr(p, "device_mesh")}
    if len(meshes) != 1 or next(iter(meshes)).ndim != 1:
        raise ModelError(
            "the weights are sharded over more than one dimension of processes; one mesh of one dimension is supported"
        )
    return Processes(next(iter(meshes)).get_group())


def local(tensor: Tensor) -> Tensor:
    """The piece of a tensor on this process, without a copy."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def full(tensor: Tensor) -> Tensor:
    """The tensor in one piece; all processes take part."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


@contextmanager
def moved(model: nn.Module, steps: Mapping[str, Tensor], rate: float) -> Iterator[None]:
    """Context in which each piece is theta - rate * step; its bits are restored afterwards.

    Gathered weights are dropped before and after, since they would be outdated.
    """
    pieces = {name: local(p.detach()).data for name, p in model.named_parameters() if name in steps}
    saved = {name: piece.clone() for name, piece in pieces.items()} if rate else {}
    _reshard(model)
    try:
        for name in saved:
            pieces[name].add_(steps[name].to(pieces[name]), alpha=-rate)
        yield
    finally:
        for name, before in saved.items():
            pieces[name].copy_(before)
        _reshard(model)


@contextmanager
def in_one_piece(model: nn.Module) -> Iterator[None]:
    """Context in which the weights are gathered on every process as plain parameters, as exact products need them.

    Raises ModelError if `fully_shard` is set to free gathered weights after each forward pass.
    """
    shards = {name: module for name, module in model.named_modules() if _is_shard(module)}
    for name, module in shards.items():
        if any(group._reshard_after_forward for group in _groups(module)):
            raise ModelError(
                f"module {name!r} is sharded and frees its gathered weights after each forward pass, so there is "
                f"nothing to differentiate twice; keep them with {REMEDY}, or take the forward level"
            )
    hooks = [(m, m._forward_pre_hooks, m._forward_hooks) for m in shards.values()]
    try:
        for module in shards.values():
            module.unshard()
        for module, before, after in hooks:
            vars(module)["_forward_pre_hooks"] = _without_sharding(before)
            vars(module)["_forward_hooks"] = _without_sharding(after)
        yield
    finally:
        for module, before, after in hooks:
            vars(module)["_forward_pre_hooks"], vars(module)["_forward_hooks"] = before, after
        _reshard(model)


def sharded_update(optimizer: Any, parameters: Mapping[str, nn.Parameter], rate: float) -> dict[str, Tensor]:
    """This process's pieces of the next update, per unit of `rate`, from a step in float64 on copies of its pieces."""
    if type(optimizer) not in ELEMENTWISE:
        names = ", ".join(kind.__name__ for kind in ELEMENTWISE)
        raise ModelError(
            f"{type(optimizer).__name__} on sharded weights may need the other shards for its update; known are {names}"
        )
    twins = {
        p: nn.Parameter(_wide(local(p.detach())), requires_grad=False)
        for group in optimizer.param_groups
        for p in group["params"]
    }
    for p, twin in twins.items():
        twin.grad = None if p.grad is None else _wide(local(p.grad.detach()))
    twin_optimizer = copy.copy(optimizer)
    twin_optimizer.param_groups = [
        {**group, "params": [twins[p] for p in group["params"]], "foreach": False, "fused": None}
        for group in optimizer.param_groups
    ]
    twin_optimizer.state = defaultdict(dict)
    for p, entry in optimizer.state.items():
        twin_optimizer.state[twins[p]] = {
            key: _wide(local(value)) if isinstance(value, Tensor) else value for key, value in entry.items()
        }
    before = {name: twins[p].detach().clone() for name, p in parameters.items()}
    with torch.no_grad():
        type(optimizer).step(twin_optimizer)
    return {
        name: ((before[name] - twins[p].detach()) / rate).to(
            torch.float64 if p.dtype == torch.float64 else torch.float32
        )
        for name, p in parameters.items()
    }


def _wide(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().clone()
    return tensor.double() if tensor.is_floating_point() and tensor.ndim else tensor


def _is_shard(module: nn.Module) -> bool:
    # by name: importing the class takes seconds
    return any(kind.__name__ == "FSDPModule" for kind in type(module).__mro__)


def _groups(module: Any) -> list[Any]:
    state = module._get_fsdp_state()
    groups = getattr(state, "_fsdp_param_groups", None) or [getattr(state, "_fsdp_param_group", None)]
    # a module without parameters of its own has none
    return [group for group in groups if group is not None]


def _reshard(model: nn.Module) -> None:
    for module in model.modules():
        if _is_shard(module):
            module.reshard()  # type: ignore[operator]
            # left by the passes for a backward pass that does not follow
            for group in _groups(module):
                group._post_forward_indices.clear()
                if hasattr(group, "comm_ctx"):
                    getattr(group.comm_ctx, "post_forward_order", []).clear()


def _without_sharding(hooks: Mapping[int, Any]) -> Any:
    entries = [(key, hook) for key, hook in hooks.items() if "fsdp" not in (getattr(hook, "__module__", None) or "")]
    return OrderedDict(entries)
