"""Words of four bases: a convolution over DNA as a look-up of sums of taps, counts of windows as counts of words."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int32, UInt8
from torch import Tensor

from netassay.formats.bases import UNKNOWN

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
