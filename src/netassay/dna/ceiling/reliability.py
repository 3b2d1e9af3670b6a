"""From correlations of two halves, each noisy, to the mean score of a perfect model.

A correlation over a handful of cell types is far from that of endless ones, and the square root of the Spearman-Brown
formula is curved, so that neither the mean over peaks of the formula nor the formula of the mean is right. Here the law
of the peaks' true reliabilities is fitted to the observed correlations (a nonparametric maximum likelihood; Kiefer and
Wolfowitz 1956), and the score of a perfect model is the mean over that law.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

DRAWS = 100_000
RELIABILITIES = np.concatenate([[0.0], np.linspace(0.03, 0.98, 34), [0.99, 0.995, 0.998]])
"""Reliabilities of a half that peaks may have."""

EDGES = np.concatenate([[-1.0001], np.tanh(np.linspace(-2.5, 3.5, 121)), [1.0001]])
"""Bins of observed correlations, finer towards 1."""

STEPS = 1_000


class Kernel(NamedTuple):
    """For each reliability: chances of the bins of the halves' correlation; mean and standard deviation of the score of
    a perfect model on a peak."""

    chances: Float64[np.ndarray, "bins reliabilities"]
    scores: Float64[np.ndarray, " reliabilities"]
    spreads: Float64[np.ndarray, " reliabilities"]


@lru_cache(maxsize=32)
def kernel(cell_types: int, halves: int = 2) -> Kernel:
    """By simulation of a peak of each reliability: a fixed signal over cell types and Gaussian noise in each half.

    `halves`: number of halves whose mean the model is scored against.
    """
    draws = np.random.default_rng([cell_types, 0x6B65])
    # only lengths and angles matter: `along` the signal, `off` it, and in the second half `beside` the first's off-part
    along = draws.standard_normal((2, DRAWS))
    off = np.sqrt(draws.chisquare(cell_types - 2, DRAWS))
    beside = draws.standard_normal(DRAWS)
    beyond = draws.chisquare(cell_types - 3, DRAWS) if cell_types > 3 else np.zeros(DRAWS)
    chances, scores, spreads = [], [], []
    for reliability in RELIABILITIES:
        signal = np.sqrt((cell_types - 1) * reliability / (1 - reliability))
        first, second = signal + along
        lengths = np.sqrt((first**2 + off**2) * (second**2 + beside**2 + beyond))
        counts, _ = np.histogram((first * second + off * beside) / lengths, EDGES)
        chances.append((counts + 1e-3) / (DRAWS + 1e-3 * len(counts)))
        if halves == 1:
            score = first / np.sqrt(first**2 + off**2)
        else:
            score = (first + second) / np.sqrt((first + second) ** 2 + (off + beside) ** 2 + beyond)
        scores.append(float(score.mean()) if reliability else 0.0)
        spreads.append(float(score.std()))
    return Kernel(np.array(chances).T, np.array(scores), np.array(spreads))


def correlations(first: Float[np.ndarray, "n m"], second: Float[np.ndarray, "n m"]) -> Float64[np.ndarray, " n"]:
    """Pearson correlation of each row of one with that of the other; NaN where a row is constant."""
    first, second = (np.asarray(rows, np.float64) for rows in (first, second))
    first, second = (rows - rows.mean(axis=1, keepdims=True) for rows in (first, second))
    lengths = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(lengths > 0, (first * second).sum(axis=1) / lengths, np.nan)


def spearman_brown(reliability: Float[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Reliability of both halves together from that of one (Spearman 1910, Brown 1910)."""
    return 2 * reliability / (1 + reliability)


def bins_of(correlation: Float[np.ndarray, " n"]) -> np.ndarray:
    """The bin of each correlation; -1 for NaN."""
    return np.where(np.isnan(correlation), -1, np.searchsorted(EDGES, np.nan_to_num(correlation), side="right") - 1)


def laws(
    counts: Float[np.ndarray, "repeats bins"], chances: Float[np.ndarray, "bins reliabilities"]
) -> Float64[np.ndarray, "repeats reliabilities"]:
    """Shares of the peaks at each reliability, of greatest likelihood (EM; Laird 1978), for counts of each repeat."""
    shares = np.full((len(counts), chances.shape[1]), 1 / chances.shape[1])
    total = counts.sum(axis=1, keepdims=True)
    for _ in range(STEPS):
        expected = shares @ chances.T
        shares = shares * ((counts / np.maximum(expected, 1e-300)) @ chances) / np.maximum(total, 1e-300)
    return shares
