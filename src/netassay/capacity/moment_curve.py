"""Distributions of small support from a softmax of small rank, on the trigonometric moment curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex128, Float64

from netassay.corpus.distribution import Distributions
from netassay.errors import ConfigError, DataError

STEEPNESSES = np.geomspace(1.0, 1e6, 61)


@dataclass(frozen=True, eq=False)
class LowRankHead:
    """Factors whose product are logits close to given distributions, and how close in float64.

    `token_factors` (zeta, 2 s) and `context_factors` (n, 2 s): logits (n, zeta) are context_factors @
    token_factors.T. `gaps_nats` (n,): Kullback-Leibler divergence of the softmax from each distribution.
    """

    token_factors: Float64[np.ndarray, "zeta r"]
    context_factors: Float64[np.ndarray, "n r"]
    gaps_nats: Float64[np.ndarray, " n"]

    @property
    def rank(self) -> int:
        """2 s, the maximum rank of the logits."""
        return self.token_factors.shape[1]

    def gap_nats(self, counts: Float64[np.ndarray, " n"] | None = None) -> float:
        """The gaps summed, each as often as its context counts: the loss above the entropy bound."""
        return float(self.gaps_nats.sum() if counts is None else self.gaps_nats @ counts)


def low_rank_head(supports: Sequence[np.ndarray], probabilities: Sequence[np.ndarray], vocabulary: int) -> LowRankHead:
    """Logits of rank 2 s for distributions on at most s of `vocabulary` tokens each (docs/capacity-bounds.md).

    `supports` hold distinct tokens 0..vocabulary - 1, `probabilities` their positive weights, summing to one.
    Token g sits at the angle theta_g = 2 pi g / zeta and has the factor (cos k theta_g, sin k theta_g), k = 1..s.
    The logits of a context are q - t p: p = prod over its support of (1 - cos(theta - theta_g)), zero there and
    positive elsewhere; q takes the values ln p^ on the support. As t rises the gap falls to zero; in float64 it
    stops falling where t times rounding matters, at larger gaps for larger s and zeta. Each context gets the t
    of a grid that makes its own gap smallest. Raises DataError for what is not a distribution.
    """
    if vocabulary < 1:
        raise ConfigError(f"vocabulary is {vocabulary}; it is a whole number, at least 1")
    for number, (support, weights) in enumerate(zip(supports, probabilities, strict=True)):
        _require_distribution(number, np.asarray(support), np.asarray(weights), vocabulary)
    degree = max(map(len, supports), default=0)
    angles = 2 * np.pi * np.arange(vocabulary) / vocabulary
    curve = moment_curve(angles, degree)
    rows = [_row(np.asarray(g), np.asarray(p), angles, curve) for g, p in zip(supports, probabilities, strict=True)]
    factors = np.array([row for row, _ in rows]).reshape(len(rows), 2 * degree)
    return LowRankHead(curve, factors, np.array([gap for _, gap in rows]))


def head_of(distributions: Distributions) -> tuple[LowRankHead, Float64[np.ndarray, " zeta"]]:
    """`low_rank_head` of a corpus's distributions, and the token that each of its zeta columns stands for."""
    tokens, columns = np.unique(distributions.tokens, return_inverse=True)
    cuts = distributions.edges[1:-1]
    return low_rank_head(np.split(columns, cuts), np.split(distributions.probabilities, cuts), len(tokens)), tokens


def moment_curve(angles: Float64[np.ndarray, " a"], degree: int) -> Float64[np.ndarray, "a 2*degree"]:
    """(cos theta, ..., cos degree theta, sin theta, ..., sin degree theta) for each angle."""
    multiples = np.outer(angles, np.arange(1, degree + 1))
    return np.concatenate([np.cos(multiples), np.sin(multiples)], axis=1)


def vanishing(angles: Float64[np.ndarray, " s"]) -> Complex128[np.ndarray, " 2*s+1"]:
    """Coefficients c of prod over g of (1 - cos(theta - theta_g)) = sum over k = -s..s of c_k exp(i k theta)."""
    product = np.ones(1, complex)
    for angle in angles:
        turn = np.exp(1j * angle) / 2
        product = np.convolve(product, [-turn, 1, -turn.conjugate()])
    return product


def _row(support: np.ndarray, weights: np.ndarray, angles: np.ndarray, curve: np.ndarray) -> tuple[np.ndarray, float]:
    """The context factors of one distribution and the gap they leave."""
    degree = curve.shape[1] // 2
    with_constant = np.concatenate([np.ones((len(support), 1)), curve[support]], axis=1)
    # the least-norm q; constants change no softmax, so its first coefficient is dropped
    q = np.linalg.lstsq(with_constant, np.log(weights), rcond=None)[0][1:]
    outside = np.ones(len(angles), bool)
    outside[support] = False
    if not outside.any():
        return q, _gap(curve @ q, support, weights)
    c = vanishing(angles[support])[len(support) + 1 :]
    p = np.zeros(2 * degree)
    p[: len(c)], p[degree : degree + len(c)] = 2 * c.real, -2 * c.imag
    heights = np.prod(1 - np.cos(angles[outside, None] - angles[support]), axis=1)
    candidates = q - np.outer(STEEPNESSES / heights.min(), p)
    gaps = [_gap(logits, support, weights) for logits in candidates @ curve.T]
    best = int(np.argmin(gaps))
    return candidates[best], gaps[best]


def _gap(logits: np.ndarray, support: np.ndarray, weights: np.ndarray) -> float:
    peak = logits.max()
    log_softmax = logits[support] - peak - np.log(np.exp(logits - peak).sum())
    return max(float(weights @ (np.log(weights) - log_softmax)), 0.0)


def _require_distribution(number: int, support: np.ndarray, weights: np.ndarray, vocabulary: int) -> None:
    if support.dtype.kind not in "iu" or support.shape != weights.shape or not len(support):
        raise DataError(f"distribution {number}: give as many positive weights as distinct tokens, at least one")
    if support.min() < 0 or support.max() >= vocabulary or len(np.unique(support)) < len(support):
        raise DataError(f"distribution {number}: its tokens are distinct and in 0..{vocabulary - 1}")
    if not (weights > 0).all() or abs(weights.sum() - 1) > 1e-9:
        raise DataError(f"distribution {number}: its weights are positive and sum to one")
