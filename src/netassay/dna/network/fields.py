"""Which bases each position of a convolution sees: by calculation for AITAC, by changing bases for any module."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from netassay.dna.network.predicting import BATCH
from netassay.errors import ModelError
from netassay.nets.sequence_cnn import STAGES

_PROBES = 3  # random sequences whose bases are changed one by one
_NOTICED = 1e-5  # of the greatest output: a change above rounding


class Field(NamedTuple):
    """Position j sees the `width` bases from base `first + stride * j` on (before the sequence where below 0)."""

    first: int
    stride: int
    width: int


def field_of_aitac(i: int) -> Field:
    """Bases that convolution i (1 to 3) of AITAC sees.

    Position j of the second sees 3j - 25 ... 3j + 25, of the third 12j - 64 ... 12j + 67.
    """
    first, stride, width = 0, 1, 1
    for stage, before in zip(STAGES[:i], (None, *STAGES), strict=False):
        if before is not None:  # pooling of the layer before, one padded
            first, width, stride = first - stride, width + (before.pool - 1) * stride, stride * before.pool
        first, width = first - stage.width // 2 * stride, width + (stage.width - 1) * stride
    return Field(first, stride, width)


def field_by_changes(sums: Callable[[Tensor], Tensor], length: int, name: str) -> Field:
    """Bases that matter to each position of a layer, found by changing every base of some random sequences.

    `sums` gives (positions, batch, channels) for codes (batch, length). ModelError where the field does not move by a
    fixed number of bases per position, or is the whole sequence.
    """
    draws = torch.Generator().manual_seed(0)
    low = high = torch.empty(0)
    for _ in range(_PROBES):
        probe = torch.randint(0, 4, (1, length), generator=draws, dtype=torch.uint8)
        responses = _responses(sums, probe)  # (bases, positions)
        bases = torch.arange(length)[:, None]
        first, last = torch.where(responses, bases, length).amin(0), torch.where(responses, bases, -1).amax(0)
        low = torch.minimum(low, first) if len(low) else first
        high = torch.maximum(high, last) if len(high) else last
    inner = ((low > 0) & (high < length - 1) & (low <= high)).nonzero().flatten()
    if len(inner) < 2:
        raise ModelError(
            f"layer {name!r}: fewer than two of its {len(low)} positions see a part of the {length} bases that ends "
            "within them, so what its filters look for cannot be shown as motifs; choose an earlier layer"
        )
    j, k = int(inner[0]), int(inner[-1])
    stride = round(int(low[k] + high[k] - low[j] - high[j]) / (2 * (k - j)))
    places = inner * stride
    start, end = int((low[inner] - places).min()), int((high[inner] - places).max())
    spread = int((low[inner] - places).max()) - start + end - int((high[inner] - places).min())
    if stride < 1 or spread > max(2 * stride, (end - start) // 2):
        raise ModelError(
            f"layer {name!r}: the bases that its positions see do not move along by a fixed number, as those of a "
            "convolution do; choose a layer before any that sees the whole sequence"
        )
    return Field(start, stride, end - start + 1)


def _responses(sums: Callable[[Tensor], Tensor], probe: Tensor) -> Tensor:
    """Whether changing a base of the probe changes a position: (bases, positions)."""
    length = probe.shape[1]
    responses = []
    for part in torch.arange(length).split(BATCH // 2):
        changed = probe.repeat(len(part) + 1, 1)
        changed[torch.arange(len(part)) + 1, part] = (changed[0, part] + 1) % 4
        outputs = sums(changed)
        difference = (outputs[:, 1:] - outputs[:, :1]).abs().amax(2)
        responses.append((difference > _NOTICED * outputs.abs().max()).T)
    return torch.cat(responses)
