"""A model at weights moved along a direction, without a write to its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_map

from netassay.curvature.blocks import original
from netassay.curvature.shards import is_sharded, moved
from netassay.errors import ModelError

COARSE = (torch.float16, torch.bfloat16)
"""Types in which a small step would round to nothing."""

Direction = Mapping[str, Tensor]
"""Name of a trainable parameter -> tensor of its shape; a step of size eta subtracts eta times it."""


def movable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Name -> parameter of those with `requires_grad`, of any real floating-point type and on any devices.

    Raises ModelError where there is none, or one that cannot be moved.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"the model is a {type(model).__name__}; give a torch.nn.Module")
    parameters = {name: p for name, p in original(model).named_parameters() if p.requires_grad}
    if not parameters:
        raise ModelError(
            f"{type(model).__name__} has no parameter with requires_grad=True, so there is no direction to move it "
            "in: unfreeze at least one with parameter.requires_grad_()"
        )
    for name, p in parameters.items():
        if is_lazy(p):
            raise ModelError(f"parameter {name!r} is lazy and has no shape yet; call the model once on an input")
        if not p.is_floating_point():
            raise ModelError(f"parameter {name!r} is {p.dtype}; real floating-point parameters can be moved")
        if hasattr(p, "device_mesh") and not is_sharded(model):
            raise ModelError(
                f"parameter {name!r} is sharded over processes, of which each would move its own piece; give a model "
                "whose weights are in one piece"
            )
    return parameters


def given_direction(parameters: Mapping[str, nn.Parameter], given: Any) -> dict[str, Tensor]:
    """A tensor (P,), or tensors shaped like the trainable parameters, as a list or by name.

    Raises ModelError for other shapes, names and kinds, and what is not finite.
    """
    if isinstance(given, Tensor):
        size = sum(p.numel() for p in parameters.values())
        if given.shape != (size,):
            raise ModelError(
                f"direction has shape {tuple(given.shape)}; the {size} trainable numbers of the model need ({size},), "
                "or a list of tensors shaped like the trainable parameters"
            )
        pieces = given.detach().split([p.numel() for p in parameters.values()])
        given = [piece.reshape(p.shape) for piece, p in zip(pieces, parameters.values(), strict=True)]
    if isinstance(given, Mapping):
        if set(given) != set(parameters):
            odd = sorted(set(given) ^ set(parameters))[0]
            raise ModelError(
                f"direction and trainable parameters differ in {odd!r}; give one tensor for each of "
                f"{', '.join(parameters)}"
            )
        given = [given[name] for name in parameters]
    if not isinstance(given, Sequence) or not all(isinstance(part, Tensor) for part in given):
        raise ModelError(
            f'direction is a {type(given).__name__}; allowed are "gradient", a torch.optim.Optimizer, a tensor or a '
            "list of tensors shaped like the trainable parameters"
        )
    if len(given) != len(parameters):
        raise ModelError(f"direction has {len(given)} tensors for {len(parameters)} trainable parameters")
    for (name, p), part in zip(parameters.items(), given, strict=True):
        if part.shape != p.shape:
            raise ModelError(f"direction has shape {tuple(part.shape)} for {name!r}, which is {tuple(p.shape)}")
    return {name: part.detach() for name, part in zip(parameters, given, strict=True)}


def inner_product(a: Direction, b: Direction) -> float:
    return sum(float((a[name].double() * b[name].to(a[name].device).double()).sum()) for name in a)


class Displaced:
    """The weights of a model, moved and put back. What `at` puts in their place are copies: the tensors that the
    parameters hold are never written to, so they come back bit for bit. Shards are written to, and their bits put back.

    Where a trainable parameter is of 16 bits, all floating-point numbers of the model are taken in float32 meanwhile
    (`is_raised`), and so must be its inputs (`raised`).
    """

    def __init__(self, model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> None:
        self.model, self.parameters = original(model), dict(parameters)
        self.present: Mapping[str, nn.Parameter] = self.parameters
        """The trainable parameters that the model has now."""
        self.is_sharded = is_sharded(self.model)
        self.is_raised = not self.is_sharded and any(p.dtype in COARSE for p in parameters.values())
        self.devices = {p.device.type for p in parameters.values()}

    @contextmanager
    def at(self, rate: float = 0.0, direction: Direction | None = None) -> Iterator[None]:
        """Within it the weights are theta - rate * direction; 0 without one."""
        if self.is_sharded:
            with moved(self.model, direction or {}, rate):
                yield
            return
        saved = [(p, p.data) for p in self.model.parameters()]
        moving = {id(p): name for name, p in self.parameters.items()}
        buffers = [(m, name, b) for m in self.model.modules() for name, b in m._buffers.items() if b is not None]
        held = [(m, name, p) for m in self.model.modules() for name, p in m._parameters.items() if p is not None]
        twins: dict[int, nn.Parameter] = {}
        try:
            for p, data in saved:
                base = _raised(data) if self.is_raised else data
                if rate and direction is not None and id(p) in moving:
                    step = direction[moving[id(p)]].to(device=base.device, dtype=base.dtype)
                    base = torch.add(base, step, alpha=-rate)
                if base.dtype != data.dtype:
                    # one that changes its type loses the hooks on its accumulator of gradients
                    twins[id(p)] = nn.Parameter(base, requires_grad=p.requires_grad)
                elif base is not data:
                    p.data = base
            for module, name, p in held:
                if id(p) in twins:
                    setattr(module, name, twins[id(p)])
            self.present = {name: twins.get(id(p), p) for name, p in self.parameters.items()}
            if self.is_raised:
                for module, name, buffer in buffers:
                    module._buffers[name] = _raised(buffer)
            yield
        finally:
            for p, data in saved:
                p.data = data
            for module, name, p in held:
                if id(p) in twins:
                    setattr(module, name, p)
            self.present = self.parameters
            for module, name, buffer in buffers:
                module._buffers[name] = buffer

    def raised(self, batch: Any) -> Any:
        """A batch in the type in which the model is evaluated."""
        return (
            tree_map(lambda leaf: _raised(leaf) if isinstance(leaf, Tensor) else leaf, batch)
            if (self.is_raised)
            else batch
        )

    @property
    def memory(self) -> int:
        """Bytes of the copies that are alive in one evaluation, the direction's not counted."""
        numbers = [
            p.numel() * (4 if p.dtype in COARSE else p.element_size())
            for p in (self.model.parameters() if self.is_raised else self.parameters.values())
        ]
        return sum(numbers)


def _raised(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in COARSE else tensor
