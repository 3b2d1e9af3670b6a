"""Motifs of DNA as counts of bases: position weight matrices, information content, consensus, tables.

`Motifs` holds tensors; what draws a table of counts on a page is in NumPy, and loads no torch.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64, Int64

from netassay.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

UNIFORM = (0.25, 0.25, 0.25, 0.25)

FLANK_BITS = 0.25
"""Columns at the ends with less information than this are a motif's flanks, not part of it."""

LEAST_COLUMNS = 5
"""Motifs with fewer columns between their flanks resemble anything and are not compared."""

UNSURE = "unsure"
"""Label of a motif that resembles a known one, but no more than permuted ones do."""

Matrix = Float64[np.ndarray, "4 width"]
"""Counts of A, C, G, T in each column; a column of zeros has no counts."""

# Cavener (1987) over the bases A, C, G, T; the letter of two bases by their numbers
_PAIRS = {(0, 1): "M", (0, 2): "R", (0, 3): "W", (1, 2): "S", (1, 3): "Y", (2, 3): "K"}


@dataclass(frozen=True, eq=False)
class Motifs:
    """Motifs as counts of the bases A, C, G, T; a column of zeros has no counts.

    Attributes:
        names: Unique names ("filter_0", or the ids of a database).
        counts: (motifs, 4, width); motifs narrower than the widest end in columns of zeros.
        sites: (motifs,) the number of sequences that each was counted from.
        titles: Other names (a factor's name).
        background: Distribution of bases against which information is counted.
        pseudocount: Number of sequences with that distribution that are added to every column with counts.
        notes: What was left out of their file, or read differently, by reason.

    Example:
        >>> import netassay
        >>> netassay.read_database("jaspar-vertebrates").counts.shape[1]
        4
    """

    names: tuple[str, ...]
    counts: Float64[Tensor, "motifs 4 width"]
    sites: Int64[Tensor, " motifs"]
    titles: tuple[str, ...] = ()
    background: tuple[float, float, float, float] = UNIFORM
    pseudocount: float = 0.0
    notes: Mapping[str, int] = field(default_factory=dict)

    def plot(self) -> Any:
        """Logos of the first 30 motifs, as an Altair chart."""
        return import_module("netassay.plotting").plot(self)

    def __post_init__(self) -> None:
        if not self.titles:
            object.__setattr__(self, "titles", ("",) * len(self.names))
        _check(self)

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def seen(self) -> Bool[Tensor, "motifs width"]:
        """Columns that have counts."""
        return self.counts.sum(1) > 0

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Columns of each motif up to the last that has counts; all of them where none has."""
        width = self.counts.shape[2]
        return tuple(
            max((i + 1 for i, filled in enumerate(row) if filled), default=width) for row in self.seen.tolist()
        )

    @cached_property
    def pwm(self) -> Float64[Tensor, "motifs 4 width"]:
        """Shares of the four bases in each column; zeros for columns without counts."""
        raised = self.counts + self.pseudocount * self._law
        shares = raised / raised.sum(1, keepdim=True)
        return shares.masked_fill(~self.seen[:, None], 0.0)

    @cached_property
    def information(self) -> Float64[Tensor, "motifs width"]:
        """Bits a column, sum_b p_b log2(p_b / q_b) with the background q; 0 for columns without counts.

        Against equally frequent bases this is 2 + sum_b p_b log2 p_b (Schneider and Stephens 1990).
        """
        nats = self.pwm.xlogy(self.pwm) - self.pwm.xlogy(self._law)
        return nats.sum(1) / math.log(2)

    @property
    def _law(self) -> Float64[Tensor, "4 1"]:
        """The background as a column."""
        return self.counts.double().new_tensor(self.background)[:, None]

    @property
    def heights(self) -> Float64[Tensor, "motifs 4 width"]:
        """Letters of a logo: each base's share of the bits of its column."""
        return self.pwm * self.information[:, None]

    @cached_property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """First column and the one after the last that is not flank (`FLANK_BITS`); (0, 0) if there is none."""
        spans = []
        for bits in self.information:
            columns = (bits >= FLANK_BITS).nonzero().flatten().tolist()
            spans.append((columns[0], columns[-1] + 1) if columns else (0, 0))
        return tuple(spans)

    @property
    def informative_lengths(self) -> Int64[Tensor, " motifs"]:
        """Columns between the flanks."""
        return self.sites.long().new_tensor([stop - start for start, stop in self.spans])

    @cached_property
    def consensus(self) -> tuple[str, ...]:
        """IUPAC letters between the flanks (Cavener 1987); "" for a motif without information.

        One base if it has more than half and twice the next; two if they have three quarters; else N.
        """
        return tuple(
            "".join(_letter(column) for column in matrix[:, start:stop].T.tolist())
            for matrix, (start, stop) in zip(self.pwm, self.spans, strict=True)
        )

    def select(self, rows: Sequence[int]) -> Motifs:
        """These motifs, in this order."""
        index = self.sites.long().new_tensor(list(rows))
        names, titles = (tuple(words[i] for i in rows) for words in (self.names, self.titles))
        return Motifs(
            names,
            self.counts[index],
            self.sites[index],
            titles,
            self.background,
            self.pseudocount,
            self.notes,
        )

    @classmethod
    def of_matrices(
        cls,
        names: Sequence[str],
        matrices: Sequence[Tensor | Matrix],
        sites: Sequence[int],
        titles: Sequence[str] = (),
        background: tuple[float, float, float, float] = UNIFORM,
    ) -> Self:
        """Motifs of matrices (4, own width)."""
        import torch

        width = max((matrix.shape[1] for matrix in matrices), default=0)
        counts = torch.zeros(len(matrices), 4, width, dtype=torch.float64)
        for padded, matrix in zip(counts, matrices, strict=True):
            padded[:, : matrix.shape[1]] = torch.as_tensor(matrix)
        site_counts = torch.tensor(list(sites), dtype=torch.int64)
        return cls(tuple(names), counts, site_counts, tuple(titles), background)


