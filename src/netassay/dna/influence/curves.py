"""One monotone curve behind each output of a network, from ablations (global epistasis: Otwinowski et al. 2018).

When the effects of factors add up behind a curve that saturates, every pair interacts, though no pair is special. The
fit finds the curve h, smooth and rising, on whose scale the ablations of pairs add up best: the second mixed difference
h(y) - h(y^f) - h(y^g) + h(y^fg) is smallest for most pairs (as MAVE-NN and SQUID do with a model of the sequence).
Pairs that differ from the rest have little weight, so that the curve does not absorb what is theirs alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from scipy.optimize import nnls
from torch import Tensor

PIECES = 24
"""Pieces of a curve of equal width, and as many of equally many values; towards its ends they are halved again."""

LEAST_PAIRS = 3
"""With fewer pairs whose factors change an output, a curve cannot be distinguished from the effects of these pairs."""

_ROUNDS = 10
_HALVINGS = 20
_FEW = 10  # values between two knots
_RIDGE = 1e-7  # of the relative square: a straight line where the data do not say otherwise
_HEARD = 1e-3  # of the strongest factor's effect: a weaker one says nothing about the curve


@dataclass(frozen=True, eq=False)
class Curves:
    """A rising curve for each output: its slope at the knots, linear between them and constant beyond.

    The scale is that of the outputs: the mean size of single effects is the same with and without the curve.
    """

    knots: tuple[Float64[Tensor, " knots"], ...]
    slopes: tuple[Float64[Tensor, " knots"], ...]

    @property
    def straight(self) -> bool:
        """Whether all are straight lines."""
        return all(bool((slopes == 1).all()) for slopes in self.slopes)

    def __call__(self, values: Float[Tensor, "*shape outputs"]) -> Float64[Tensor, "*shape outputs"]:
        """The values on the curves' scale."""
        if self.straight:
            return values.double()
        columns = [
            _apply(knots, slopes, values[..., i].double().contiguous())
            for i, (knots, slopes) in enumerate(zip(self.knots, self.slopes, strict=True))
        ]
        return torch.stack(columns, dim=-1)

    def slope(self, values: Float[Tensor, "*shape outputs"]) -> Float64[Tensor, "*shape outputs"]:
        """Slope of the curves at the values, the factor by which they magnify rounding."""
        if self.straight:
            return torch.ones_like(values, dtype=torch.float64)
        columns = [
            _slope(knots, slopes, values[..., i].double().contiguous())
            for i, (knots, slopes) in enumerate(zip(self.knots, self.slopes, strict=True))
        ]
        return torch.stack(columns, dim=-1)


def straight_lines(outputs: int) -> Curves:
    """Curves that change nothing."""
    line = torch.ones(2, dtype=torch.float64)
    return Curves((torch.tensor([0.0, 1.0], dtype=torch.float64),) * outputs, (line,) * outputs)


def fit_curves(
    intact: Float[Tensor, "n outputs"],
    single: Float[Tensor, "sets n outputs"],
    double: Float[Tensor, "pairs n outputs"],
    pairs: Int64[Tensor, "pairs 2"],
) -> Curves:
    """The curve behind each output, from outputs of the intact network, without each set and without each pair of sets.

    A straight line where fewer than `LEAST_PAIRS` pairs change an output.
    """
    knots: list[Tensor] = []
    slopes: list[Tensor] = []
    first, second = pairs.T.numpy()
    for output in range(intact.shape[1]):
        own, singles, doubles = (part[..., output].double().numpy() for part in (intact, single, double))
        edges = _edges(np.concatenate([own.ravel(), singles.ravel(), doubles.ravel()]))
        knots.append(torch.from_numpy(edges))
        slopes.append(torch.from_numpy(_slopes(edges, own, singles, doubles, first, second)))
    return Curves(tuple(knots), tuple(slopes))


def _apply(
    knots: Float64[Tensor, " knots"], slopes: Float64[Tensor, " knots"], values: Float64[Tensor, "*shape"]
) -> Float64[Tensor, "*shape"]:
    widths = knots.diff()
    heights = knots[0] + torch.cat([knots.new_zeros(1), (widths * (slopes[1:] + slopes[:-1]) / 2).cumsum(0)])
    piece = (torch.searchsorted(knots, values, right=True) - 1).clamp(0, len(widths) - 1)
    inside = torch.minimum((values - knots[piece]).clamp(min=0), widths[piece])
    left, right = slopes[piece], slopes[piece + 1]
    beyond = values - values.clamp(float(knots[0]), float(knots[-1]))
    return (
        heights[piece]
        + inside * (left + (right - left) * inside / (2 * widths[piece]))
        + beyond * torch.where(beyond < 0, slopes[0], slopes[-1])
    )


