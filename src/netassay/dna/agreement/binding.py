"""Agreement with an experiment: are the peaks that a filter matters for those that the factor binds?"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, Float64, UInt8
from scipy import stats
from torch import Tensor

from netassay.dna.agreement import ranking
from netassay.dna.motifs.match import q_values
from netassay.errors import DataError
from netassay.formats.bases import one_hot
from netassay.formats.motifs import Motifs

_AT_ONCE = 1_024


def associations(
    values: Float[np.ndarray, "n filters"],
    marked: Bool[np.ndarray, " n"],
    *,
    share: float = 0.05,
    among: Bool[np.ndarray, "n filters"] | None = None,
) -> pl.DataFrame:
    """For each column, whether the peaks with its largest values are marked more often than the others.

    Large is above the (1 - share) quantile over the peaks that are compared.

    Args:
        values: (n, filters).
        marked: (n,) whether each peak is marked.
        share: Share of peaks with large values (0 to 1).
        among: (n, filters) the peaks that are compared, such as those with a site of the filter; by default all.

    Returns:
        Columns filter, large, large_marked, other, other_marked; odds_ratio (conditional maximum likelihood) with the
        exact interval low to high at 95 %, Fisher's exact p (two-sided), and q over the filters. A filter without
        large values, or without others, has no numbers.

    Raises:
        DataError: If all peaks are marked or none.

    Source:
        Fisher (1935); Benjamini, Hochberg (1995).

    Example:
        >>> import numpy as np
        >>> from netassay.dna.agreement import associations
        >>> values = np.random.default_rng(0).random((200, 2))
        >>> associations(values, values[:, 0] > 0.9)["odds_ratio"][0] > 1
        True
    """
    check_marks(marked)
    rows = []
    for column in range(values.shape[1]):
        compared = np.ones(len(marked), bool) if among is None else among[:, column]
        large = compared.copy()
        if compared.any():
            large &= values[:, column] > np.quantile(values[compared, column], 1 - share)
        small = compared & ~large
        counts = (
            int(large.sum()),
            int((large & marked).sum()),
            int(small.sum()),
            int((small & marked).sum()),
        )
        rows.append((column, *counts, *_odds(*counts)))
    names = ["filter", "large", "large_marked", "other", "other_marked", "odds_ratio", "low", "high", "p"]
    kinds = [*(pl.Int64,) * 5, *(pl.Float64,) * 4]
    frame = pl.DataFrame(rows, schema=dict(zip(names, kinds, strict=True)), orient="row")
    return frame.with_columns(q=_adjust(frame["p"]))


def enrichment(
    values: Float[np.ndarray, " n"], marked: Bool[np.ndarray, " n"], shares: Iterable[float]
) -> pl.DataFrame:
    """How many of the peaks with the largest values are marked.

    Args:
        values: (n,).
        marked: (n,) whether each peak is marked.
        shares: Shares of all peaks (0 to 1).

    Returns:
        Columns share, peaks, marked (expected over the orders of tied peaks, so not a whole number), fold (share of
        marked peaks among them over that among all), low and high: the folds between which 95 % of random choices of
        as many peaks lie.

    Raises:
        DataError: If all peaks are marked or none.

    Example:
        >>> import numpy as np
        >>> from netassay.dna.agreement import enrichment
        >>> values = np.arange(100.0)
        >>> enrichment(values, values >= 90, [0.1])["fold"].to_list()
        [10.0]
    """
    check_marks(marked)
    n, m = len(marked), int(marked.sum())
    order = np.argsort(-values, kind="stable")
    ends = np.flatnonzero(np.diff(values[order], append=np.nan) != 0) + 1
    hits = np.concatenate([[0], np.cumsum(marked[order])[ends - 1]])
    sizes = np.unique([max(1, round(share * n)) for share in shares])
    # within a run of ties every peak counts alike
    among = np.interp(sizes, np.concatenate([[0], ends]), hits)
    law = stats.hypergeom(n, m, sizes)
    low, high = law.ppf((1 - ranking.LEVEL) / 2), law.ppf((1 + ranking.LEVEL) / 2)
    expected = sizes * m / n
    return pl.DataFrame(
        {
            "share": sizes / n,
            "peaks": sizes,
            "marked": among,
            "fold": among / expected,
            "low": low / expected,
            "high": high / expected,
        }
    )


def best_site(
    codes: UInt8[Tensor, "n length"], probabilities: Float64[np.ndarray, "4 width"]
) -> Float64[np.ndarray, " n"]:
    """The greatest log odds, in bits, of a motif along each sequence, on either strand, against equal bases.

    `probabilities` are above zero, rows A, C, G, T. An unknown base scores 0; sites lie entirely within the sequence.
    Raises DataError if the motif is wider than the sequences.
    """
    if probabilities.shape[1] > codes.shape[1]:
        raise DataError(
            f"the motif is {probabilities.shape[1]} bases wide and the peaks have {codes.shape[1]}; no site fits"
        )
    odds = torch.from_numpy(np.log2(4 * probabilities))
    kernels = torch.stack([odds, odds.flip(0, 1)]).float()  # A C G T reversed is T G C A
    best = [torch.nn.functional.conv1d(one_hot(part), kernels).amax(dim=(1, 2)) for part in codes.split(_AT_ONCE)]
    return torch.cat(best).double().numpy()


def factor_motif(database: Motifs, factor: str) -> Motifs:
    """The motif of a database whose id, or title in upper or lower case, is `factor`; the first of several.

    Raises DataError, with the nearest name, if there is none.
    """
    for words in (database.names, tuple(title.casefold() for title in database.titles)):
        key = factor if words is database.names else factor.casefold()
        if key in words:
            return database.select([words.index(key)])
    near = difflib.get_close_matches(factor.upper(), [*database.titles, *database.names], n=1)
    advice = f"did you mean {near[0]!r}?" if near else "give the name or id of one of them"
    raise DataError(f"none of the {len(database)} motifs of the database is called {factor!r}; {advice}")


def gc_content(codes: UInt8[Tensor, "n length"]) -> Float64[np.ndarray, " n"]:
    """Share of C and G among the known bases; a half where none is known."""
    counts = (codes < 4).sum(dim=1).double()
    strong = ((codes == 1) | (codes == 2)).sum(dim=1).double()
    return torch.where(counts > 0, strong / counts.clamp(min=1), 0.5).numpy()


def check_marks(marked: Bool[np.ndarray, " n"]) -> None:
    """DataError, saying what to do, if all peaks are marked or none."""
    n, m = len(marked), int(marked.sum())
    if not m:
        raise DataError(
            f"the experiment marks none of the {n:,} peaks; are its regions or sequences of this genome and assembly? "
            "Look at more peaks (--peaks all), or compare by sequence, which needs no assembly"
        )
    if m == n:
        raise DataError(
            f"the experiment marks all {n:,} peaks, so there is nothing to compare them with; look at peaks that "
            "were not chosen by it"
        )


def _odds(large: int, large_marked: int, small: int, small_marked: int) -> tuple[float | None, ...]:
    if not large or not small:
        return (None,) * 4
    table = [[large_marked, large - large_marked], [small_marked, small - small_marked]]
    ratio = stats.contingency.odds_ratio(table, kind="conditional")
    low, high = ratio.confidence_interval(ranking.LEVEL)
    values = (ratio.statistic, low, high, stats.fisher_exact(table).pvalue)
    return tuple(None if np.isnan(value) else float(value) for value in values)


def _adjust(p: pl.Series) -> pl.Series:
    values = torch.tensor(p.fill_null(math.nan).to_list(), dtype=torch.float64)
    return pl.Series(q_values(values).numpy(), dtype=pl.Float64).fill_nan(None)
