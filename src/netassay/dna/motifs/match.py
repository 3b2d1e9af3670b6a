"""Known motifs that motifs of filters resemble (Tomtom: Gupta et al. 2007), q-values, and a null."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float64
from scipy import stats
from torch import Tensor

from netassay.dna.motifs.tomtom import alignments, permuted_p_values
from netassay.errors import DataError
from netassay.formats.jaspar import read_database
from netassay.formats.motifs import LEAST_COLUMNS, UNSURE, Motifs


def q_values(p: Float64[Tensor, "*shape"], tests: int | None = None) -> Float64[Tensor, "*shape"]:
    """q of every p that is not NaN, over all of them.

    Args:
        p: p-values (0 to 1) of any shape.
        tests: Total number of tests, the others with p = 1; by default those given.

    Returns:
        q-values of the same shape.

    Source:
        Benjamini, Hochberg (1995).

    Example:
        >>> import torch
        >>> from netassay.dna.motifs import q_values
        >>> q_values(torch.tensor([0.01, 0.5], dtype=torch.float64)).tolist()
        [0.02, 0.5]
    """
    defined = ~p.isnan()
    values = p[defined].numpy()
    q = torch.full_like(p, torch.nan)
    if len(values):
        ones = np.ones(max(0, (tests or 0) - len(values)))
        adjusted = stats.false_discovery_control(np.concatenate([values, ones]))
        q[defined] = torch.from_numpy(adjusted[: len(values)])
    return q


def q_values_by_row(p: Float64[Tensor, "rows n"]) -> Float64[Tensor, "rows n"]:
    """q-values of each row by itself; no p may be NaN."""
    return torch.from_numpy(stats.false_discovery_control(p.numpy(), axis=1))


LEAST_BITS = 4.0
"""Queries with less information between their flanks are not compared: correlations do not see that they are flat."""

MOST_COLUMNS = 22
"""Longer targets are cut to their most informative stretch: noise matches some part of a long profile."""

NAMED = 0.05
"""A filter is named after its best match only below this q, and below this false discovery rate."""

_ALONE, _ENOUGH = 25, 1000  # maximum number of permutations for few queries; number of permuted queries that suffices

LEAST_TARGETS = 50
"""Fewer targets say too little about columns by chance."""

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
    """Known motifs that resemble the queries.

    `fdr` is the false discovery rate among all queries that resemble a known motif at least as much, measured on the
    permuted queries.

    Attributes:
        table: Rows for each query, best first: query, target (their names), name (the target's title), p, q, offset
            (column of the query where the target begins, which may lie outside it), orientation (of the target, + or
            -), overlap (columns) and similarity (mean correlation of the columns, -1 to 1).
        queries: Names of the queries.
        best_q: (queries,) smallest q of each query; NaN for queries that were not compared.
        null_q: (permutations, queries) the same with permuted columns.
        skipped: Queries that were not compared, and targets that were cut or left out, by reason.
        database: The database.

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
    database: Motifs

    def plot(self) -> Any:
        """The smallest q of the first 30 queries and of their permutations, as an Altair chart."""
        return import_module("netassay.plotting").plot(self)

    @cached_property
    def fdr(self) -> Float64[Tensor, " queries"]:
        """Benjamini and Hochberg over the queries, each with p the share of permuted queries with as low a q."""
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
        """Each query's number, and in brackets what it resembles, "filter 12 (SPI1)", where q and `fdr` are below `q`.

        "filter 12 (unsure)" where only q is.
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
    per_query: int = 10,
    generator: torch.Generator | None = None,
    threads: int | None = None,
) -> Matches:
    """The known motifs that each motif resembles, with a null.

    Tomtom's p-values, clipped to [0, 1]; q by Benjamini and Hochberg over the targets of a query. The null: the
    queries with their columns, flanks cut off, in random order.

    Args:
        motifs: The queries.
        database: Known motifs, or what `read_database` takes.
        permutations: Number of permutations (0 or more); raised where few queries are compared, so that one of them
            can get a name. With 0 none gets one.
        per_query: Maximum number of matches for each query.
        generator: Draws the permutations; by default with seed 0.
        threads: Number of threads; by default PyTorch's.

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
    reference = database if isinstance(database, Motifs) else read_database(database)
    if permutations < 0 or per_query < 1 or (threads is not None and threads < 1):
        raise DataError(
            f"permutations {permutations}, per_query {per_query}, threads {threads}: give 0 or more, and 1 or more"
        )
    targets, skipped = _targets(reference)
    if not targets:
        raise DataError(
            f"no motif of the {len(reference)} in the database has {LEAST_COLUMNS} columns with information; give "
            "another database"
        )
    draws = generator or torch.Generator().manual_seed(0)
    pairs = compare(motifs, reference, threads=threads)
    rows = _comparable(motifs)
    if n_skipped := len(motifs) - len(rows):
        skipped[f"queries with fewer than {LEAST_COLUMNS} columns or {LEAST_BITS:g} bits, not compared"] = n_skipped
    ranked = _rank(pairs, len(targets))
    null_q = _null_q(motifs, reference, _repeats(permutations, len(rows)), draws, threads)
    table, best_q = _table(ranked, motifs, reference, per_query), _smallest_q(ranked, len(motifs))
    return Matches(table, motifs.names, best_q, null_q, skipped, reference)


def compare(queries: Motifs, targets: Motifs, *, threads: int | None = None) -> pl.DataFrame:
    """Every pair of a query and a target (`PAIRS`; their row numbers), the flanks of both cut off.

    p is Tomtom's (`alignments`), of the best placement on both strands. The null draws columns of the compared targets
    or their complements; with fewer than `LEAST_TARGETS` targets also those of JASPAR CORE's vertebrates. The result
    for a query does not depend on the other queries. Motifs with fewer than `LEAST_COLUMNS` columns between their
    flanks are left out, and queries with less than `LEAST_BITS`.
    """
    rows, (spans, _) = _comparable(queries), _targets(targets)
    if not rows or not spans:
        return pl.DataFrame(schema=PAIRS)
    numbers = np.array(list(spans))
    before = np.array([start for start, _ in spans.values()])
    behind = np.array([targets.widths[i] - stop for i, (_, stop) in spans.items()])
    parts = []
    for row, alignment in zip(rows, alignments(**_words(queries, rows, targets, spans, threads)), strict=True):
        offset = queries.spans[row][0] + alignment.offset - np.where(alignment.reverse, behind, before)
        parts.append(
            pl.DataFrame(
                {
                    "query": np.full(len(numbers), row),
                    "target": numbers,
                    "p": alignment.p,
                    "offset": offset,
                    "orientation": np.where(alignment.reverse, "-", "+"),
                    "overlap": alignment.overlap,
                    "similarity": alignment.similarity,
                },
                schema=PAIRS,
            )
        )
    return pl.concat(parts).sort("query", "p", "target")


def _words(
    queries: Motifs,
    rows: Sequence[int],
    targets: Motifs,
    spans: Mapping[int, tuple[int, int]],
    threads: int | None,
) -> dict[str, Any]:
    """Arguments of the alignment, flanks cut off."""
    columns = _stretches(targets, spans)
    return {
        "queries": _stretches(queries, {i: queries.spans[i] for i in rows}),
        "targets": columns,
        "more": _vertebrates() if len(columns) < LEAST_TARGETS else [],
        "min_columns": LEAST_COLUMNS,
        "threads": threads or torch.get_num_threads(),
    }


def _null_q(
    queries: Motifs, targets: Motifs, repeats: int, draws: torch.Generator, threads: int | None
) -> Float64[Tensor, "repeats queries"]:
    """Smallest q of each query with its columns in random orders; NaN for those that are not compared."""
    smallest = torch.full((repeats, len(queries)), torch.nan, dtype=torch.float64)
    rows, (spans, _) = _comparable(queries), _targets(targets)
    if not rows or not repeats:
        return smallest
    widths = {i: queries.spans[i][1] - queries.spans[i][0] for i in rows}
    orders = [[torch.randperm(widths[i], generator=draws).tolist() for _ in range(repeats)] for i in rows]
    words = _words(queries, rows, targets, spans, threads)
    for row, p in zip(rows, permuted_p_values(orders=orders, **words), strict=True):
        # the smallest of Benjamini and Hochberg's q-values
        ranks = np.arange(1, len(spans) + 1)
        smallest[:, row] = torch.from_numpy((np.sort(p, axis=1) * len(spans) / ranks).min(1).clip(max=1))
    return smallest


def _stretches(motifs: Motifs, spans: Mapping[int, tuple[int, int]]) -> list[np.ndarray]:
    return [motifs.pwm[i, :, start:stop].numpy() for i, (start, stop) in spans.items()]


@cache
def _vertebrates() -> list[np.ndarray]:
    database = read_database("jaspar-vertebrates")
    return _stretches(database, _targets(database)[0])


def _repeats(permutations: int, queries: int) -> int:
    """Number of permutations to make, raised where the queries are few."""
    if not permutations or not queries:
        return permutations
    return max(permutations, min(_ALONE, -(-_ENOUGH // queries)))


def _rank(pairs: pl.DataFrame, tests: int) -> pl.DataFrame:
    """Pairs with their q, which is over the targets of each query."""
    if not pairs.height:
        return pairs.with_columns(q=pl.lit(None, pl.Float64))
    parts = [
        part.with_columns(q=pl.Series(q_values(part["p"].to_torch(), tests).numpy()))
        for part in pairs.partition_by("query", maintain_order=True)
    ]
    return pl.concat(parts)


def _smallest_q(ranked: pl.DataFrame, queries: int) -> Tensor:
    smallest = torch.full((queries,), torch.nan, dtype=torch.float64)
    best = ranked.group_by("query").agg(pl.col("q").min())
    smallest[best["query"].to_torch()] = best["q"].to_torch()
    return smallest


def _table(ranked: pl.DataFrame, motifs: Motifs, database: Motifs, limit: int) -> pl.DataFrame:
    top = ranked.group_by("query", maintain_order=True).head(limit)
    target = top["target"].to_list()
    return pl.DataFrame(
        {
            "query": [motifs.names[i] for i in top["query"]],
            "target": [database.names[i] for i in target],
            "name": [database.titles[i] for i in target],
        },
        schema=dict.fromkeys(("query", "target", "name"), pl.String),
    ).hstack(top.select("p", "q", "offset", "orientation", "overlap", "similarity"))


def _comparable(motifs: Motifs) -> list[int]:
    """Rows of the queries with enough information to be compared."""
    return [
        i
        for i, (start, stop) in enumerate(motifs.spans)
        if stop - start >= LEAST_COLUMNS and float(motifs.information[i, start:stop].sum()) >= LEAST_BITS
    ]


def _targets(motifs: Motifs) -> tuple[dict[int, tuple[int, int]], Counter[str]]:
    """Columns of each target that are compared, and how many were cut or left out."""
    counts: Counter[str] = Counter()
    spans = {}
    for i, (start, stop) in enumerate(motifs.spans):
        if stop - start < LEAST_COLUMNS:
            counts[f"targets with fewer than {LEAST_COLUMNS} columns with information, left out"] += 1
            continue
        if stop - start > MOST_COLUMNS:
            counts[f"targets longer than {MOST_COLUMNS} columns, cut to the most informative {MOST_COLUMNS}"] += 1
            sums = motifs.information[i, start:stop].unfold(0, MOST_COLUMNS, 1).sum(1)
            start += int(sums.argmax())
            stop = start + MOST_COLUMNS
        spans[i] = (start, stop)
    return spans, counts


def likeness(queries: Motifs, targets: Motifs) -> Float64[Tensor, "queries targets"]:
    """Tomtom's p-value (`compare`) of every query against every target, 1 where either is too short."""
    p = torch.ones(len(queries), len(targets), dtype=torch.float64)
    rows, (spans, _) = _comparable(queries), _targets(targets)
    if rows and spans:
        columns = list(spans)
        for row, alignment in zip(rows, alignments(**_words(queries, rows, targets, spans, None)), strict=True):
            p[row, columns] = torch.from_numpy(alignment.p)
    return p
