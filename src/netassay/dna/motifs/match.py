"""Known motifs that the motifs of filters look like (Tomtom: Gupta et al. 2007), beside what chance gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float64
from torch import Tensor

from netassay.dna.motifs.discoveries import q_values
from netassay.dna.motifs.matrices import LEAST_COLUMNS, UNSURE
from netassay.dna.motifs.tomtom import alignments, permuted_p_values
from netassay.errors import DataError
from netassay.formats.jaspar import read_database
from netassay.formats.motifs import Motifs

LEAST_BITS = 4.0
"""Queries with less information between their flanks are not compared: correlations do not see that they are flat."""

MOST_COLUMNS = 22
"""Longer targets are cut to their most informative stretch: noise finds something in a long profile."""

NAMED = 0.05
"""A filter is called after its best match only below this q, and below this false discovery rate."""

_ALONE, _ENOUGH = 25, 1000  # permutations that let a single query be named; permuted queries that suffice

LEAST_TARGETS = 50
"""Fewer targets do not tell what columns are like by chance."""

PAIRS = {
    "query": pl.Int64,
    "target": pl.Int64,
    "p": pl.Float64,
    "offset": pl.Int64,
    "orientation": pl.String,
    "overlap": pl.Int64,
    "similarity": pl.Float64,
}


@dataclass(frozen=True, eq=False)
class Matches:
    """Known motifs that resemble those asked for.

    `fdr` is the false discovery rate among all queries that resemble a known motif as much, measured on the permuted
    ones.

    Attributes:
        table: Rows for each query, best first: query, target (their names), name (the target's title), p, q, offset
            (column of the query where the target begins, which may lie outside it), orientation (of the target, + or
            -), overlap (columns) and similarity (mean correlation of the columns, -1 to 1).
        queries: Names of the queries.
        best_q: (queries,) smallest q of each query; NaN for queries that were not compared.
        null_q: (permutations, queries) the same with permuted columns.
        skipped: Queries that were not compared, and targets that were cut or left out, by reason.
        known: The database.

    Source:
        Gupta et al. (2007), Tomtom.

    Example:
        >>> import netassay
        >>> known = netassay.read_database("jaspar-vertebrates").select(range(30))
        >>> netassay.match_motifs(known.select([3]), known, permutations=0).best_q.shape
        torch.Size([1])
    """

    table: pl.DataFrame
    queries: tuple[str, ...]
    best_q: Float64[Tensor, " queries"]
    null_q: Float64[Tensor, "permutations queries"]
    skipped: Mapping[str, int]
    known: Motifs

    @cached_property
    def fdr(self) -> Float64[Tensor, " queries"]:
        """Benjamini and Hochberg over the queries, each one's p the share of permuted queries that are as like."""
        compared = self.best_q.isfinite()
        null = self.null_q[:, compared].flatten().sort().values
        rates = torch.full_like(self.best_q, torch.nan)
        if len(null):
            as_like = torch.searchsorted(null, self.best_q[compared], right=True)
            rates[compared] = q_values((1 + as_like).double() / (1 + len(null)))
        return rates

    def best(self) -> pl.DataFrame:
        """The best match of each query that was compared."""
        return self.table.unique("query", keep="first", maintain_order=True)

    def share(self, q: float = NAMED) -> tuple[float, float]:
        """Shares of the queries compared that have a match below `q`: as they are, and with columns permuted.

        NaN where nothing was compared.
        """
        compared = self.best_q.isfinite()
        mine, null = self.best_q[compared] < q, self.null_q[:, compared] < q
        return float(mine.double().mean()), float(null.double().mean())

    def labels(self, q: float = NAMED) -> dict[str, str]:
        """Each query's number, and in brackets what it is like, "filter 12 (SPI1)", where q and `fdr` are below `q`.

        Where q alone is, "filter 12 (unsure)".
        """
        like = {row["query"]: row["name"] or row["target"] for row in self.best().iter_rows(named=True) if row["q"] < q}
        sure = dict(zip(self.queries, (self.fdr < q).tolist(), strict=True))
        words = {key: like[key] if sure[key] else UNSURE for key in like}
        return {key: key.replace("_", " ") + (f" ({words[key]})" if key in words else "") for key in self.queries}


def match_motifs(
    motifs: Motifs,
    database: Motifs | str | Path = "jaspar-vertebrates",
    *,
    permutations: int = 5,
    most: int = 10,
    generator: torch.Generator | None = None,
    threads: int | None = None,
) -> Matches:
    """The known motifs that each motif resembles, with a null.

    Tomtom's p-values, clipped to [0, 1]; q by Benjamini and Hochberg over the targets of a query. The null: the
    queries with their columns, flanks cut off, in random order.

    Args:
        motifs: The queries.
        database: Known motifs, or what `read_database` takes.
        permutations: Number of permutations (0 or more), or more where few queries are compared, so that one of them
            can get a name; with 0 none has one.
        most: Maximum number of matches for each query.
        generator: Draws the permutations; by default with seed 0.
        threads: Threads; by default PyTorch's.

    Returns:
        The matches.

    Raises:
        DataError: For an empty database and numbers out of range.

    Source:
        Gupta et al. (2007), Tomtom; Benjamini, Hochberg (1995).

    Example:
        >>> import netassay
        >>> known = netassay.read_database("jaspar-vertebrates").select(range(30))
        >>> netassay.match_motifs(known.select([3]), known).table["target"][0] == known.names[3]
        True
    """
    known = database if isinstance(database, Motifs) else read_database(database)
    if permutations < 0 or most < 1 or (threads is not None and threads < 1):
        raise DataError(f"permutations {permutations}, most {most}, threads {threads}: give 0 or more, and 1 or more")
    targets, skipped = _targets(known)
    if not targets:
        raise DataError(f"no motif of the {len(known)} in the database has {LEAST_COLUMNS} columns with information")
    draws = generator or torch.Generator().manual_seed(0)
    pairs = compare(motifs, known, threads=threads)
    kept = _told(motifs)
    if left := len(motifs) - len(kept):
        skipped[f"queries with fewer than {LEAST_COLUMNS} columns or {LEAST_BITS:g} bits, not compared"] = left
    ranked = _ranked(pairs, len(targets))
    null_q = _null_q(motifs, known, _repeats(permutations, len(kept)), draws, threads)
    return Matches(
        _named(ranked, motifs, known, most), motifs.names, _least(ranked, len(motifs)), null_q, skipped, known
    )


def compare(queries: Motifs, targets: Motifs, *, threads: int | None = None) -> pl.DataFrame:
    """Every pair of a query and a target (`PAIRS`; their row numbers), the flanks of both cut off.

    p is Tomtom's (`alignments`), of the best placement of all on both strands. By chance a column is one of the targets
    that are compared or its complement; of fewer than `LEAST_TARGETS`, which say little of columns, or one of JASPAR
    CORE's vertebrates. What else is asked does not matter. Motifs with fewer than `LEAST_COLUMNS` columns between their
    flanks are left out, and queries with less than `LEAST_BITS`.
    """
    rows, (kept, _) = _told(queries), _targets(targets)
    if not rows or not kept:
        return pl.DataFrame(schema=PAIRS)
    numbers = np.array(list(kept))
    before = np.array([start for start, _ in kept.values()])
    behind = np.array([targets.widths[i] - stop for i, (_, stop) in kept.items()])
    parts = []
    for row, made in zip(rows, alignments(**_words(queries, rows, targets, kept, threads)), strict=True):
        offset = queries.spans[row][0] + made.offset - np.where(made.reverse, behind, before)
        parts.append(
            pl.DataFrame(
                {
                    "query": np.full(len(numbers), row),
                    "target": numbers,
                    "p": made.p,
                    "offset": offset,
                    "orientation": np.where(made.reverse, "-", "+"),
                    "overlap": made.overlap,
                    "similarity": made.similarity,
                },
                schema=PAIRS,
            )
        )
    return pl.concat(parts).sort("query", "p", "target")


def _words(
    queries: Motifs,
    rows: Sequence[int],
    targets: Motifs,
    kept: Mapping[int, tuple[int, int]],
    threads: int | None,
) -> dict[str, Any]:
    """What is aligned, flanks cut off, and how."""
    held = _stretches(targets, kept)
    return {
        "queries": _stretches(queries, {i: queries.spans[i] for i in rows}),
        "targets": held,
        "more": _vertebrates() if len(held) < LEAST_TARGETS else [],
        "least": LEAST_COLUMNS,
        "threads": threads or torch.get_num_threads(),
    }


def _null_q(
    queries: Motifs, targets: Motifs, repeats: int, draws: torch.Generator, threads: int | None
) -> Float64[Tensor, "repeats queries"]:
    """Least q of each query with its columns in random orders; NaN for those that are not compared."""
    least = torch.full((repeats, len(queries)), torch.nan, dtype=torch.float64)
    rows, (kept, _) = _told(queries), _targets(targets)
    if not rows or not repeats:
        return least
    widths = {i: queries.spans[i][1] - queries.spans[i][0] for i in rows}
    orders = [[torch.randperm(widths[i], generator=draws).tolist() for _ in range(repeats)] for i in rows]
    words = _words(queries, rows, targets, kept, threads)
    for row, p in zip(rows, permuted_p_values(orders=orders, **words), strict=True):
        # the least of Benjamini and Hochberg's q-values
        ranks = np.arange(1, len(kept) + 1)
        least[:, row] = torch.from_numpy((np.sort(p, axis=1) * len(kept) / ranks).min(1).clip(max=1))
    return least


def _stretches(motifs: Motifs, kept: Mapping[int, tuple[int, int]]) -> list[np.ndarray]:
    return [motifs.pwm[i, :, start:stop].numpy() for i, (start, stop) in kept.items()]


@cache
def _vertebrates() -> list[np.ndarray]:
    known = read_database("jaspar-vertebrates")
    return _stretches(known, _targets(known)[0])


def _repeats(permutations: int, queries: int) -> int:
    """Permutations that are made: more than asked for where the queries are few."""
    if not permutations or not queries:
        return permutations
    return max(permutations, min(_ALONE, -(-_ENOUGH // queries)))


def _ranked(pairs: pl.DataFrame, tests: int) -> pl.DataFrame:
    """Pairs with their q, which is over the targets of each query."""
    if not pairs.height:
        return pairs.with_columns(q=pl.lit(None, pl.Float64))
    parts = [
        part.with_columns(q=pl.Series(q_values(part["p"].to_torch(), tests).numpy()))
        for part in pairs.partition_by("query", maintain_order=True)
    ]
    return pl.concat(parts)


def _least(ranked: pl.DataFrame, queries: int) -> Tensor:
    least = torch.full((queries,), torch.nan, dtype=torch.float64)
    best = ranked.group_by("query").agg(pl.col("q").min())
    least[best["query"].to_torch()] = best["q"].to_torch()
    return least


def _named(ranked: pl.DataFrame, motifs: Motifs, known: Motifs, most: int) -> pl.DataFrame:
    kept = ranked.group_by("query", maintain_order=True).head(most)
    target = kept["target"].to_list()
    return pl.DataFrame(
        {
            "query": [motifs.names[i] for i in kept["query"]],
            "target": [known.names[i] for i in target],
            "name": [known.titles[i] for i in target],
        },
        schema=dict.fromkeys(("query", "target", "name"), pl.String),
    ).hstack(kept.select("p", "q", "offset", "orientation", "overlap", "similarity"))


def _told(motifs: Motifs) -> list[int]:
    """Rows of the queries that say enough to be compared."""
    return [
        i
        for i, (start, stop) in enumerate(motifs.spans)
        if stop - start >= LEAST_COLUMNS and float(motifs.information[i, start:stop].sum()) >= LEAST_BITS
    ]


def _targets(motifs: Motifs) -> tuple[dict[int, tuple[int, int]], Counter[str]]:
    """Columns of each target that are compared, and how many were cut or left out."""
    counts: Counter[str] = Counter()
    found = {}
    for i, (start, stop) in enumerate(motifs.spans):
        if stop - start < LEAST_COLUMNS:
            counts[f"targets with fewer than {LEAST_COLUMNS} columns with information, left out"] += 1
            continue
        if stop - start > MOST_COLUMNS:
            counts[f"targets longer than {MOST_COLUMNS} columns, cut to the most informative {MOST_COLUMNS}"] += 1
            sums = motifs.information[i, start:stop].unfold(0, MOST_COLUMNS, 1).sum(1)
            start += int(sums.argmax())
            stop = start + MOST_COLUMNS
        found[i] = (start, stop)
    return found, counts


def likeness(queries: Motifs, targets: Motifs) -> Float64[Tensor, "queries targets"]:
    """Tomtom's p-value (`compare`) of every query against every target, 1 where either is too short."""
    p = torch.ones(len(queries), len(targets), dtype=torch.float64)
    rows, (kept, _) = _told(queries), _targets(targets)
    if rows and kept:
        columns = list(kept)
        for row, made in zip(rows, alignments(**_words(queries, rows, targets, kept, None)), strict=True):
            p[row, columns] = torch.from_numpy(made.p)
    return p
