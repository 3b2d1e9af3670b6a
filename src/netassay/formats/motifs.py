"""Motifs of DNA as counts of bases: position weight matrices, information content, consensus."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import Any, Self

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from netassay.errors import DataError
from netassay.formats.matrices import FLANK_BITS

UNIFORM = (0.25, 0.25, 0.25, 0.25)

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
        columns = torch.arange(1, self.counts.shape[2] + 1)
        last = (self.seen * columns).amax(1) if len(columns) else torch.zeros(len(self), dtype=torch.int64)
        return tuple(torch.where(last > 0, last, len(columns)).tolist())

    @cached_property
    def pwm(self) -> Float64[Tensor, "motifs 4 width"]:
        """Shares of the four bases in each column; zeros for columns without counts."""
        law = torch.tensor(self.background, dtype=torch.float64)[:, None]
        raised = self.counts + self.pseudocount * law
        shares = raised / raised.sum(1, keepdim=True)
        return torch.where(self.seen[:, None], shares, 0.0)

    @cached_property
    def information(self) -> Float64[Tensor, "motifs width"]:
        """Bits a column, sum_b p_b log2(p_b / q_b) with the background q; 0 for columns without counts.

        Against equally frequent bases this is 2 + sum_b p_b log2 p_b (Schneider and Stephens 1990).
        """
        law = torch.tensor(self.background, dtype=torch.float64)[:, None]
        nats = torch.xlogy(self.pwm, self.pwm) - torch.xlogy(self.pwm, law)
        return nats.sum(1) / math.log(2)

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
        return torch.tensor([stop - start for start, stop in self.spans], dtype=torch.int64)

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
        index = torch.tensor(list(rows), dtype=torch.int64)
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
        matrices: Sequence[Tensor],
        sites: Sequence[int],
        titles: Sequence[str] = (),
        background: tuple[float, float, float, float] = UNIFORM,
    ) -> Self:
        """Motifs of matrices (4, own width)."""
        width = max((matrix.shape[1] for matrix in matrices), default=0)
        counts = torch.zeros(len(matrices), 4, width, dtype=torch.float64)
        for padded, matrix in zip(counts, matrices, strict=True):
            padded[:, : matrix.shape[1]] = matrix
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
    if not bool(torch.isfinite(counts).all()) or bool((counts < 0).any()):
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
