"""Filters that networks learn again from other initial weights, their motifs, families of known motifs."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import polars as pl
import torch
from jaxtyping import Float64, Int64
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from netassay.dna.motifs.match import NAMED, Matches, likeness, q_values_by_row
from netassay.errors import DataError
from netassay.formats.motifs import LEAST_COLUMNS, UNSURE, Motifs

SHARE = 0.88
"""Share of the other runs that must have a reproducible filter too (8 of 9, as in Maslova et al. 2020)."""

_LEAST_P = 1e-10  # smaller ones count as this: a mean of logarithms must not depend on one of them
_REACHED = 0.5  # of a cluster's members: a column that fewer of them reach is left out


@dataclass(frozen=True, eq=False)
class Reproduced:
    """A row for each filter of each run: run (its number), filter, name, found (in how many of the `other_runs`),
    reproducible (in at least `runs_needed` of them). `permuted`: the same for the filters of run 0 with their columns
    in a random order.
    """

    filters: pl.DataFrame
    permuted: pl.DataFrame
    other_runs: int
    runs_needed: int


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
        """Clusters of `runs_needed` + 1 runs or more."""
        return (self.runs >= runs_needed(self.of, share) + 1).nonzero()[:, 0]


def runs_needed(runs: int, share: float = SHARE) -> int:
    """Number of other runs that must have a reproducible filter, at least one."""
    return max(1, math.ceil(share * (runs - 1) - 1e-9))


def reproducible_filters(
    runs: Sequence[Motifs],
    *,
    q: float = 0.05,
    share: float = SHARE,
    generator: torch.Generator,
) -> Reproduced:
    """Which filters of each run other runs have too, with one of their filters at a Tomtom q below `q`.

    q-values are those of a filter over all filters of the other run. The null: the same numbers for the filters of the
    first run with the columns between their flanks in random order.

    Args:
        runs: Motifs of each run (2 or more).
        q: q-value (0 to 1).
        share: Minimum share of the other runs (above 0 to 1) that have a reproducible filter.
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
        >>> result = netassay.reproducible_filters([known, known], generator=torch.Generator())
        >>> result.filters["reproducible"].all()
        True
    """
    if not 0 < q <= 1 or not 0 < share <= 1:
        raise DataError(f"q {q}, share {share}: give numbers above 0 and at most 1")
    of, together = _count(runs), join_runs(runs)
    minimum = runs_needed(of, share)
    shuffled = permute_columns(runs[0], generator)
    p = torch.cat([likeness(together, together), likeness(shuffled, together)])
    target, query = _numbers(runs), torch.cat([_numbers(runs), _numbers(runs[:1])])
    matches = torch.stack([(q_values_by_row(p[:, target == run]) < q).any(1) for run in range(of)], dim=1)
    times = (matches & (query[:, None] != torch.arange(of))).sum(1)
    tables = []
    for group, count in ((runs, times[: len(together)]), (runs[:1], times[len(together) :])):
        tables.append(
            pl.DataFrame(
                {
                    "run": _numbers(group).tolist(),
                    "filter": [i for motifs in group for i in range(len(motifs))],
                    "name": [name for motifs in group for name in motifs.names],
                    "found": count.tolist(),
                    "reproducible": (count >= minimum).tolist(),
                }
            )
        )
    return Reproduced(tables[0], tables[1], of - 1, minimum)


def cluster_motifs(runs: Sequence[Motifs], *, p: float = 1e-4) -> Clusters:
    """Clusters of similar filters over all runs, each merged into one motif.

    Two clusters are joined while the geometric mean of Tomtom's p-values between their filters, in both directions, is
    below `p` (average linkage; p-values below 1e-10 count as 1e-10). Members are aligned to the one most similar to all
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
    together, run = join_runs(runs), _numbers(runs)
    rows = [i for i, (start, stop) in enumerate(together.spans) if stop - start >= LEAST_COLUMNS]
    filters = together.select(rows)
    like = likeness(filters, filters)
    distance, labels = _distance(like), link(like, p)
    groups = [(labels == label).nonzero()[:, 0].tolist() for label in labels.unique().tolist()]
    at = run[rows]
    groups.sort(key=lambda group: (-len(at[group].unique()), -len(group), group[0]))
    places = torch.cat([torch.arange(len(motifs)) for motifs in runs])[rows].tolist()
    merged, members = [], []
    for number, group in enumerate(groups):
        medoid = group[int(distance[group][:, group].sum(1).argmin())]
        turned = [align(filters.pwm[medoid], filters.pwm[i]) for i in group]
        counts, first = _merge([filters.counts[i] for i in group], turned)
        merged.append(counts)
        members += [
            (number, int(at[i]), places[i], filters.names[i].split("/", 1)[1], offset - first, strand)
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
        [int(filters.sites[group].sum()) for group in groups],
        background=together.background,
    )
    n_runs = torch.tensor([len(at[group].unique()) for group in groups], dtype=torch.int64)
    return Clusters(motifs, n_runs, pl.DataFrame(members, schema=schema, orient="row"), of)


