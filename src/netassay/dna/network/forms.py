"""Forms in which sequences and networks are taken: codes of bases, modules of other forms, AI-TAC plain and folded.

Plain is AI-TAC built of PyTorch's own modules, for tools that attach rules to modules (DeepLIFT). Folded, it gives the
same outputs from codes of bases, in fewer operations and passes over memory. The first layer looks up sums of taps over
words of four bases, five rows of a table instead of 76 products per filter. In evaluation a batch norm is a scale and a
shift of each channel. After ReLU that is
shift + scale relu(p + b) = sign max(|scale| p + |scale| b + sign shift, sign shift): the scale goes into the taps
before, the sign into the weights after, the rest is a bias and a floor. (The shift cannot go into the next convolution,
whose padding is zero and not shifted.) Everything that depends only on weights is computed once, not for every batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from itertools import chain
from typing import Any, NamedTuple, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int32, UInt8
from torch import Tensor, nn

from netassay.dna.network.choices import Layout
from netassay.errors import DataError, ModelError
from netassay.formats.bases import UNKNOWN, reverse_complement
from netassay.nets.sequence_cnn import (
    AITAC,
    STAGES,
    Transforms,
    check_length,
    correlate_transformed,
    pooled_lengths,
    pooling_positions,
    saves_work,
    transformed_taps,
    transforms,
)
from netassay.nets.unset import unset


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
    last = unset(nn.Linear, weights.shape[0], weights.shape[1], bias=False, device=device, dtype=dtype)
    with torch.no_grad():
        last.weight.copy_(weights.T)
    return nn.Sequential(model, last.requires_grad_(False))


WORD = 4
"""Bases looked up at once."""

LETTERS = UNKNOWN + 1
KINDS = LETTERS**WORD


def words(codes: UInt8[Tensor, "batch length"], before: int, after: int) -> Int32[Tensor, "places batch"]:
    """The number of the word that begins at each place, its first letter the most significant.

    `before` unknown bases are added before the first base, `after` behind the last; place 0 is the first of them.
    """
    letters = F.pad(codes.T.int(), (0, 0, before, after), value=UNKNOWN)
    count = len(letters) - WORD + 1
    numbers = torch.zeros((count, letters.shape[1]), dtype=torch.int32, device=codes.device)
    for i in range(WORD):
        numbers.mul_(LETTERS).add_(letters[i : i + count])
    return numbers


def starts(width: int) -> list[tuple[int, int]]:
    """Number and first tap of each word of a window."""
    return list(enumerate(range(0, width, WORD)))


def tap_sums(
    weight: Float[Tensor, "filters 4 width"], bias: Float[Tensor, " filters"]
) -> Float[Tensor, "rows filters"]:
    """Sums of taps of all words, word by word of the window; unknown bases add nothing, the first word the bias."""
    missing = -weight.shape[2] % WORD
    taps = F.pad(weight, (0, missing, 0, LETTERS - 4)).permute(2, 1, 0)  # (width, letters, filters)
    parts = []
    for _, start in starts(weight.shape[2]):
        sums = taps[start] + bias if start == 0 else taps[start]
        for i in range(1, WORD):
            sums = (sums[:, None] + taps[start + i]).flatten(0, 1)
        parts.append(sums)
    return torch.cat(parts)


def look_up(
    numbers: Int32[Tensor, "places batch"], places: Tensor, sums: Float[Tensor, "rows filters"], width: int
) -> Float[Tensor, "positions batch filters"]:
    """The convolution with the taps of `sums` over windows that begin at `places`."""
    rows = torch.stack([numbers[places + start] + at * KINDS for at, start in starts(width)], dim=-1)
    return F.embedding_bag(rows.view(-1, rows.shape[-1]), sums, mode="sum").view(*rows.shape[:2], -1)


_WINDOWS = 4  # pooling windows of the first layer at a time, so that they stay in the cache


class _Finish(NamedTuple):
    """Applied to the maximum p of a window, in place: max(p, floor), or scale exp(p) + floor if there is a scale."""

    floor: Tensor
    scale: Tensor | None

    def __call__(self, pooled: Tensor) -> Tensor:
        if self.scale is None:
            return torch.maximum(pooled, self.floor, out=pooled)
        return pooled.exp_().mul_(self.scale).add_(self.floor)


class _Convolution(NamedTuple):
    """A convolution at the positions under its pooling windows: by frequencies if there are matrices, else directly.

    Its output is the maximum of each window, plus bias.
    """

    taps: Float[Tensor, "outputs inputs width"]
    weight: Tensor
    bias: Tensor
    positions: tuple[int, ...]
    matrices: Transforms | None

    pool: int

    def __call__(self, h: Float[Tensor, "length batch inputs"]) -> Float[Tensor, "pooled batch outputs"]:
        sums = self.sums(h)
        return greatest_of_windows(sums, self.pool).add_(self.bias)

    def sums(self, h: Float[Tensor, "length batch inputs"]) -> Float[Tensor, "positions batch outputs"]:
        """Before pooling and bias."""
        if self.matrices is not None:
            return correlate_transformed(h, self.weight, self.matrices)
        outputs = F.conv1d(h.permute(1, 2, 0), self.weight, padding=self.weight.shape[2] // 2)
        return outputs.permute(2, 0, 1)[list(self.positions)]


class Folded:
    """The function of `model` in evaluation mode at the weights it has now, computed in `dtype`.

    Takes codes (batch, length) of bases, 0 to 3 and 4 for unknown ones; gives (batch, n_outputs) in the dtype of the
    model's weights. Agrees with the model's own output up to rounding. Later changes of the model are not seen. No
    gradients. Raises ModelError for sequences of another length.
    """

    @torch.no_grad()
    def __init__(self, model: AITAC, dtype: torch.dtype) -> None:
        self.length, self.both_strands = model.length, model.reverse_complement
        lengths = (model.length, *pooled_lengths(model.length))
        exponential = model.first_activation == "exponential"
        scales, shifts = zip(*(scale_and_shift(model.get_submodule(f"norm{i}")) for i in (1, 2, 3)), strict=True)
        convolutions: list[nn.Conv1d] = [getattr(model, f"convolution{i}") for i in (1, 2, 3)]
        # the sign of each channel that is not yet part of the weights before
        sign = torch.ones(4, device=scales[0].device, dtype=torch.float64)
        self.finishes: list[_Finish] = []
        self.convolutions: list[_Convolution] = []
        for i, (layer, scale, shift) in enumerate(zip(convolutions, scales, shifts, strict=True)):
            assert layer.bias is not None
            weight, bias = _double(layer.weight) * sign[:, None], _double(layer.bias)
            if i == 0 and exponential:
                finish, sign = _Finish(shift.to(dtype), scale.to(dtype)), torch.ones_like(scale)
            else:
                sign, size = torch.where(scale < 0, -1.0, 1.0), scale.abs()
                weight, floor = weight * size[:, None, None], sign * shift
                bias, finish = size * bias + floor, _Finish(floor.to(dtype), None)
            self.finishes.append(finish)
            if i == 0:
                self.words = tap_sums(weight, bias).to(dtype)
            else:
                self.convolutions.append(_prepare(weight, bias, lengths[i], STAGES[i].pool, dtype))
        hidden = [(_double(layer.weight), _double(layer.bias)) for layer in (model.hidden1, model.hidden2)]
        hidden[0] = (hidden[0][0] * sign.repeat_interleave(lengths[-1]), hidden[0][1])
        self.hidden = [(weight.to(dtype), bias.to(dtype)) for weight, bias in hidden]
        self.output = (model.output.weight.detach().clone(), model.output.bias.detach().clone())

    @torch.no_grad()
    def __call__(self, codes: UInt8[Tensor, "batch length"]) -> Float[Tensor, "batch outputs"]:
        check_length(codes.shape[1], self.length)
        if not self.both_strands:
            return self._outputs(codes)
        return (self._outputs(codes) + self._outputs(reverse_complement(codes))) / 2

    def _outputs(self, codes: Tensor) -> Tensor:
        with torch.autocast(codes.device.type, enabled=False):
            return self._top(self.up_to(len(STAGES), codes))

    def after_second(self, h: Float[Tensor, "pooled batch channels"]) -> Float[Tensor, "batch outputs"]:
        """The outputs, from the result of `up_to` for the second convolution."""
        with torch.autocast(h.device.type, enabled=False):
            return self._top(self.finishes[2](self.convolutions[1](h)))

    def _top(self, h: Float[Tensor, "pooled batch channels"]) -> Float[Tensor, "batch outputs"]:
        flat = h.permute(1, 2, 0).flatten(1)
        for weight, bias in self.hidden:
            flat = F.linear(flat, weight, bias).relu_()
        # as in the model, the last layer is as precise as its weights
        return F.linear(flat.to(self.output[0].dtype), *self.output)

    @torch.no_grad()
    def up_to(self, i: int, codes: UInt8[Tensor, "batch length"]) -> Float[Tensor, "pooled batch channels"]:
        """Convolution i (1 to 3) after pooling and batch norm, times the sign of the norm's scale."""
        h = self._first(codes)
        for convolution, finish in zip(self.convolutions[: i - 1], self.finishes[1:i], strict=True):
            h = finish(convolution(h))
        return h

    def _first(self, codes: Tensor) -> Tensor:
        stage, positions = STAGES[0], pooling_positions(self.length, STAGES[0].pool)
        half = stage.width // 2
        letters = words(codes, half, half + -stage.width % WORD)
        parts = torch.tensor(positions, device=codes.device).split(_WINDOWS * stage.pool)
        pooled = self.words.new_empty(len(positions) // stage.pool, len(codes), self.words.shape[1])
        for part, piece in zip(parts, pooled.split(_WINDOWS), strict=True):
            sums = look_up(letters, part, self.words, stage.width)
            self.finishes[0](greatest_of_windows(sums, stage.pool, piece))
        return pooled


def _prepare(weight: Tensor, bias: Tensor, length: int, pool: int, dtype: torch.dtype) -> _Convolution:
    outputs, inputs, width = weight.shape
    positions = pooling_positions(length, pool)
    if weight.device.type != "cpu" or not saves_work(length, width, len(positions), inputs, outputs):
        taps = weight.to(dtype)
        return _Convolution(taps, taps, bias.to(dtype), positions, None, pool)
    exact, rounded = (
        transforms(length, width, width // 2, positions, kind, weight.device) for kind in (weight.dtype, dtype)
    )
    by_frequency = transformed_taps(weight, exact).to(dtype)
    return _Convolution(weight.to(dtype), by_frequency, bias.to(dtype), positions, rounded, pool)


def greatest_of_windows(
    x: Float[Tensor, "positions batch channels"],
    pool: int,
    best: Float[Tensor, "windows batch channels"] | None = None,
) -> Float[Tensor, "windows batch channels"]:
    """The maximum of each window, written to `best` if given."""
    windows = x.view(-1, pool, *x.shape[1:])
    best = torch.maximum(windows[:, 0], windows[:, 1], out=best)
    for i in range(2, pool):
        torch.maximum(best, windows[:, i], out=best)
    return best


def scale_and_shift(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """A batch norm in evaluation mode: what channels are multiplied by, and what is added, in float64."""
    assert isinstance(norm, nn.BatchNorm1d) and norm.running_mean is not None and norm.running_var is not None
    scale = _double(norm.weight) / (_double(norm.running_var) + norm.eps).sqrt()
    return scale, _double(norm.bias) - scale * _double(norm.running_mean)


def _double(values: Tensor) -> Tensor:
    return values.detach().double()
