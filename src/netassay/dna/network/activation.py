"""Where the activation of a convolution is: behind the norm and the activation that directly follow it.

In Basset, DeepSTARR and most others the order is convolution, norm, ReLU, and a filter whose norm has a negative weight
fires where the convolution is low: its output alone does not show what the filter responds to. The steps that follow
are found in a forward pass, whether they are modules or functions.
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


class _Follower(TorchFunctionMode):
    """Sees every function call, and follows tensors from `begin` on, step after step."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead: list[tuple[Tensor, list[Kind]]] = []

    def begin(self, output: Any) -> Any:
        if isinstance(output, Tensor):
            self.ahead.append((output, []))
        return None

    def reached(self, output: Tensor, kinds: list[Kind]) -> Tensor | None:
        """What replaces `output`, the last of steps of these kinds; None to keep it."""
        return None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        source = args[0] if args else (kwargs or {}).get("input")
        output = func(*args, **(kwargs or {}))
        kind = _KINDS.get(func)
        if kind is None or not isinstance(output, Tensor):
            return output
        for i, (tensor, kinds) in enumerate(self.ahead):
            if tensor is source and "activation" not in kinds:
                kinds.append(kind)
                self.ahead[i] = (output, kinds)
                changed = self.reached(output, kinds)
                if changed is None:
                    return output
                return _in_place(changed, output, source)
        return output


class _Replacer(_Follower):
    def __init__(self, steps: int, change: Change) -> None:
        super().__init__()
        self.steps, self.change = steps, change

    def begin(self, output: Any) -> Any:
        return super().begin(output) if self.steps else self.change(output)

    def reached(self, output: Tensor, kinds: list[Kind]) -> Tensor | None:
        if len(kinds) != self.steps:
            return None
        self.ahead = [(tensor, steps) for tensor, steps in self.ahead if steps is not kinds]
        return self.change(output)


def _in_place(changed: Tensor, output: Tensor, source: Any) -> Tensor:
    """What replaces `output`: after an operation in place on `source`, callers may ignore the returned tensor."""
    return output.copy_(changed) if output is source else changed


@dataclass(frozen=True, eq=False)
class Place:
    """Where a layer is read: at the output of `module`, or after the `steps` that directly follow it.

    `active`: the last step is an activation. `runs`: number of times that the module runs in a forward pass.
    """

    module: nn.Module
    steps: int
    active: bool
    runs: int

    @contextmanager
    def taking(self, change: Change) -> Iterator[None]:
        """Inside, `change` is applied to the layer's output in every run; where it returns None, the output stays."""
        mode = _Replacer(self.steps, change)

        def begin(module: nn.Module, inputs: Any, output: Any) -> Any:
            changed = mode.begin(output)
            return changed if changed is None else _in_place(changed, output, inputs[0] if inputs else None)

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

    A convolution is read behind the norm and the activation that directly follow it (without `activation`: behind the
    norm), any other module at its output. ModelError where the pass never reaches it, or where the steps that follow
    differ between runs.
    """
    mode = _Follower()
    handle = module.register_forward_hook(lambda module, inputs, output: mode.begin(output))
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
    paths = {_own(kinds, activation) for kinds in runs}
    if len(paths) > 1:
        raise ModelError(
            f"layer {name!r} runs {len(runs)} times in a pass of {of}, and what follows it differs; give each place a "
            "module of its own"
        )
    (kinds,) = paths
    return Place(module, len(kinds), "activation" in kinds, len(runs))


def _own(kinds: list[Kind], activation: bool) -> tuple[Kind, ...]:
    """The steps up to the last norm or activation."""
    ends = ("norm", "activation") if activation else ("norm",)
    last = max((i for i, kind in enumerate(kinds, 1) if kind in ends), default=0)
    return tuple(kinds[:last])
