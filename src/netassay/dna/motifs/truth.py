"""How much of the grammar of a simulated atlas was recovered: recall and precision of its motifs and pairs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from netassay.dna.motifs.match import likeness, q_values_by_row
from netassay.dna.motifs.reproducibility import permute_columns
from netassay.errors import DataError
from netassay.formats.motifs import LEAST_COLUMNS, Motifs

LEAST_BITS, LEAST_SITES = 8.0, 20
"""Minimum information between the flanks, and minimum number of sites, of a finding."""

_FACTORS = {
    "factor": pl.String,
    "visible": pl.Boolean,
    "recovered": pl.Boolean,
    "q": pl.Float64,
    "finding": pl.String,
}
_FINDINGS = {
    "finding": pl.String,
    "information": pl.Float64,
    "sites": pl.Int64,
    "consensus": pl.String,
    "factor": pl.String,
    "q": pl.Float64,
}
_PAIRS = {
    "pair": pl.String,
    "effect": pl.Float64,
    "recovered": pl.Boolean,
    "found_effect": pl.Float64,
    "q": pl.Float64,
    "rank": pl.Int64,
}
_PAIR_FINDINGS = {
    "first": pl.String,
    "second": pl.String,
    "effect": pl.Float64,
    "q": pl.Float64,
    "planted": pl.Boolean,
}

_VARIES = 1e-9  # an effect that varies less than this over the cell types is the same in all


@dataclass(frozen=True, eq=False)
class Recovery:
    """Motifs of a network compared with those planted.

    `factors`, a row for each planted motif: factor, visible (whether its effect differs between cell types: otherwise a
    loss that sees only differences cannot teach it), recovered, q (smallest over the findings), finding (the best
    match). `findings`, a row for each motif that counts: finding, information (bits), sites, consensus, factor (its
    best match, None for a false one), q. `permuted` is the share of findings that match with their columns in a random
    order.
    """

    factors: pl.DataFrame
    findings: pl.DataFrame
    permuted: float

    @property
    def recall(self) -> float:
        """Share of the planted motifs that were recovered."""
        return _share(self.factors["recovered"])

    @property
    def recall_of_visible(self) -> float:
        """The same of those that the loss can teach."""
        return _share(self.factors.filter("visible")["recovered"])

    @property
    def precision(self) -> float:
        """Share of the findings that match a planted motif; NaN without findings."""
        return _share(self.findings["factor"].is_not_null())


@dataclass(frozen=True, eq=False)
class PairRecovery:
    """`pairs`, a row for each planted pair: pair, effect (planted), recovered (found, with the right sign),
    found_effect, q, and rank among the pairs found. `findings`, a row for each pair found, the strongest first: first,
    second, effect, q, planted (with this sign). `tested` counts the pairs tested, `testable` the planted among them.
    """

    pairs: pl.DataFrame
    findings: pl.DataFrame
    tested: int
    testable: int

    @property
    def recall(self) -> float:
        """Share of the planted pairs that were recovered."""
        return _share(self.pairs["recovered"])

    @property
    def precision(self) -> float:
        """Share of the pairs found that were planted, with the right sign; NaN if none was found."""
        return _share(self.findings["planted"])

    @property
    def strongest(self) -> float:
        """The same for the strongest findings only, as many as pairs were planted."""
        return _share(self.findings.head(len(self.pairs))["planted"])


def planted_motifs(truth: Mapping[str, pl.DataFrame]) -> Motifs:
    """The motifs that were written into a simulated atlas. Raises DataError for an atlas without truth."""
    table = _table(truth, "motifs")
    parts = {str(name[0]): part for name, part in table.group_by("factor", maintain_order=True)}
    matrices = [100 * part.sort("position").select(*"ACGT").to_numpy().T for part in parts.values()]
    return Motifs.of_matrices(list(parts), matrices, [100] * len(parts))


def recovery(
    motifs: Motifs,
    truth: Mapping[str, pl.DataFrame],
    *,
    generator: torch.Generator,
    rows: Sequence[int] | Int64[Tensor, " rows"] | None = None,
    q: float = 0.01,
    least_bits: float = LEAST_BITS,
    least_sites: int = LEAST_SITES,
    permutations: int = 10,
) -> Recovery:
    """Recall and precision of motifs, filters of a network or clusters of them, against a simulated atlas's truth.

    A finding has `least_bits` of information over five columns or more between its flanks, and `least_sites` sites. It
    matches a planted motif if Tomtom's q, over all planted ones, is below `q`.

    Args:
        motifs: The motifs.
        truth: Tables of the simulated atlas.
        generator: Draws the permutations.
        rows: Rows of `motifs` to use; by default all.
        q: q-value (0 to 1).
        least_bits: Smallest information in bits.
        least_sites: Smallest number of sites.
        permutations: Number of permutations for the share that matches by chance (1 or more).

    Returns:
        The planted motifs that were recovered, and the findings.

    Source:
        Gupta et al. (2007), Tomtom.

    Example:
        >>> import torch, netassay
        >>> truth = netassay.Atlas.open("atlas").truth
        >>> known = netassay.read_database("jaspar-vertebrates").select(range(20))
        >>> netassay.recovery(known, truth, generator=torch.Generator()).factors.height
        16
    """
    targets = planted_motifs(truth)
    numbers = _findings(motifs, range(len(motifs)) if rows is None else rows, least_bits, least_sites)
    motifs = motifs.select(numbers)
    values = q_values_by_row(likeness(motifs, targets))
    draws = range(permutations if numbers else 0)
    nulls = [q_values_by_row(likeness(permute_columns(motifs, generator), targets)) for _ in draws]
    visible = _visible(truth)
    factors: list[tuple[object, ...]] = []
    for i, name in enumerate(targets.names):
        if not len(motifs):
            factors.append((name, visible[name], False, None, None))
            continue
        least, row = values[:, i].min(0)
        good = float(least) < q
        factors.append((name, visible[name], good, float(least), motifs.names[int(row)] if good else None))
    findings = []
    for i, (name, bits) in enumerate(zip(motifs.names, _bits(motifs).tolist(), strict=True)):
        least, row = values[i].min(0)
        factor = targets.names[int(row)] if float(least) < q else None
        findings.append((name, bits, int(motifs.sites[i]), motifs.consensus[i], factor, float(least)))
    by_chance = [float((null < q).any(1).double().mean()) for null in nulls]
    share = sum(by_chance) / len(by_chance) if by_chance else float("nan")
    return Recovery(
        pl.DataFrame(factors, schema=_FACTORS, orient="row"),
        pl.DataFrame(findings, schema=_FINDINGS, orient="row"),
        share,
    )


def matched_filters(
    filters: Motifs, truth: Mapping[str, pl.DataFrame], *, q: float = 0.01, **limits: float
) -> dict[str, list[int]]:
    """Filters whose best match is each planted motif, with Tomtom q < `q`; every filter is in one list at most.

    `least_bits` and `least_sites` as for `recovery`. Factors that no filter matches are left out.
    """
    targets = planted_motifs(truth)
    bits, sites = limits.get("least_bits", LEAST_BITS), limits.get("least_sites", LEAST_SITES)
    numbers = _findings(filters, range(len(filters)), bits, sites)
    values = q_values_by_row(likeness(filters.select(numbers), targets))
    sets: dict[str, list[int]] = {}
    for row, number in zip(values, numbers, strict=True):
        if float(row.min()) < q:
            sets.setdefault(targets.names[int(row.argmin())], []).append(number)
    return {name: sets[name] for name in targets.names if name in sets}


def pair_recovery(tested: pl.DataFrame, truth: Mapping[str, pl.DataFrame], *, q: float = 0.05) -> PairRecovery:
    """Recall and precision of pairs of factors against those planted.

    A pair is found where a lineage has q below `q`; its effect is that of the greatest size among such lineages. It is
    right if planted with that sign, synergistic (above 0) or antagonistic.

    Args:
        tested: A row for every pair of factors and every lineage: first, second, effect and q (None where it could not
            be tested).
        truth: Tables of the simulated atlas.
        q: q-value (0 to 1).

    Returns:
        The planted pairs that were recovered, and the pairs found.

    Example:
        >>> import netassay, polars as pl
        >>> tested = pl.DataFrame({"first": ["PAX5"], "second": ["EBF1"], "effect": [1.0], "q": [0.01]})
        >>> result = netassay.pair_recovery(tested, netassay.Atlas.open("atlas").truth)
        >>> result.pairs["recovered"].sum()
        1
    """
    looked: set[frozenset[str]] = set()
    best: dict[frozenset[str], tuple[float, float]] = {}
    for first, second, effect, value in tested.select("first", "second", "effect", "q").iter_rows():
        if value is None or value != value:  # NaN too means not tested
            continue
        key = frozenset((first, second))
        looked.add(key)
        if value < q and abs(effect) > abs(best.get(key, (0.0, 1.0))[0]):
            best[key] = (effect, value)
    strongest = sorted(best, key=lambda key: -abs(best[key][0]))
    true_pairs = {frozenset((a, b)): effect for a, b, effect in _planted_pairs(truth)}
    rows = []
    for key, effect in true_pairs.items():
        estimate, value = best.get(key, (None, None))
        recovered = estimate is not None and (estimate > 0) == (effect > 0)
        rank = strongest.index(key) + 1 if key in best else None
        rows.append(("+".join(_in_order(key, truth)), effect, recovered, estimate, value, rank))
    findings = [
        (min(key), max(key), *best[key], key in true_pairs and (true_pairs[key] > 0) == (best[key][0] > 0))
        for key in strongest
    ]
    return PairRecovery(
        pl.DataFrame(rows, schema=_PAIRS, orient="row"),
        pl.DataFrame(findings, schema=_PAIR_FINDINGS, orient="row"),
        len(looked),
        sum(key in looked for key in true_pairs),
    )


def _findings(motifs: Motifs, rows: Iterable[int] | Tensor, bits: float, sites: int | float) -> list[int]:
    information = _bits(motifs)
    return [
        int(i)
        for i in rows
        if information[i] >= bits and motifs.sites[i] >= sites and motifs.informative_lengths[i] >= LEAST_COLUMNS
    ]


def _bits(motifs: Motifs) -> Float64[Tensor, " motifs"]:
    """Information between the flanks."""
    sums = [row[slice(*span)].sum() for row, span in zip(motifs.information, motifs.spans, strict=True)]
    return torch.stack(sums) if sums else torch.zeros(0, dtype=torch.float64)


def _visible(truth: Mapping[str, pl.DataFrame]) -> dict[str, bool]:
    spread = _table(truth, "effects").group_by("factor").agg(pl.col("effect").max() - pl.col("effect").min())
    return {name: width > _VARIES for name, width in spread.iter_rows()}


def _in_order(key: frozenset[str], truth: Mapping[str, pl.DataFrame]) -> tuple[str, str]:
    return next((a, b) for a, b, _ in _planted_pairs(truth) if key == {a, b})


def _planted_pairs(truth: Mapping[str, pl.DataFrame]) -> list[tuple[str, str, float]]:
    return list(_table(truth, "pairs").select("first", "second", "effect").iter_rows())


def _table(truth: Mapping[str, pl.DataFrame], name: str) -> pl.DataFrame:
    if name not in truth:
        raise DataError(
            "only simulated atlases say what was planted; this one has no truth, so nothing can be counted as recovered"
        )
    return truth[name]


def _share(values: pl.Series) -> float:
    return float(values.sum() / len(values)) if len(values) else float("nan")
