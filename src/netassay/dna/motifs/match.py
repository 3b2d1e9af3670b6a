"""Known motifs that the motifs of filters look like (Tomtom: Gupta et al. 2007), beside what chance gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch
from jaxtyping import Float64
from torch import Tensor

from netassay.dna.motifs.discoveries import q_values
from netassay.dna.motifs.matrices import LEAST_COLUMNS
from netassay.errors import DataError
from netassay.formats.jaspar import read_database
from netassay.formats.motifs import Motifs

LEAST_BITS = 4.0
"""Queries with less information between their flanks are not compared: correlations do not see that they are flat."""

MOST_COLUMNS = 22
"""Longer targets are cut to their most informative stretch: noise finds something in a long profile."""

NAMED = 0.05
"""A filter is called after its best match only below this q."""

_AT_ONCE = 60  # queries

PAIRS = {
    "query": pl.Int64, "target": pl.Int64, "p": pl.Float64, "offset": pl.Int64, "orientation": pl.String,
    "overlap": pl.Int64, "similarity": pl.Float64,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Matches:
    """Known motifs like those asked for.

    `table` has up to `most` rows a query, best first: query, target (their names), name (the target's title), p, q,
    offset (column of the query where the target begins, which may lie outside it), orientation (of the target, + or
    -), overlap (columns) and similarity (mean correlation of the columns, -1 to 1). `best_q` is the least q of each
    query, `null_q` (permutations, queries) of the same queries with their columns permuted; NaN for queries that were
    not compared. `skipped` counts these, and targets that were cut or left out, by reason.
    """

    table: pl.DataFrame
    queries: tuple[str, ...]
    best_q: Float64[Tensor, " queries"]
    null_q: Float64[Tensor, "permutations queries"]
    skipped: Mapping[str, int]

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
        """Each query's number, and in brackets what it is like below `q`: "filter 12 (SPI1)"."""
        named = {
            row["query"]: row["name"] or row["target"]
            for row in self.best().iter_rows(named=True)
            if row["q"] < q
        }
        return {
            key: key.replace("_", " ") + (f" ({named[key]})" if key in named else "") for key in self.queries
        }


def match_motifs(
    motifs: Motifs,
    database: Motifs | str | Path = "jaspar-vertebrates",
    *,
    permutations: int = 1,
    most: int = 10,
    generator: torch.Generator | None = None,
    threads: int | None = None,
) -> Matches:
    """The known motifs of `database` (or of what `read_database` finds) that each motif is like.

    Tomtom's p-values (`compare`), clipped to [0, 1]; q by Benjamini and Hochberg (1995) over the targets of a query.
    Beside them stands the null, `permutations` times the queries with their columns, flanks cut off, in random order
    drawn from `generator` (seed 0 if not given). `threads` are PyTorch's unless given. Raises DataError
    for an empty database and numbers out of range.
    """
    known = database if isinstance(database, Motifs) else read_database(database)
    if permutations < 0 or most < 1 or (threads is not None and threads < 1):
        raise DataError(
            f"permutations {permutations}, most {most}, threads {threads}: give 0 or more, and 1 or more"
        )
    targets, skipped = _targets(known)
    if not targets:
        raise DataError(
            f"no motif of the {len(known)} in the database has {LEAST_COLUMNS} columns with information"
        )
    draws = generator or torch.Generator().manual_seed(0)
    pairs = compare(motifs, known, threads=threads)
    kept = _told(motifs)
    if left := len(motifs) - len(kept):
        skipped[f"queries with fewer than {LEAST_COLUMNS} columns or {LEAST_BITS:g} bits, not compared"] = (
            left
        )
    ranked = _ranked(pairs, len(targets))
    nulls = [
        _least(_ranked(compare(motifs, known, draws=draws, threads=threads), len(targets)), len(motifs))
        for _ in range(permutations)
    ]
    null_q = torch.stack(nulls) if nulls else torch.empty(0, len(motifs), dtype=torch.float64)
    return Matches(
        _named(ranked, motifs, known, most), motifs.names, _least(ranked, len(motifs)), null_q, skipped
    )


def compare(
    queries: Motifs, targets: Motifs, *, draws: torch.Generator | None = None, threads: int | None = None
) -> pl.DataFrame:
    """Every pair of a query and a target (`PAIRS`; their row numbers), the flanks of both cut off.

    p is that of the best placement of all on both strands, whole queries being scored, columns beyond the target as
    if they were typical; a column by chance is one drawn about equal shares of the bases, so that p does not depend
    on what else is compared. By universalmotif (`complete`, parametric null). With `draws` the columns of the queries
    come in random order. Motifs with fewer than `LEAST_COLUMNS` columns between their flanks are left out, and queries
    with less than `LEAST_BITS`.
    """
    import universalmotif

    rows, (found, _) = _told(queries), _targets(targets)
    if not rows or not found:
        return pl.DataFrame(schema=PAIRS)
    cut = [queries.pwm[i, :, slice(*queries.spans[i])] for i in rows]
    if draws is not None:
        cut = [matrix[:, torch.randperm(matrix.shape[1], generator=draws)] for matrix in cut]
    stretches = [targets.pwm[i, :, start:stop] for i, (start, stop) in found.items()]
    made, known = _library_motifs(cut), _library_motifs(stretches)
    parts = []
    # the library compares queries with each other too, which a few at a time keeps from mattering
    for first in range(0, len(rows), _AT_ONCE):
        some = made[first : first + _AT_ONCE]
        part = universalmotif.compare_motifs(
            [*some, *known], compare_to=list(range(len(some))), complete=True, null="parametric", qvalue=1.0,
            min_overlap=LEAST_COLUMNS, nthreads=threads or torch.get_num_threads(),
        )  # fmt: skip
        numbers = part.with_columns(pl.col("subject_i", "target_i").cast(pl.Int64)).drop("target")
        numbers = numbers.filter(pl.col("target_i") >= len(some))
        parts.append(numbers.with_columns(pl.col("subject_i") + first, pl.col("target_i") - len(some)))
    told = pl.concat(parts)
    sizes = pl.DataFrame({
        "target_i": range(len(known)), "target": list(found),
        "before": [start for start, _ in found.values()],
        "behind": [targets.widths[i] - stop for i, (_, stop) in found.items()],
        "wide": [matrix.shape[1] for matrix in stretches],
    })  # fmt: skip
    spans = pl.DataFrame({
        "subject_i": range(len(rows)), "query": rows, "start": [queries.spans[i][0] for i in rows],
        "columns": [matrix.shape[1] for matrix in cut],
    })  # fmt: skip
    joined = told.join(sizes, on="target_i").join(spans, on="subject_i")
    # on the other strand the library turns the query, here the target is turned
    turned = pl.col("columns") - pl.col("offset") - pl.col("wide") - pl.col("behind")
    forward = pl.col("strand") == "+"
    offset = pl.when(forward).then(pl.col("offset") - pl.col("before")).otherwise(turned) + pl.col("start")
    return joined.select(
        "query", "target", pl.col("pvalue").clip(0, 1).alias("p"), offset.alias("offset"),
        pl.col("strand").alias("orientation"), pl.col("overlap").cast(pl.Int64), pl.col("score").alias("similarity"),
    ).sort("query", "p", "target")  # fmt: skip


def _library_motifs(matrices: Sequence[Tensor]) -> list[Any]:
    import universalmotif

    return [
        universalmotif.create_motif(matrix.numpy(), alphabet="DNA", type="PPM", name=str(i))
        for i, matrix in enumerate(matrices)
    ]


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
    return pl.DataFrame({
        "query": [motifs.names[i] for i in kept["query"]], "target": [known.names[i] for i in target],
        "name": [known.titles[i] for i in target],
    }, schema=dict.fromkeys(("query", "target", "name"), pl.String)).hstack(
        kept.select("p", "q", "offset", "orientation", "overlap", "similarity"))  # fmt: skip


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
            counts[
                f"targets longer than {MOST_COLUMNS} columns, cut to the most informative {MOST_COLUMNS}"
            ] += 1
            sums = motifs.information[i, start:stop].unfold(0, MOST_COLUMNS, 1).sum(1)
            start += int(sums.argmax())
            stop = start + MOST_COLUMNS
        found[i] = (start, stop)
    return found, counts


_QUERIES_AT_ONCE = 256  # queries: the table of their pairs is held as rows


def likeness(queries: Motifs, targets: Motifs) -> Float64[Tensor, "queries targets"]:
    """Tomtom's p-value (`compare`) of every query against every target, 1 where either is too short."""
    p = torch.ones(len(queries), len(targets), dtype=torch.float64)
    for first in range(0, len(queries), _QUERIES_AT_ONCE):
        part = queries.select(range(first, min(first + _QUERIES_AT_ONCE, len(queries))))
        pairs = compare(part, targets)
        p[pairs["query"].to_torch() + first, pairs["target"].to_torch()] = pairs["p"].to_torch()
    return p
