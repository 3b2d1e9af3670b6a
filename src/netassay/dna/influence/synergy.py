"""Synergy of two motifs planted at every distance, on the scale on which most effects of a network add up.

synergy(d) = y(both) - y(first) - y(second) + y(neither), the mean over backgrounds, y on the scale of the curves behind
the outputs if these are given: without them a bend alone makes synergy at every distance. The null is the same with the
bases of the second motif shuffled, anew in every background.

Curves: one monotone curve behind each output, from ablations (global epistasis: Otwinowski et al. 2018). When the
effects of factors add up behind a curve that saturates, every pair interacts, though no pair is special. The fit finds
the curve h, smooth and rising, on whose scale the ablations of pairs add up best: the second mixed difference
h(y) - h(y^f) - h(y^g) + h(y^fg) is smallest for most pairs (as MAVE-NN and SQUID do with a model of the sequence).
Pairs that differ from the rest have little weight, so that the curve does not absorb what is theirs alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, UInt8
from scipy.optimize import nnls
from torch import Tensor, nn

from netassay.dna.network.choices import Layout
from netassay.dna.network.forms import Readout
from netassay.dna.network.network import Network, predict
from netassay.errors import DataError
from netassay.formats.bases import reverse_complement

ORIENTATIONS = ("++", "+-", "-+", "--")
"""Strands of the first motif, on the left, and of the second. The other strand reads them in the opposite order."""

_JITTER = 10  # bases by which the place of a pair varies over backgrounds


@dataclass(frozen=True, eq=False)
class Spacing:
    """Synergy of two motifs by orientation and distance between their centres, in the units of the outputs.

    Attributes:
        orientations: Strands of both motifs.
        distances: (distances,) bases between centres.
        synergy: (orientations, distances, outputs).
        error: Standard error of the mean over backgrounds.
        null: (distances, outputs) synergy with the bases of the second motif shuffled (over both strands of the first).
        null_error: Its standard error.
        alone: (2, outputs) mean effects of the first and the second motif alone, over both strands, the second over
            all positions.
        backgrounds: Number of backgrounds.

    Example:
        >>> import torch, netassay
        >>> from netassay.nets import AITAC
        >>> model = AITAC(3, length=100, n_filters=4, n_channels=3, n_hidden=5, generator=torch.Generator())
        >>> codes = torch.randint(4, (20, 100), dtype=torch.uint8)
        >>> motif = torch.eye(4)
        >>> result = netassay.dna.influence.spacing(
        ...     model, motif, motif, codes, generator=torch.Generator(), distances=[10]
        ... )
        >>> result.backgrounds
        20
    """

    orientations: tuple[str, ...]
    distances: Float64[Tensor, " distances"]
    synergy: Float64[Tensor, "orientations distances outputs"]
    error: Float64[Tensor, "orientations distances outputs"]
    null: Float64[Tensor, "distances outputs"]
    null_error: Float64[Tensor, "distances outputs"]
    alone: Float64[Tensor, "2 outputs"]
    backgrounds: int


def spacing(
    model: nn.Module | Network,
    first: Float[Tensor, "4 width_1"],
    second: Float[Tensor, "4 width_2"],
    backgrounds: UInt8[Tensor, "n length"],
    *,
    generator: torch.Generator,
    distances: Sequence[int] | None = None,
    orientations: Sequence[str] = ORIENTATIONS,
    sampled: bool = False,
    both_strands: bool | None = None,
    precision: torch.dtype | None = None,
    curves: Curves | None = None,
    readout: Readout = None,
    layout: Layout | None = None,
) -> Spacing:
    """Synergy of two motifs planted in backgrounds, by orientation and distance.

    Args:
        model: The module or network.
        first: (4, width) shares of A, C, G, T in each column.
        second: (4, width) the same.
        backgrounds: (n, length) codes, such as shuffled sequences (2 or more).
        generator: Draws the null and the samples.
        distances: Bases between centres; by default from side by side to 60. Where the widths differ by an odd number
            the centres are half a base closer.
        orientations: Strands of both: "++", "+-", "-+", "--".
        sampled: Whether to plant another draw from the columns in every background, instead of the most frequent
            bases.
        both_strands: Whether to take the mean over each sequence and its reverse complement.
        precision: torch.float32, or torch.bfloat16 for screening.
        curves: Curves of `interactions`.
        readout: Which of the model's outputs to use (see `Network`).
        layout: "channels_first" or "channels_last".

    Returns:
        The synergy.

    Raises:
        DataError: For fewer than two backgrounds, and motifs that would overlap or do not fit.

    Source:
        Avsec et al. (2021), motif pairs in silico (BPNet).

    Example:
        >>> import torch, netassay
        >>> from netassay.nets import AITAC
        >>> model = AITAC(3, length=100, n_filters=4, n_channels=3, n_hidden=5, generator=torch.Generator())
        >>> codes = torch.randint(4, (20, 100), dtype=torch.uint8)
        >>> motif = torch.eye(4)
        >>> result = netassay.dna.influence.spacing(
        ...     model, motif, motif, codes, generator=torch.Generator(), distances=[10, 20]
        ... )
        >>> result.synergy.shape
        torch.Size([4, 2, 3])
    """
    network = Network.of(model, both_strands=both_strands, precision=precision, readout=readout, layout=layout)
    widths = first.shape[1], second.shape[1]
    near = (widths[0] + widths[1] + 1) // 2
    centres = list(distances) if distances is not None else list(range(near, 61))
    _check(backgrounds, widths, centres, near, orientations)
    n, length = backgrounds.shape
    extent = max(centres) + widths[0] + widths[1]
    jitter = torch.randint(-_JITTER, _JITTER + 1, (n,), generator=generator)
    start = ((length - extent) // 2 + jitter).clamp(0, length - extent)
    left = _both_strands(_instances(first, n, sampled, generator))
    right = _both_strands(_instances(second, n, sampled, generator))
    right["0"] = _scramble(second, n, sampled, generator)
    moves = [(widths[0] + 2 * d - widths[1]) // 2 for d in centres]

    def outputs(parts: Sequence[Tensor]) -> Float64[Tensor, "parts n outputs"]:
        predictions = predict(network, torch.cat(list(parts)))
        scaled = predictions.double() if curves is None else curves(predictions)
        return scaled.view(len(parts), n, -1)

    neither = outputs([backgrounds])
    lefts = {strand: plant(backgrounds, instances, start) for strand, instances in left.items()}
    only_left = dict(zip(lefts, outputs(list(lefts.values())) - neither, strict=True))
    kinds = [*orientations, "+0", "-0"]
    synergy: dict[str, list[Tensor]] = {kind: [] for kind in kinds}
    only_second = []
    for move in moves:
        rights = [plant(backgrounds, instances, start + move) for instances in right.values()]
        doubles = [plant(lefts[kind[0]], right[kind[1]], start + move) for kind in kinds]
        effects = outputs([*rights, *doubles]) - neither
        only_right = dict(zip(right, effects, strict=False))
        only_second.append((only_right["+"] + only_right["-"]).mean(0) / 2)
        for kind, effect in zip(kinds, effects[len(rights) :], strict=True):
            synergy[kind].append(effect - only_left[kind[0]] - only_right[kind[1]])
    nulls = [(plus + minus) / 2 for plus, minus in zip(synergy["+0"], synergy["-0"], strict=True)]
    null, null_error = _mean_and_error(nulls)
    means, errors = zip(*(_mean_and_error(synergy[kind]) for kind in orientations), strict=True)
    only_first = (only_left["+"] + only_left["-"]).mean(0) / 2
    return Spacing(
        orientations=tuple(orientations),
        distances=torch.tensor([move + (widths[1] - widths[0]) / 2 for move in moves], dtype=torch.float64),
        synergy=torch.stack(means),
        error=torch.stack(errors),
        null=null,
        null_error=null_error,
        alone=torch.stack([only_first, torch.stack(only_second).mean(0)]),
        backgrounds=n,
    )


def plant(
    codes: UInt8[Tensor, "n length"], instances: UInt8[Tensor, "n width"], start: Tensor
) -> UInt8[Tensor, "n length"]:
    """Copies of the sequences with an instance of its own written from `start` on in each."""
    places = start[:, None] + torch.arange(instances.shape[1])
    return codes.scatter(1, places, instances)


def _instances(
    motif: Float[Tensor, "4 width"], n: int, sampled: bool, generator: torch.Generator
) -> UInt8[Tensor, "n width"]:
    if not sampled:
        return motif.argmax(0).to(torch.uint8).expand(n, -1)
    bases = torch.multinomial(motif.T.double(), n, replacement=True, generator=generator)  # (width, n)
    return bases.T.to(torch.uint8).contiguous()


def _scramble(
    motif: Float[Tensor, "4 width"], n: int, sampled: bool, generator: torch.Generator
) -> UInt8[Tensor, "n width"]:
    instances = _instances(motif, n, sampled, generator)
    order = torch.rand(instances.shape, generator=generator).argsort(1)
    return instances.gather(1, order)


def _both_strands(instances: UInt8[Tensor, "n width"]) -> dict[str, Tensor]:
    return {"+": instances, "-": reverse_complement(instances)}


def _mean_and_error(values: list[Tensor]) -> tuple[Tensor, Tensor]:
    """(distances, outputs) from a tensor (backgrounds, outputs) for each distance."""
    stacked = torch.stack(values)
    return stacked.mean(1), stacked.std(1) / stacked.shape[1] ** 0.5


def _check(
    backgrounds: Tensor, widths: tuple[int, int], distances: list[int], near: int, orientations: Sequence[str]
) -> None:
    n, length = backgrounds.shape
    if n < 2:
        raise DataError(f"{n} backgrounds have no spread; give two or more")
    if not min(widths):
        raise DataError(f"motifs of {widths[0]} and {widths[1]} columns; give one or more columns each")
    if unknown := [kind for kind in orientations if kind not in ORIENTATIONS]:
        raise DataError(f"orientation {unknown[0]!r}; allowed are {', '.join(ORIENTATIONS)}")
    far = length - widths[0] - widths[1]
    if not distances or min(distances) < near or max(distances) > far:
        span = f"{min(distances)} to {max(distances)}" if distances else "none"
        raise DataError(
            f"distances {span}: motifs of {widths[0]} and {widths[1]} columns in sequences of {length} bases take "
            f"distances between centres from {near} to {far}"
        )


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
        return values.double() if self.straight else self._by_output(_apply, values)

    def slope(self, values: Float[Tensor, "*shape outputs"]) -> Float64[Tensor, "*shape outputs"]:
        """Slope of the curves at the values, the factor by which they magnify rounding."""
        if self.straight:
            return torch.ones_like(values, dtype=torch.float64)
        return self._by_output(_slope, values)

    def _by_output(self, of: Callable[[Tensor, Tensor, Tensor], Tensor], values: Tensor) -> Tensor:
        columns = [
            of(knots, slopes, values[..., i].double().contiguous())
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
