"""Modules whose inputs or outputs have another form: which layout they read, which of their outputs to use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

from jaxtyping import Float
from torch import Tensor, nn

from netassay.dna.network.choices import Layout
from netassay.errors import ModelError

Readout = int | str | Callable[[Any], Tensor] | None
"""Which part of what a module returns are its outputs: a number, counted from 0; a name (key or attribute); a function
that returns (n, outputs); None where the module returns only its outputs."""


class Shaped(nn.Module):
    """`model` as a module from one-hot (n, 4, length) to (n, outputs)."""

    def __init__(self, model: nn.Module, readout: Readout = None, layout: Layout = "channels_first") -> None:
        super().__init__()
        if layout not in get_args(Layout):
            raise ModelError(f"layout = {layout!r}; allowed are {', '.join(get_args(Layout))}")
        self.model, self.readout, self.layout = model, readout, layout

    def run(self, x: Float[Tensor, "n 4 length"]) -> Any:
        """What the model itself returns."""
        return self.model(x.transpose(1, 2) if self.layout == "channels_last" else x)

    def forward(self, x: Float[Tensor, "n 4 length"]) -> Float[Tensor, "n outputs"]:
        answer = select(self.run(x), self.readout, type(self.model).__name__)
        return rows(answer, len(x), type(self.model).__name__)


def select(answer: Any, readout: Readout, of: str) -> Any:
    """The part `readout` of the answer of a module named `of`. ModelError where there is no such part."""
    if readout is None:
        return answer
    if callable(readout):
        return readout(answer)
    if isinstance(readout, str):
        if isinstance(answer, Mapping) and readout in answer:
            return answer[readout]
        if not isinstance(answer, Mapping | Tensor) and hasattr(answer, readout):
            return getattr(answer, readout)
    elif isinstance(answer, tuple | list) and -len(answer) <= readout < len(answer):
        return answer[readout]
    raise ModelError(f"readout = {readout!r}: {of} gives {_form(answer)}")


def rows(answer: Any, n: int, of: str) -> Float[Tensor, "n outputs"]:
    """A row of outputs for each of n sequences; ModelError, with the remedy, where `answer` is of another form.

    One number per sequence is one output, and trailing axes of size 1 are dropped.
    """
    if isinstance(answer, Tensor):
        shape = tuple(answer.shape)
        if n == 1 and answer.ndim < 2 and shape != (1,):
            return answer.reshape(1, -1)  # squeezed: the axis of sequences is lost too
        if answer.ndim and len(answer) == n:
            if answer.ndim == 1:
                return answer[:, None]
            if all(size == 1 for size in shape[2:]):
                return answer.flatten(1)
    raise ModelError(
        f"{of} gives {_form(answer)} for {n} sequences; it must give a tensor (n, outputs): say what its outputs "
        f"are, {_remedy(answer)}"
    )


def _form(answer: Any) -> str:
    if isinstance(answer, Tensor):
        return f"a tensor {tuple(answer.shape)}"
    if isinstance(answer, Mapping):
        return f"a {type(answer).__name__} with {', '.join(map(repr, answer)) or 'nothing'}"
    if isinstance(answer, tuple | list):
        return f"a {type(answer).__name__} of {len(answer)} ({', '.join(_form(part) for part in answer)})"
    return f"a {type(answer).__name__}"


def _remedy(answer: Any) -> str:
    if isinstance(answer, Mapping) and answer:
        return f"readout={next(iter(answer))!r}, or another of its names"
    if isinstance(answer, tuple | list) and answer:
        return f"readout={len(answer) - 1} for the last one, 0 for the first"
    if isinstance(answer, Tensor) and answer.ndim > 2:
        return "a function such as readout=lambda y: y.mean(2), the mean over the third axis"
    return "readout= a function that picks them from what the module returns"
