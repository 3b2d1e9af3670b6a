"""Sequences as codes of bases, from codes or one-hot floats."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from netassay.errors import DataError
from netassay.formats.bases import UNKNOWN


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