def link(p: Float64[Tensor, "motifs motifs"], below: float) -> Int64[Tensor, " motifs"]:
    """Number of the cluster of each motif from p-values between all, as in `cluster_motifs`."""
    return _cut(_distance(p), math.log10(below) - math.log10(_LEAST_P))


def permute_columns(motifs: Motifs, generator: torch.Generator) -> Motifs:
    """The motifs with the columns between their flanks in a random order: the same information, another motif."""
    counts = motifs.counts.clone()
    for matrix, (start, stop) in zip(counts, motifs.spans, strict=True):
        order = torch.randperm(stop - start, generator=generator)
        matrix[:, start:stop] = matrix[:, start:stop][:, order]
    return Motifs(motifs.names, counts, motifs.sites, motifs.titles, motifs.background, motifs.pseudocount)


def join_runs(runs: Sequence[Motifs]) -> Motifs:
    """The motifs of all runs, named "run/name"."""
    matrices = [matrix for motifs in runs for matrix in motifs.counts]
    names = [f"{number}/{name}" for number, motifs in enumerate(runs) for name in motifs.names]
    sites = torch.cat([motifs.sites for motifs in runs]).tolist()
    return Motifs.of_matrices(names, matrices, sites, background=runs[0].background)


def align(anchor: Float64[Tensor, "4 width"], motif: Float64[Tensor, "4 other_width"]) -> tuple[int, str]:
    """Offset and strand that best align `motif` with `anchor`: its column j with column j + offset.

    Best is the greatest sum of the products of the columns' deviations from equal shares; columns without counts do not
    deviate.
    """
    centred = [torch.where(x.sum(0) > 0, x - x.mean(0), 0.0) for x in (anchor, motif)]
    width = motif.shape[1]
    padded = torch.nn.functional.pad(centred[0], (width - 1, width - 1))
    best = []
    for strand, turned in (("+", centred[1]), ("-", centred[1].flip(0, 1))):
        sums = (padded.unfold(1, width, 1) * turned[:, None]).sum((0, 2))
        best.append((float(sums.max()), int(sums.argmax()) - width + 1, strand))
    # the given strand where both are equally good, as for a palindrome
    _, offset, strand = best[0] if best[0][0] >= best[1][0] - 1e-9 else best[1]
    return offset, strand


