"""Filters that networks find again from other first weights, and the motifs they have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import torch
from jaxtyping import Float64, Int64
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from netassay.dna.motifs.discoveries import q_values_by_row
from netassay.dna.motifs.match import likeness
from netassay.dna.motifs.matrices import LEAST_COLUMNS
from netassay.errors import DataError
from netassay.formats.motifs import Motifs

SHARE = 0.88
"""Share of the other runs in which a reproducible filter is found again (8 of 9, as in Maslova et al. 2020)."""

_LEAST_P = 1e-10  # smaller ones are all the same: a mean of logarithms must not hang on one of them
_REACHED = 0.5  # of a cluster's members: a column that fewer of them reach is left out


@dataclass(frozen=True, eq=False)
class Reproduced:
    """A row a filter of any run: run (its number), filter, name, found (in how many of the `others`), reproducible
    (in at least `needed` of them). `permuted`: the same for the filters of run 0 with their columns in a random order.
    """

    filters: pl.DataFrame
    permuted: pl.DataFrame
    others: int
    needed: int


@dataclass(frozen=True, eq=False)
class Clusters:
    """Motifs that filters of several runs have in common, those of most runs first.

    Attributes:
        motifs: "cluster_0", ..., with the sites of all members.
        runs: (clusters,) number of runs that have one.
        members: A row for each filter: cluster, run, filter, name, offset (its first column relative to the cluster's)
            and strand.
        of: Number of runs.

    Example:
        >>> import netassay
        >>> known = netassay.read_database("jaspar-vertebrates").select(range(20))
        >>> netassay.cluster_motifs([known, known]).of
        2
    """

    motifs: Motifs
    runs: Int64[Tensor, " clusters"]
    members: pl.DataFrame
    of: int

    def held_by(self, share: float = SHARE) -> Int64[Tensor, " held"]:
        """Clusters that a run and `needed` others have."""
        return (self.runs >= needed(self.of, share) + 1).nonzero()[:, 0]


def needed(runs: int, share: float = SHARE) -> int:
    """In how many of the other runs a filter must be found, at least one."""
    return max(1, math.ceil(share * (runs - 1) - 1e-9))


def reproducible_filters(
    runs: Sequence[Motifs],
    *,
    q: float = 0.05,
    share: float = SHARE,
    generator: torch.Generator,
) -> Reproduced:
    """Which filters of each run other runs have too: one of their filters has Tomtom q below `q`.

    q-values are those of a filter over all filters of the other run. The null: the same numbers for the filters of the
    first run with the columns between their flanks in random order.

    Args:
        runs: Motifs of each run (2 or more).
        q: q-value (0 to 1).
        share: Share of the other runs (above 0 to 1) from which on a filter is reproducible.
        generator: Draws the permutations.

    Returns:
        A row for each filter, and the null.

    Raises:
        DataError: For fewer than two runs.

    Source:
        Maslova et al. (2020), reproducible filters; Gupta et al. (2007), Tomtom.

    Example:
        >>> import torch, netassay
        >>> known = netassay.read_database("jaspar-vertebrates").select(range(20))
        >>> found = netassay.reproducible_filters([known, known], generator=torch.Generator())
        >>> found.filters["reproducible"].all()
        True
    """
    if not 0 < q <= 1 or not 0 < share <= 1:
        raise DataError(f"q {q}, share {share}: give numbers above 0 and at most 1")
    of, together = _count(runs), joined(runs)
    least = needed(of, share)
    shuffled = permuted(runs[0], generator)
    p = torch.cat([likeness(together, together), likeness(shuffled, together)])
    target, query = _numbers(runs), torch.cat([_numbers(runs), _numbers(runs[:1])])
    found = torch.stack([(q_values_by_row(p[:, target == other]) < q).any(1) for other in range(of)], dim=1)
    times = (found & (query[:, None] != torch.arange(of))).sum(1)
    tables = []
    for held, count in ((runs, times[: len(together)]), (runs[:1], times[len(together) :])):
        tables.append(
            pl.DataFrame(
                {
                    "run": _numbers(held).tolist(),
                    "filter": [i for motifs in held for i in range(len(motifs))],
                    "name": [name for motifs in held for name in motifs.names],
                    "found": count.tolist(),
                    "reproducible": (count >= least).tolist(),
                }
            )
        )
    return Reproduced(tables[0], tables[1], of - 1, least)


def cluster_motifs(runs: Sequence[Motifs], *, p: float = 1e-4) -> Clusters:
    """Clusters of similar filters over all runs, each merged into one motif.

    Two clusters are joined while the geometric mean of Tomtom's p-values between their filters, in both directions, is
    below `p` (average linkage; p-values below 1e-10 count as that). Members are aligned to the one most similar to all
    others, each with the same weight; columns that fewer than half of them reach are left out. Filters with fewer than
    five columns are in no cluster.

    Args:
        runs: Motifs of each run (2 or more).
        p: p-value (0 to 1).

    Returns:
        The clusters.

    Raises:
        DataError: For fewer than two runs.

    Source:
        Gupta et al. (2007), Tomtom.

    Example:
        >>> import netassay
        >>> known = netassay.read_database("jaspar-vertebrates").select(range(20))
        >>> int(netassay.cluster_motifs([known, known]).runs[0])
        2
    """
    of = _count(runs)
    together, run = joined(runs), _numbers(runs)
    rows = [i for i, (start, stop) in enumerate(together.spans) if stop - start >= LEAST_COLUMNS]
    chosen = together.select(rows)
    like = likeness(chosen, chosen)
    distance, labels = _distance(like), linked(like, p)
    groups = [(labels == label).nonzero()[:, 0].tolist() for label in labels.unique().tolist()]
    at = run[rows]
    groups.sort(key=lambda group: (-len(at[group].unique()), -len(group), group[0]))
    places = torch.cat([torch.arange(len(motifs)) for motifs in runs])[rows].tolist()
    merged, members = [], []
    for number, group in enumerate(groups):
        medoid = group[int(distance[group][:, group].sum(1).argmin())]
        turned = [aligned(chosen.pwm[medoid], chosen.pwm[i]) for i in group]
        counts, first = _merged([chosen.counts[i] for i in group], turned)
        merged.append(counts)
        members += [
            (number, int(at[i]), places[i], chosen.names[i].split("/", 1)[1], offset - first, strand)
            for i, (offset, strand) in zip(group, turned, strict=True)
        ]
    schema = {
        "cluster": pl.Int64,
        "run": pl.Int64,
        "filter": pl.Int64,
        "name": pl.String,
        "offset": pl.Int64,
        "strand": pl.String,
    }
    motifs = Motifs.of_matrices(
        [f"cluster_{i}" for i in range(len(groups))],
        merged,
        [int(chosen.sites[group].sum()) for group in groups],
        background=together.background,
    )
    held = torch.tensor([len(at[group].unique()) for group in groups], dtype=torch.int64)
    return Clusters(motifs, held, pl.DataFrame(members, schema=schema, orient="row"), of)


def linked(p: Float64[Tensor, "motifs motifs"], below: float) -> Int64[Tensor, " motifs"]:
    """The number of the cluster of each motif from p-values between all, as `cluster_motifs` joins them."""
    return _cut(_distance(p), math.log10(below) - math.log10(_LEAST_P))


def permuted(motifs: Motifs, generator: torch.Generator) -> Motifs:
    """The motifs with the columns between their flanks in a random order: the same information, another motif."""
    counts = motifs.counts.clone()
    for held, (start, stop) in zip(counts, motifs.spans, strict=True):
        order = torch.randperm(stop - start, generator=generator)
        held[:, start:stop] = held[:, start:stop][:, order]
    return Motifs(motifs.names, counts, motifs.sites, motifs.titles, motifs.background, motifs.pseudocount)


def joined(runs: Sequence[Motifs]) -> Motifs:
    """The motifs of all runs, named "run/name"."""
    matrices = [matrix for motifs in runs for matrix in motifs.counts]
    names = [f"{number}/{name}" for number, motifs in enumerate(runs) for name in motifs.names]
    sites = torch.cat([motifs.sites for motifs in runs]).tolist()
    return Motifs.of_matrices(names, matrices, sites, background=runs[0].background)


def aligned(anchor: Float64[Tensor, "4 width"], other: Float64[Tensor, "4 other_width"]) -> tuple[int, str]:
    """Offset and strand that put `other` best upon `anchor`: column j of it upon column j + offset.

    Best is the greatest sum of the products of the columns' deviations from equal shares; columns where nothing was
    seen deviate by nothing.
    """
    centred = [torch.where(x.sum(0) > 0, x - x.mean(0), 0.0) for x in (anchor, other)]
    width = other.shape[1]
    padded = torch.nn.functional.pad(centred[0], (width - 1, width - 1))
    best = []
    for strand, turned in (("+", centred[1]), ("-", centred[1].flip(0, 1))):
        sums = (padded.unfold(1, width, 1) * turned[:, None]).sum((0, 2))
        best.append((float(sums.max()), int(sums.argmax()) - width + 1, strand))
    # the given strand where both are as good, as for a palindrome
    _, offset, strand = best[0] if best[0][0] >= best[1][0] - 1e-9 else best[1]
    return offset, strand


def _merged(counts: Sequence[Tensor], places: Sequence[tuple[int, str]]) -> tuple[Tensor, int]:
    """Mean shares times all sites of the aligned matrices, and the place of its first column."""
    shares = [
        _shares(matrix if strand == "+" else matrix.flip(0, 1))
        for matrix, (_, strand) in zip(counts, places, strict=True)
    ]
    low = min(offset for offset, _ in places)
    high = max(offset + matrix.shape[1] for matrix, (offset, _) in zip(shares, places, strict=True))
    total, reached = torch.zeros(4, high - low, dtype=torch.float64), torch.zeros(high - low)
    for matrix, (offset, _) in zip(shares, places, strict=True):
        here = slice(offset - low, offset - low + matrix.shape[1])
        total[:, here] += matrix
        reached[here] += matrix.sum(0) > 0
    kept = (reached >= _REACHED * len(counts)).nonzero()[:, 0]
    first, last = int(kept[0]), int(kept[-1]) + 1
    sites = sum(float(matrix.sum(0).max()) for matrix in counts)
    return _shares(total[:, first:last]) * sites, low + first


def _shares(matrix: Tensor) -> Tensor:
    return matrix / matrix.sum(0).clamp_min(1e-300)


def _distance(p: Tensor) -> Tensor:
    logarithm = p.clamp_min(_LEAST_P).log10()
    distance = (logarithm + logarithm.T) / 2 - math.log10(_LEAST_P)
    return distance.fill_diagonal_(0)


def _cut(distance: Tensor, height: float) -> Tensor:
    if len(distance) < 2:
        return torch.zeros(len(distance), dtype=torch.int64)
    tree = linkage(squareform(distance.numpy(), checks=False), method="average")
    return torch.from_numpy(fcluster(tree, height, criterion="distance"))


def _numbers(runs: Sequence[Motifs]) -> Tensor:
    """The number of the run of each motif."""
    return torch.cat([torch.full((len(motifs),), number) for number, motifs in enumerate(runs)])


def _count(runs: Sequence[Motifs]) -> int:
    if len(runs) < 2:
        raise DataError(
            f"{len(runs)} run is given; what is reproducible shows in two or more: train the network again from other "
            "seeds (netassay sweep aitac:ensemble), and give those runs as peers"
        )
    return len(runs)
