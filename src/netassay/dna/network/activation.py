"""Where the activation of a convolution is: behind the norm and the activation that follow it directly.

In Basset, DeepSTARR and most others the order is convolution, norm, ReLU, and a filter whose norm has a negative weight
fires where the convolution is low: its output alone says nothing of what the filter answers to. What follows is found
in a forward pass, whether it is a module or a function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from netassay.errors import ModelError

Kind = Literal["norm", "activation", "same"]

_NAMES: dict[Kind, str] = {
    "norm": "batch_norm instance_norm group_norm",
    "activation": "relu relu6 elu selu celu gelu silu mish leaky_relu prelu rrelu softplus exp sigmoid logsigmoid tanh "
    "hardtanh hardswish hardsigmoid clamp clamp_min threshold square",
    # in evaluation they change no number
    "same": "dropout dropout1d dropout2d alpha_dropout feature_alpha_dropout feature_dropout squeeze contiguous",
}
_KINDS: dict[Any, Kind] = {
    getattr(home, name + ending): kind
    for kind, names in _NAMES.items()
    for name in names.split()
    for home in (torch, F, Tensor)
    for ending in ("", "_")
    if hasattr(home, name + ending)
}

Change = Callable[[Tensor], Tensor | None]


class _Following(TorchFunctionMode):
    """Sees every function that is called, and goes along with tensors that were begun with, step after step."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead: list[tuple[Tensor, list[Kind]]] = []

    def begin(self, output: Any) -> Any:
        if isinstance(output, Tensor):
            self.ahead.append((output, []))
        return None

    def reached(self, made: Tensor, kinds: list[Kind]) -> Tensor | None:
        """What takes the place of `made`, the last of steps of these kinds; None for itself."""
        return None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = args[0] if args else (kwargs or {}).get("input")
        made = func(*args, **(kwargs or {}))
        kind = _KINDS.get(func)
        if kind is None or not isinstance(made, Tensor):
            return made
        for i, (tensor, kinds) in enumerate(self.ahead):
            if tensor is given and "activation" not in kinds:
                kinds.append(kind)
                self.ahead[i] = (made, kinds)
                changed = self.reached(made, kinds)
                if changed is None:
                    return made
                return _in_place(changed, made, given)
        return made


class _Taking(_Following):
    def __init__(self, steps: int, change: Change) -> None:
        super().__init__()
        self.steps, self.change = steps, change

    def begin(self, output: Any) -> Any:
        return super().begin(output) if self.steps else self.change(output)

    def reached(self, made: Tensor, kinds: list[Kind]) -> Tensor | None:
        if len(kinds) != self.steps:
            return None
        self.ahead = [(tensor, held) for tensor, held in self.ahead if held is not kinds]
        return self.change(made)


def _in_place(changed: Tensor, made: Tensor, given: Any) -> Tensor:
    """What takes the place of `made`: whoever works in place may not look at what is given back."""
    return made.copy_(changed) if made is given else changed


@dataclass(frozen=True, eq=False)
class Place:
    """Where a layer is read: the output of `module`, or what the `steps` that follow it directly make of it.

    `active`: the last step is an activation. `runs`: so often the module runs in a forward pass.
    """

    module: nn.Module
    steps: int
    active: bool
    runs: int

    @contextmanager
    def taking(self, change: Change) -> Iterator[None]:
        """Inside, what is read goes through `change` in every run; where that is None it stays as it is."""
        mode = _Taking(self.steps, change)

        def begin(module: nn.Module, given: Any, output: Any) -> Any:
            changed = mode.begin(output)
            return changed if changed is None else _in_place(changed, output, given[0] if given else None)

        handle = self.module.register_forward_hook(begin)
        try:
            with mode:
                yield
        finally:
            handle.remove()


def place_of(
    run: Callable[[], Any], module: nn.Module, name: str, *, activation: bool = True, of: str = "the network"
) -> Place:
    """Where the layer `module` is read, as the forward pass `run` shows it.

    A convolution is read behind the norm and the activation that follow it directly (without `activation`: behind the
    norm), any other module at its output. ModelError where the pass never comes to it, or where other things follow it
    in one run than in another.
    """
    mode = _Following()
    handle = module.register_forward_hook(lambda module, given, output: mode.begin(output))
    try:
        with mode:
            run()
    finally:
        handle.remove()
    runs = [kinds for _, kinds in mode.ahead]
    if not runs:
        raise ModelError(f"the forward pass of {of} does not call layer {name!r}; choose one that it calls")
    if not isinstance(module, nn.Conv1d | nn.Conv2d):
        return Place(module, 0, False, len(runs))
    ways = {_own(kinds, activation) for kinds in runs}
    if len(ways) > 1:
        raise ModelError(
            f"layer {name!r} runs {len(runs)} times in a pass of {of}, and what follows it differs; give each place a "
            "module of its own"
        )
    (kinds,) = ways
    return Place(module, len(kinds), "activation" in kinds, len(runs))


def _own(kinds: list[Kind], activation: bool) -> tuple[Kind, ...]:
    """The steps up to the last norm or activation."""
    wanted = ("norm", "activation") if activation else ("norm",)
    last = max((i for i, kind in enumerate(kinds, 1) if kind in wanted), default=0)
    return tuple(kinds[:last])
