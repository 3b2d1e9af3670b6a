"""Two motifs planted into backgrounds at every distance: the effect of both beyond those of each alone.

synergy(d) = y(both) - y(first) - y(second) + y(neither), the mean over backgrounds, y on the scale of the curves behind
the outputs if these are given: without them a bend alone makes synergy at every distance. The null is the same with the
bases of the second motif shuffled, anew in every background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor, nn

from netassay.dna.influence.curves import Curves
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
