"""A model at weights moved along a direction, without writing to its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_map

from netassay.curvature.model import original
from netassay.curvature.shards import is_sharded, moved
from netassay.errors import ModelError

COARSE = (torch.float16, torch.bfloat16)
"""Types in which a small step would round to nothing."""

Direction = Mapping[str, Tensor]
"""Name of a trainable parameter -> tensor of its shape; a step of size eta subtracts eta times it."""


def movable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Name -> parameter of those with `requires_grad`, of any real floating-point type and on any devices.

    Raises ModelError if there is none, or one that cannot be moved.
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


def as_direction(parameters: Mapping[str, nn.Parameter], direction: Any) -> dict[str, Tensor]:
    """A tensor (P,), or tensors shaped like the trainable parameters, as a list or by name.

    Raises ModelError for other shapes, names and kinds.
    """
    if isinstance(direction, Tensor):
        size = sum(p.numel() for p in parameters.values())
        if direction.shape != (size,):
            raise ModelError(
                f"direction has shape {tuple(direction.shape)}; the {size} trainable numbers of the model need "
                f"({size},), or a list of tensors shaped like the trainable parameters"
            )
        pieces = direction.detach().split([p.numel() for p in parameters.values()])
        direction = [piece.reshape(p.shape) for piece, p in zip(pieces, parameters.values(), strict=True)]
    if isinstance(direction, Mapping):
        if set(direction) != set(parameters):
            odd = sorted(set(direction) ^ set(parameters))[0]
            raise ModelError(
                f"direction and trainable parameters differ in {odd!r}; give one tensor for each of "
                f"{', '.join(parameters)}"
            )
        direction = [direction[name] for name in parameters]
    if not isinstance(direction, Sequence) or not all(isinstance(part, Tensor) for part in direction):
        raise ModelError(
            f'direction is a {type(direction).__name__}; allowed are "gradient", a torch.optim.Optimizer, a tensor or '
            "a list of tensors shaped like the trainable parameters"
        )
    if len(direction) != len(parameters):
        raise ModelError(f"direction has {len(direction)} tensors for {len(parameters)} trainable parameters")
    for (name, p), part in zip(parameters.items(), direction, strict=True):
        if part.shape != p.shape:
            raise ModelError(f"direction has shape {tuple(part.shape)} for {name!r}, which is {tuple(p.shape)}")
    return {name: part.detach() for name, part in zip(parameters, direction, strict=True)}


def inner_product(a: Direction, b: Direction) -> float:
    return sum(float((a[name].double() * b[name].to(a[name].device).double()).sum()) for name in a)


class Displaced:
    """The weights of a model, moved and restored. `at` replaces them by copies: the tensors that the parameters hold
    are never written to, so they come back bit for bit. Shards are written to, and their bits restored.

    If a trainable parameter has 16 bits, all floating-point numbers of the model are converted to float32 meanwhile
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
        """Context in which the weights are theta - rate * direction; unchanged without a direction."""
        if self.is_sharded:
            with moved(self.model, direction or {}, rate):
                yield
            return
        saved = [(p, p.data) for p in self.model.parameters()]
        moving = {id(p): name for name, p in self.parameters.items()}
        buffers = [(m, name, b) for m in self.model.modules() for name, b in m._buffers.items() if b is not None]
        slots = [(m, name, p) for m in self.model.modules() for name, p in m._parameters.items() if p is not None]
        twins: dict[int, nn.Parameter] = {}
        try:
            for p, data in saved:
                base = _raised(data) if self.is_raised else data
                if rate and direction is not None and id(p) in moving:
                    step = direction[moving[id(p)]].to(device=base.device, dtype=base.dtype)
                    base = torch.add(base, step, alpha=-rate)
                if base.dtype != data.dtype:
                    # a parameter that changes its type loses the hooks on its gradient accumulator
                    twins[id(p)] = nn.Parameter(base, requires_grad=p.requires_grad)
                elif base is not data:
                    p.data = base
            for module, name, p in slots:
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
            for module, name, p in slots:
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
        """Bytes of the copies that are alive in one evaluation, without the direction."""
        numbers = [
            p.numel() * (4 if p.dtype in COARSE else p.element_size())
            for p in (self.model.parameters() if self.is_raised else self.parameters.values())
        ]
        return sum(numbers)


def _raised(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in COARSE else tensor
