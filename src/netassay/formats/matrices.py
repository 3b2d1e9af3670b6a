"""Counts of bases at each place of a motif, in NumPy: information, letters of a logo, flanks."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

FLANK_BITS = 0.25
"""Columns at the ends with less information than this are a motif's flanks, not part of it."""

Matrix = Float64[np.ndarray, "4 width"]
"""Counts of A, C, G, T in each column; a column of zeros has no counts."""


def information(counts: Matrix) -> Float64[np.ndarray, " width"]:
    """Bits a column, 2 + sum_b p_b log2 p_b (Schneider and Stephens 1990); 0 for columns without counts."""
    shares = _shares(counts)
    nats = (shares * np.log(np.where(shares > 0, shares, 1.0))).sum(0) + np.log(4.0) * shares.sum(0)
    return nats / np.log(2)


def letter_heights(counts: Matrix) -> Matrix:
    """Letters of a logo: each base's share of the bits of its column."""
    return _shares(counts) * information(counts)


def span(counts: Matrix) -> tuple[int, int]:
    """First column and the one after the last that is not flank (`FLANK_BITS`); (0, 0) if there is none."""
    columns = np.flatnonzero(information(counts) >= FLANK_BITS)
    return (int(columns[0]), int(columns[-1]) + 1) if len(columns) else (0, 0)


def _shares(counts: Matrix) -> Matrix:
    sums = counts.sum(0)
    return np.divide(counts, sums, out=np.zeros_like(counts), where=sums > 0)
