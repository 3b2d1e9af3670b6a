"""Sequences as codes of bases, modules whose inputs or outputs have another form, AI-TAC as plain modules.

Plain are PyTorch's own modules, for tools that attach rules to modules (DeepLIFT).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from itertools import chain
from typing import Any, get_args

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from netassay.dna.network.choices import Layout
from netassay.errors import DataError, ModelError
from netassay.formats.bases import UNKNOWN
from netassay.nets.sequence_cnn import AITAC, STAGES


def as_codes(
    sequences: UInt8[Tensor, "n length"] | Float[Tensor, "n 4 length"],
) -> UInt8[Tensor, "n length"]:
    """Codes (0 to 3 for A, C, G, T; 4 for an unknown base) from codes or one-hot floats.

    Raises DataError for other shapes, and for columns that are neither one base nor zero.
    """
    if not isinstance(sequences, Tensor):
        raise DataError(
            f"sequences are of type {type(sequences).__name__}; give a tensor: uint8 codes (n, length) or one-hot "
            "floats (n, 4, length)"
        )
    if sequences.ndim == 2 and sequences.dtype == torch.uint8:
        if (sequences > UNKNOWN).any():
            row, position = (sequences > UNKNOWN).nonzero()[0].tolist()
            raise DataError(
                f"sequence {row}, position {position} (from 0) has code {int(sequences[row, position])}; codes are 0 "
                "to 3 for A, C, G, T and 4 for an unknown base"
            )
        return sequences
    if sequences.ndim != 3 or sequences.shape[1] != 4:
        raise DataError(
            f"sequences of shape {tuple(sequences.shape)} and {sequences.dtype}; give uint8 codes (n, length) or "
            "one-hot floats (n, 4, length)"
        )
    ones = sequences == 1
    odd = ~(ones | (sequences == 0)).all(dim=1) | (ones.sum(dim=1) > 1)
    if odd.any():
        row, position = odd.nonzero()[0].tolist()
        raise DataError(
            f"sequence {row}, position {position} (from 0) is {sequences[row, :, position].tolist()}; a one-hot column "
            "is a single 1 or four zeros"
        )
    codes = ones.to(torch.uint8).argmax(dim=1).to(torch.uint8)
    return codes.masked_fill_(~ones.any(dim=1), UNKNOWN)


def check_batch(batch: int) -> None:
    """DataError for a batch size below 1."""
    if batch < 1:
        raise DataError(f"batch = {batch}; give 1 or more, the sequences to compute at a time")


def check_heights(heights: Tensor, n: int) -> None:
    """DataError for observed heights that are not a row of numbers for each of `n` sequences."""
    if not isinstance(heights, Tensor) or heights.ndim != 2 or len(heights) != n:
        form = f"shape {tuple(heights.shape)}" if isinstance(heights, Tensor) else type(heights).__name__
        raise DataError(f"heights of {form} for {n} sequences; give a tensor ({n}, outputs), a row each")


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


def form_of(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Device and dtype of a model's weights, and so of its inputs; CPU and float32 without weights."""
    tensors = (t for t in chain(model.parameters(), model.buffers()) if t.is_floating_point())
    like = next(tensors, torch.empty(0))
    return like.device, like.dtype


class Exponential(nn.Module):
    """exp(x), as a module."""

    def forward(self, x: Tensor) -> Tensor:
        return x.exp()


class BothStrands(nn.Module):
    """Mean output of a module over each one-hot sequence and its reverse complement."""

    def __init__(self, strand: nn.Module) -> None:
        super().__init__()
        self.strand = strand

    def forward(self, x: Float[Tensor, "batch 4 length"]) -> Float[Tensor, "batch outputs"]:
        return (self.strand(x) + self.strand(x.flip(1, 2))) / 2


def plain(model: AITAC) -> nn.Module:
    """A copy of `model` in evaluation mode with the same outputs, in the order of the paper: activation, then pooling.

    Convolutions, activations, poolings, norms and linear layers are modules, not function calls, so that each can have
    a rule. Weights are copies without gradients.
    """
    layers: list[nn.Module] = []
    for i, stage in enumerate(STAGES, 1):
        exponential = i == 1 and model.first_activation == "exponential"
        layers += [
            getattr(model, f"convolution{i}"),
            Exponential() if exponential else nn.ReLU(),
            nn.MaxPool1d(stage.pool, padding=1),
            getattr(model, f"norm{i}"),
        ]
    layers += [nn.Flatten(), model.hidden1, nn.ReLU(), model.hidden2, nn.ReLU(), model.output]
    strand = nn.Sequential(*deepcopy(layers))
    module = BothStrands(strand) if model.reverse_complement else strand
    return module.eval().requires_grad_(False)


def combined(model: nn.Module, weights: Float[Tensor, "outputs k"]) -> nn.Module:
    """`model` followed by a combination of its outputs."""
    device, dtype = form_of(model)
    last = nn.utils.skip_init(nn.Linear, *weights.shape, bias=False, device=device, dtype=dtype)
    with torch.no_grad():
        last.weight.copy_(weights.T)
    return nn.Sequential(model, last.requires_grad_(False))
