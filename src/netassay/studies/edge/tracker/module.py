"""The tracked module: inside the wrappers of several processes, and unchanged by looks."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from netassay.curvature.model import original
from netassay.curvature.shards import Processes, is_sharded, processes_of
from netassay.errors import ConfigError, ModelError

REPLICATED = (nn.parallel.DistributedDataParallel, nn.DataParallel)
SHARDED = "FullyShardedDataParallel"
"""The class whose sharded weights cannot be measured, by name, since importing it takes seconds."""


def inside(model: nn.Module) -> nn.Module:
    """The module inside `torch.compile` and wrappers with a replica on every process.

    A forward pass of the wrapper may wait for the other processes (it broadcasts the buffers of the first); one of the
    inner module does not.
    """
    while True:
        inner = original(model)
        inner = inner.module if isinstance(inner, REPLICATED) else inner
        if inner is model:
            return model
        model = inner


def decides(model: nn.Module) -> bool:
    """Whether this process looks at the module: the first of those that train its replicas does, for all."""
    while model is not original(model):
        model = original(model)
    if isinstance(model, nn.parallel.DistributedDataParallel):
        return torch.distributed.get_rank(model.process_group) == 0
    return True


def together(model: nn.Module, processes: str) -> Processes | None:
    """The processes that look at the module together: those among which its weights are sharded, or all replicas on
    request; None if one looks alone.
    """
    if processes not in ("first", "all"):
        raise ConfigError(f'processes={processes!r}: allowed are "first" and "all"')
    if is_sharded(model):
        return processes_of(inside(model))
    while model is not original(model):
        model = original(model)
    if processes == "all" and torch.distributed.is_initialized():
        return Processes(getattr(model, "process_group", None))
    return None


class Silence:
    """The writer of processes other than the first, which writes nothing."""

    def record(self, *_: Any) -> None: ...
    def note(self, *_: Any) -> None: ...
    def commit(self, *_: Any) -> None: ...
    def finish(self, *_: Any, **__: Any) -> None: ...
    def close(self) -> None: ...


def require_alone(model: nn.Module) -> None:
    """ModelError for a module whose forward pass needs the other processes, since only one looks."""
    for name, module in model.named_modules():
        if any(kind.__name__ == SHARDED for kind in type(module).__mro__):
            raise ModelError(
                f"module {name!r} is sharded ({type(module).__name__}), so one process has only a part of its "
                "weights; shard it with fully_shard, or track a training with complete replicas"
            )
        if isinstance(module, nn.SyncBatchNorm) and module.training:
            raise ModelError(
                f'module {name!r} is a SyncBatchNorm in train mode, which waits for all processes; use mode="eval"'
            )


@contextmanager
def left_as_it_was(model: nn.Module, mode: str) -> Iterator[None]:
    """A context in evaluation mode (on request) and full precision, which restores every module's mode and all random
    states.

    Weights, buffers and gradients need no restoring: nothing here or in a curvature writes to them.
    """
    before = {module: module.training for module in model.modules()}
    # Accelerate replaces the module's own forward pass by one in mixed precision
    mixed = [(m, m.forward) for m in before if "_original_forward" in vars(m) and "forward" in vars(m)]
    python, numpy = random.getstate(), sys.modules.get("numpy")
    legacy: Any = None if numpy is None else numpy.random.get_state()
    devices = {p.device.type for p in model.parameters()} or {"cpu"}
    try:
        if mode == "eval":
            model.eval()
        for module, _ in mixed:
            vars(module)["forward"] = module._original_forward
        with torch.autocast(devices.pop(), enabled=False):
            yield
    finally:
        for module, forward in mixed:
            module.forward = forward
        for module, training in before.items():
            module.training = training
        random.setstate(python)
        if numpy is not None:
            numpy.random.set_state(legacy)
