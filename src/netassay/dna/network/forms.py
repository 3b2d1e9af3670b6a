"""Modules whose inputs or outputs have another form: which way round they read, which of their outputs is meant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

from jaxtyping import Float
from torch import Tensor, nn

from netassay.dna.network.choices import Layout
from netassay.errors import ModelError

Readout = int | str | Callable[[Any], Tensor] | None
"""Which of what a module gives are its outputs: the number of one of several, counted from 0; a name (key or
attribute); a function that makes (n, outputs) of it; None where it gives nothing else."""


class Shaped(nn.Module):
    """`model` as a module from one-hot (n, 4, length) to (n, outputs)."""

    def __init__(self, model: nn.Module, readout: Readout = None, layout: Layout = "channels_first") -> None:
        super().__init__()
        if layout not in get_args(Layout):
            raise ModelError(f"layout = {layout!r}; allowed are {', '.join(get_args(Layout))}")
        self.model, self.readout, self.layout = model, readout, layout

    def run(self, x: Float[Tensor, "n 4 length"]) -> Any:
        """What the model itself gives."""
        return self.model(x.transpose(1, 2) if self.layout == "channels_last" else x)

    def forward(self, x: Float[Tensor, "n 4 length"]) -> Float[Tensor, "n outputs"]:
        found = chosen(self.run(x), self.readout, type(self.model).__name__)
        return rows(found, len(x), type(self.model).__name__)


def chosen(found: Any, readout: Readout, of: str) -> Any:
    """What `readout` takes of what a module named `of` gives. ModelError where there is no such thing."""
    if readout is None:
        return found
    if callable(readout):
        return readout(found)
    if isinstance(readout, str):
        if isinstance(found, Mapping) and readout in found:
            return found[readout]
        if not isinstance(found, Mapping | Tensor) and hasattr(found, readout):
            return getattr(found, readout)
    elif isinstance(found, tuple | list) and -len(found) <= readout < len(found):
        return found[readout]
    raise ModelError(f"readout = {readout!r}: {of} gives {_form(found)}")


def rows(found: Any, n: int, of: str) -> Float[Tensor, "n outputs"]:
    """A row of outputs for each of n sequences; ModelError, with the remedy, where `found` is nothing of the kind.

    One number a sequence is one output, and axes of one place at the end are none.
    """
    if isinstance(found, Tensor):
        shape = tuple(found.shape)
        if n == 1 and found.ndim < 2 and shape != (1,):
            return found.reshape(1, -1)  # squeezed: the axis of sequences went with the others
        if found.ndim and len(found) == n:
            if found.ndim == 1:
                return found[:, None]
            if all(size == 1 for size in shape[2:]):
                return found.flatten(1)
    raise ModelError(
        f"{of} gives {_form(found)} for {n} sequences; it must give a tensor (n, outputs): say what its outputs "
        f"are, {_remedy(found)}"
    )


def _form(found: Any) -> str:
    if isinstance(found, Tensor):
        return f"a tensor {tuple(found.shape)}"
    if isinstance(found, Mapping):
        return f"a {type(found).__name__} with {', '.join(map(repr, found)) or 'nothing'}"
    if isinstance(found, tuple | list):
        return f"a {type(found).__name__} of {len(found)} ({', '.join(_form(part) for part in found)})"
    return f"a {type(found).__name__}"


def _remedy(found: Any) -> str:
    if isinstance(found, Mapping) and found:
        return f"readout={next(iter(found))!r}, or another of its names"
    if isinstance(found, tuple | list) and found:
        return f"readout={len(found) - 1} for the last one, 0 for the first"
    if isinstance(found, Tensor) and found.ndim > 2:
        return "a function such as readout=lambda y: y.mean(2), the mean over the third axis"
    return "readout= a function that makes it of what the module gives"