def _merge(counts: Sequence[Tensor], places: Sequence[tuple[int, str]]) -> tuple[Tensor, int]:
    """Mean shares times all sites of the aligned matrices, and the offset of the first column."""
    shares = [
        _shares(matrix if strand == "+" else matrix.flip(0, 1))
        for matrix, (_, strand) in zip(counts, places, strict=True)
    ]
    low = min(offset for offset, _ in places)
    high = max(offset + matrix.shape[1] for matrix, (offset, _) in zip(shares, places, strict=True))
    total, reached = torch.zeros(4, high - low, dtype=torch.float64), torch.zeros(high - low)
    for matrix, (offset, _) in zip(shares, places, strict=True):
        span = slice(offset - low, offset - low + matrix.shape[1])
        total[:, span] += matrix
        reached[span] += matrix.sum(0) > 0
    columns = (reached >= _REACHED * len(counts)).nonzero()[:, 0]
    first, last = int(columns[0]), int(columns[-1]) + 1
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
            f"{len(runs)} run is given; reproducibility needs two or more: train the network again from other "
            "seeds (netassay sweep aitac:ensemble), and give those runs as peers"
        )
    return len(runs)


FAMILY_P = 1e-3
"""Known motifs are of one family while the geometric mean of Tomtom's p-values between them is below this."""

_ROOTS, _MEMBERS = 3, 4  # of a family, shown in its name


def factor_names(matches: Matches, q: float = NAMED) -> dict[str, str]:
    """What each query resembles in the database: its family, or `UNSURE`; queries without a match are left out.

    A query has a match where its best has a q below `q`; it gets a name where the false discovery rate measured on
    permuted queries (`Matches.fdr`) is below `q` too. Matches of one family (average linkage of the database's own
    motifs) share a name that lists the members that were matched: "GATA (GATA2, GATA5)".

    Args:
        matches: The matches.
        q: q-value and false discovery rate (0 to 1).

    Returns:
        Query -> name.

    Example:
        >>> import netassay
        >>> from netassay.dna.motifs import factor_names
        >>> known = netassay.read_database("jaspar-vertebrates").select(range(30))
        >>> len(factor_names(netassay.match_motifs(known.select([0]), known)))
        1
    """
    best = {row["query"]: row["target"] for row in matches.best().filter(pl.col("q") < q).iter_rows(named=True)}
    sure = dict(zip(matches.queries, (matches.fdr < q).tolist(), strict=True))
    targets = {query: target for query, target in best.items() if sure[query]}
    families = _families(matches.database, set(targets.values()))
    titles = dict(zip(matches.database.names, matches.database.titles, strict=True))
    members: dict[int, list[str]] = {}
    for target in targets.values():
        titles_of_family = members.setdefault(families[target], [])
        title = titles[target] or target
        if title not in titles_of_family:
            titles_of_family.append(title)
    return {query: _label(members[families[targets[query]]]) if query in targets else UNSURE for query in best}


def _families(database: Motifs, targets: set[str]) -> dict[str, int]:
    """Number of the family of each target."""
    if len(targets) < 2:
        return dict.fromkeys(targets, 0)
    numbers = _cluster(_Database(database))
    return {name: number for name, number in zip(database.names, numbers.tolist(), strict=True) if name in targets}


class _Database:
    """Motifs that are equal where their matrices are, so that a database is clustered once."""

    def __init__(self, motifs: Motifs) -> None:
        self.motifs = motifs
        self.key = hashlib.sha256(motifs.counts.numpy().tobytes()).digest()

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Database) and self.key == other.key


@lru_cache(maxsize=4)
def _cluster(motifs: _Database) -> Tensor:
    return link(likeness(motifs.motifs, motifs.motifs), FAMILY_P)


def _label(members: list[str]) -> str:
    """The name of a single member; for several the initial letters of their names, and the names."""
    if len(members) == 1:
        return members[0]
    order = sorted(members, key=str.upper)
    roots = list(dict.fromkeys(_root(name) for name in order))
    more = "/…" if len(roots) > _ROOTS else ""
    names = [*order[:_MEMBERS], "…"] if len(order) > _MEMBERS else order
    return f"{'/'.join(roots[:_ROOTS])}{more} ({', '.join(names)})"


def _root(name: str) -> str:
    letters = re.match(r"[A-Za-z]+", name)
    return letters[0].upper() if letters else name