def _slope(
    knots: Float64[Tensor, " knots"], slopes: Float64[Tensor, " knots"], values: Float64[Tensor, "*shape"]
) -> Float64[Tensor, "*shape"]:
    piece = (torch.searchsorted(knots, values, right=True) - 1).clamp(0, len(knots) - 2)
    along = ((values - knots[piece]) / knots.diff()[piece]).clamp(0, 1)
    return slopes[piece] + along * (slopes[piece + 1] - slopes[piece])


def _edges(values: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " knots"]:
    """Knots from the smallest to the greatest value, closer where values are dense and towards both ends.

    A curve that saturates squeezes orders of magnitude of its argument into its ends.
    """
    values = np.sort(values)
    low, span = float(values[0]), float(values[-1] - values[0])
    if not span > 0:
        return np.linspace(low - 0.5, low + 0.5, 3)
    halves = span * 0.5 ** np.arange(1, _HALVINGS + 1)
    many = np.quantile(values, np.linspace(0, 1, PIECES + 1))
    even = low + span * np.arange(PIECES + 1) / PIECES
    edges = [low]
    for edge in np.sort(np.concatenate([low + halves, low + span - halves, many, even])):
        count = np.diff(np.searchsorted(values, [edges[-1], edge]))[0]
        wide = count >= _FEW and edge - edges[-1] > 0.9 * span / PIECES
        if wide or count >= len(values) / (4 * PIECES):
            edges.append(float(edge))
    return np.array([*edges[: -1 if len(edges) > 1 else None], low + span])


def _slopes(
    edges: Float64[np.ndarray, " knots"],
    intact: Float64[np.ndarray, " n"],
    single: Float64[np.ndarray, "sets n"],
    double: Float64[np.ndarray, "pairs n"],
    first: Int64[np.ndarray, " pairs"],
    second: Int64[np.ndarray, " pairs"],
) -> Float64[np.ndarray, " knots"]:
    widths = np.diff(edges)
    hats = (np.append(widths, 0) + np.insert(widths, 0, 0)) / (2 * widths.sum())  # what each slope adds to the whole
    line = np.ones(len(edges))
    losses = np.abs(intact - single)
    strength = np.sqrt((losses**2).mean(1))
    heard = strength > _HEARD * strength.max()
    telling = heard[first] & heard[second]
    if telling.sum() < LEAST_PAIRS:
        return line
    first, second, double = first[telling], second[telling], double[telling]
    own, singles = _integrals(edges, intact), _integrals(edges, single)
    effects = own - singles  # (sets, n, knots)
    squares = np.einsum("snk,snl->skl", effects, effects) / len(intact)
    mixed = np.stack(
        [
            _squares(own - singles[a] - singles[b] + _integrals(edges, pair))
            for a, b, pair in zip(first, second, double, strict=True)
        ]
    )
    total = (np.sign(intact - single)[:, :, None] * effects).sum((0, 1))
    total /= total.sum()
    slopes = line
    for _ in range(_ROUNDS):
        effect = np.einsum("skl,k,l->s", squares, slopes, slopes)
        smaller = np.minimum(effect[first], effect[second])
        residual = np.einsum("pkl,k,l->p", mixed, slopes, slopes).clip(min=0) / smaller
        middle = np.median(residual)
        weights = 1 / (1 + residual / (4 * middle)) ** 2 if middle > 0 else (residual == 0).astype(float)
        weights = weights / (smaller * weights.sum())
        # the squares are a length: a root of the matrix, a pull to the line, and the mean effect kept
        values, vectors = np.linalg.eigh(np.einsum("p,pkl->kl", weights, mixed))
        root = np.sqrt(values.clip(min=0))[:, None] * vectors.T
        pull = np.sqrt(_RIDGE) * np.diag(hats)
        rows = np.concatenate([root, pull, 1e3 * total[None]]) / hats
        slopes = nnls(rows, np.concatenate([np.zeros(len(root)), pull @ line, [1e3]]), maxiter=3000)[0] / hats
    return slopes


def _squares(features: Float64[np.ndarray, "n knots"]) -> Float64[np.ndarray, "knots knots"]:
    return features.T @ features / len(features)


def _integrals(
    edges: Float64[np.ndarray, " knots"], values: Float64[np.ndarray, "*shape"]
) -> Float64[np.ndarray, "*shape knots"]:
    """Integral up to each value of each knot's hat function (1 at the knot, 0 at its neighbours)."""
    widths = np.diff(edges)
    inside = ((values[..., None] - edges[:-1]) / widths).clip(0, 1)
    right = widths * inside**2 / 2
    left = widths * inside - right
    integrals = np.zeros((*values.shape, len(edges)))
    integrals[..., :-1] += left
    integrals[..., 1:] += right
    return integrals