def _check(motifs: Motifs) -> None:
    n, counts = len(motifs.names), motifs.counts
    if counts.shape[:2] != (n, 4) or motifs.sites.shape != (n,) or len(motifs.titles) != n:
        raise DataError(
            f"{n} names, {len(motifs.titles)} titles, counts of shape {tuple(counts.shape)}, sites of shape "
            f"{tuple(motifs.sites.shape)}; {n} motifs need counts ({n}, 4, width), and a title and sites each"
        )
    if twice := [name for name, count in Counter(motifs.names).items() if count > 1]:
        raise DataError(f"motif {twice[0]!r} is there twice; give each its own name")
    if not bool(counts.isfinite().all()) or bool((counts < 0).any()):
        raise DataError("the counts of motifs hold values below 0 or not finite; give how often each base was seen")
    if min(motifs.background) <= 0 or abs(sum(motifs.background) - 1) > 1e-6:
        raise DataError(f"background {motifs.background}: give the shares of A, C, G and T, above 0, that sum to 1")
    if not 0 <= motifs.pseudocount < float("inf"):
        raise DataError(f"pseudocount {motifs.pseudocount}: give 0 or more sequences")


def _letter(column: Sequence[float]) -> str:
    first, second = sorted(range(4), key=lambda base: -column[base])[:2]
    if column[first] > 0.5 and column[first] > 2 * column[second]:
        return "ACGT"[first]
    if column[first] + column[second] > 0.75:
        return _PAIRS[min(first, second), max(first, second)]
    return "N"


def information(counts: Matrix) -> Float64[np.ndarray, " width"]:
    """Bits a column, 2 + sum_b p_b log2 p_b (Schneider and Stephens 1990); 0 for columns without counts."""
    shares = _shares(counts)
    nats = (shares * np.log(np.where(shares > 0, shares, 1.0))).sum(0) + np.log(4.0) * shares.sum(0)
    return nats / np.log(2)


def letter_heights(counts: Matrix) -> Matrix:
    """Letters of a logo: each base's share of the bits of its column."""
    return _shares(counts) * information(counts)


def span(counts: Matrix) -> tuple[int, int]:
    """First column and the one after the last that is not flank (`FLANK_BITS`); (0, 0) if there is none."""
    columns = np.flatnonzero(information(counts) >= FLANK_BITS)
    return (int(columns[0]), int(columns[-1]) + 1) if len(columns) else (0, 0)


def _shares(counts: Matrix) -> Matrix:
    sums = counts.sum(0)
    return np.divide(counts, sums, out=np.zeros_like(counts), where=sums > 0)


def matrix_table(motifs: Motifs) -> pl.DataFrame:
    """Counts, a row for each column with sites of each motif: motif, title, sites, position (from 0), A, C, G, T."""
    index = motifs.seen.nonzero()
    counts = motifs.counts.transpose(1, 2)[motifs.seen]
    rows = index[:, 0].tolist()
    return pl.DataFrame(
        {
            "motif": [motifs.names[i] for i in rows],
            "title": [motifs.titles[i] for i in rows],
            "sites": column(motifs.sites[index[:, 0]]),
            "position": column(index[:, 1]),
            **{base: column(counts[:, i]) for i, base in enumerate("ACGT")},
        },
        schema_overrides={"motif": pl.String, "title": pl.String},
    )


def matrices_of_table(table: pl.DataFrame) -> dict[str, Matrix]:
    """Counts (4, own width) of each motif of a `matrix_table`, by name, in the order of their first rows."""
    matrices = {}
    for part in table.partition_by("motif", maintain_order=True):
        positions = part["position"].to_numpy()
        counts = np.zeros((4, int(positions.max()) + 1))
        counts[:, positions] = part.select("A", "C", "G", "T").to_numpy().T
        matrices[part["motif"][0]] = counts
    return matrices


def motifs_of_table(table: pl.DataFrame) -> Motifs:
    """The motifs of a `matrix_table`, in the order of their first rows."""
    matrices = matrices_of_table(table)
    firsts = table.unique("motif", keep="first", maintain_order=True)
    sites, titles = firsts["sites"].to_list(), firsts["title"].to_list()
    return Motifs.of_matrices(list(matrices), list(matrices.values()), sites, titles)


def cluster_motifs_of(clusters: pl.DataFrame, table: pl.DataFrame) -> Motifs:
    """The merged motifs of `clusters` (columns cluster, sites), by the counts of a `matrix_table`."""
    matrices, names = matrices_of_table(table), clusters["cluster"].to_list()
    return Motifs.of_matrices(names, [matrices[name] for name in names], clusters["sites"].to_list())


def column(values: Tensor) -> pl.Series:
    """A tensor of one dimension as a column, its type kept."""
    return pl.Series(values.numpy())
