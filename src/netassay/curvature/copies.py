"""Use of a model that leaves it unchanged: copies of it, and of its buffers."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn


def copy_of(model: nn.Module) -> nn.Module:
    """A copy that shares nothing with the model, and whose trainable weights may be written to.

    A tensor that a module computed in its last forward pass and keeps as an attribute, as `torch.nn.utils.weight_norm`
    keeps the weight, has a graph, which `copy.deepcopy` refuses: only its value is copied.
    """
    computed = [t for m in model.modules() for t in vars(m).values() if isinstance(t, Tensor) and not t.is_leaf]
    return copy.deepcopy(model, {id(t): t.detach().clone() for t in computed})


@contextmanager
def buffers_kept(model: nn.Module) -> Iterator[None]:
    """Replaces the buffers by copies meanwhile.

    Writing the old values back instead would invalidate the graph that was built on the buffers.
    """
    buffers = [(m, name, b) for m in model.modules() for name, b in m._buffers.items() if b is not None]
    copies = {id(b): b.clone() for _, _, b in buffers}
    for module, name, buffer in buffers:
        module._buffers[name] = copies[id(buffer)]
    try:
        yield
    finally:
        for module, name, buffer in buffers:
            module._buffers[name] = buffer
