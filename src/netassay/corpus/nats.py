"""Nats added up exactly, so that a corpus gives the same number however it is divided."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64, Int64

UNIT = 1 << 44
"""Units to the nat. Every term is rounded to a unit; units are whole numbers, whose sums are exact in any order."""

AT_ONCE = 1 << 15


def in_units(terms: Float64[np.ndarray, " terms"]) -> int:
    """The sum of terms of 0 or more, each rounded to a unit."""
    total = 0
    for first in range(0, len(terms), AT_ONCE):
        block = terms[first : first + AT_ONCE]
        nats = np.floor(block)
        rest = np.rint((block - nats) * UNIT).astype(np.int64)
        # below 2^53 and 2^63, so neither sum rounds
        total += int(nats.sum()) * UNIT + int(rest.sum())
    return total


def logs_in_units(values: Int64[np.ndarray, " values"], times: Int64[np.ndarray, " values"]) -> int:
    """The sum of ln(value), each as often as stated and rounded to a unit."""
    units = np.rint(np.log(values) * UNIT).astype(np.int64)
    # in two halves, so that no product exceeds 64 bits
    high, low = units >> 25, units & ((1 << 25) - 1)
    return (int(high @ times) << 25) + int(low @ times)


def from_units(units: int) -> float:
    """Nats, correctly rounded."""
    return units / UNIT


def counts_in_units(counts: Int64[np.ndarray, " g"], totals: Int64[np.ndarray, " g"]) -> int:
    """Sum of c ln(total / c) over next tokens, each with the total of its context; no term is negative."""
    # log1p keeps precision where c is nearly the total
    return in_units(counts * np.log1p((totals - counts) / counts))


def closing_nats(closed: Int64[np.ndarray, "e 2"]) -> float:
    """What the ends of documents add to the bound when they count as tokens, at contexts where some end.

    Rows of `closed` hold how many documents end at a context and how many continue.
    """
    ended, on = closed[:, 0], closed[:, 1]
    return sum_x_ln_x(ended + on) - sum_x_ln_x(on) - sum_x_ln_x(ended)


def x_ln_x(x: int) -> float:
    """x ln x, 0 for 0."""
    return x * math.log(x) if x else 0.0


def sum_x_ln_x(x: np.ndarray) -> float:
    """The sum of x ln x over whole numbers."""
    several = x[x > 1]
    return float(np.sum(several * np.log(several)))
