"""Peaks on their way into an atlas, and the flaws for which they are refused, dropped or noted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from netassay.dna.atlas.choices import FLAWS, Flaw
from netassay.errors import DataError
from netassay.formats.bases import FOREIGN, UNKNOWN
from netassay.numerics import devices


@dataclass(frozen=True, eq=False)
class Draft:
    """Peaks on their way into an atlas: the columns of `peaks`, rows of `heights` and `codes` belong together.

    `heights` are an array or a SciPy matrix in CSR form, which stays sparse until the atlas is built.
    `halves` (peaks, cell types, 2) are counts of two halves of the cells or reads; `lengths` those of the contigs.
    """

    peaks: pl.DataFrame
    heights: Any
    cell_types: tuple[str, ...]
    path: Path
    codes: np.ndarray | None = None
    lineages: tuple[str, ...] = ()
    simulated: bool = False
    dropped: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    halves: np.ndarray | None = None
    lengths: Mapping[str, int] | None = None

    def where(self, row: int) -> str:
        """The place of a peak in its file, for messages."""
        name, chromosome, start, end = self.peaks.select("name", "chromosome", "start", "end").row(row)
        line = f":{self.peaks['line'][row]}" if "line" in self.peaks else ""
        region = "" if chromosome is None else f" ({chromosome}:{start}-{end}, 0-based)"
        return f"{self.path}{line}: peak {name!r}{region}"

    def keep(self, mask: np.ndarray, reason: str) -> Draft:
        """Only the rows of the mask; the others are counted under `reason`."""
        count = int((~mask).sum())
        if not count:
            return self
        return replace(
            self,
            peaks=self.peaks.filter(pl.Series(mask)),
            heights=self.heights[mask],
            codes=None if self.codes is None else self.codes[mask],
            halves=None if self.halves is None else self.halves[mask],
            dropped=self.dropped + Counter({reason: count}),
        )

    def note(self, reason: str, count: int) -> Draft:
        """The same, with `count` of what `reason` says; nothing is noted where it is 0."""
        return replace(self, notes=self.notes + Counter({reason: count})) if count else self


def check_flaws(draft: Draft, drop: Sequence[Flaw]) -> Draft:
    """Peaks that hold what a network can take, the others refused, dropped or noted."""
    assert draft.codes is not None
    if (draft.codes > UNKNOWN).any():
        row = int((draft.codes > UNKNOWN).any(axis=1).argmax())
        problem = "letters that are not DNA" if draft.codes.max() == FOREIGN else "codes above 4"
        raise DataError(f"{draft.where(row)} holds {problem}")
    if "not-finite" not in drop:
        refuse_odd_heights(draft, draft.where)
    draft = draft.keep(_finite(draft.heights), FLAWS["not-finite"])
    tests: dict[Flaw, Callable[[Draft], np.ndarray]] = {
        "unknown-base": _unknown,
        "constant": _constant,
        "twice": _again,
    }
    for flaw in [flaw for flaw in tests if flaw in drop]:
        draft = draft.keep(~tests[flaw](draft), FLAWS[flaw])
    for flaw in [flaw for flaw in tests if flaw not in drop]:
        draft = draft.note(f"{FLAWS[flaw]}, kept", int(tests[flaw](draft).sum()))
    return draft


def refuse_odd_heights(draft: Draft, where: Callable[[int], str]) -> None:
    """DataError, with the place of the row by `where`, if a height is not finite."""
    odd = ~_finite(draft.heights)
    if odd.any():
        row = int(odd.argmax())
        values = as_array(draft.heights[row : row + 1])[0]
        column = int((~np.isfinite(values)).argmax())
        raise DataError(
            f"{where(row)} has the height {values[column]} in cell type "
            f"{draft.cell_types[column]!r}; {advice(odd, 'not-finite', 'fill the value in')}"
        )


def as_array(heights: Any) -> np.ndarray:
    """Heights as an array of float32, of a sparse matrix without a second dense copy.

    Raises DataError where the array would not fit in free memory.
    """
    if not hasattr(heights, "tocsr"):
        return np.ascontiguousarray(heights, np.float32)
    size, free = 4 * heights.shape[0] * heights.shape[1], devices.free_memory(torch.device("cpu"))
    if free is not None and size > free:
        raise DataError(
            f"{heights.shape[0]:,} peaks x {heights.shape[1]:,} cell types are {size / 2**30:.1f} GiB as an atlas, "
            f"and {free / 2**30:.1f} GiB of memory are free; sum single cells by cell type "
            "(--group-by, group_by=), or take fewer peaks"
        )
    return np.asarray(heights.astype(np.float32).toarray(order="C"))


def _finite(heights: Any) -> np.ndarray:
    """Rows without a height that is missing or not finite."""
    if not hasattr(heights, "tocsr"):
        return np.asarray(np.isfinite(heights).all(axis=1))
    rows = np.ones(heights.shape[0], bool)
    odd = np.flatnonzero(~np.isfinite(heights.data))
    rows[np.searchsorted(heights.indptr, odd, side="right") - 1] = False
    return rows


def _unknown(draft: Draft) -> np.ndarray:
    assert draft.codes is not None
    return (draft.codes == UNKNOWN).any(axis=1)


def _constant(draft: Draft) -> np.ndarray:
    # a single cell type is always constant
    if draft.heights.shape[1] <= 1:
        return np.zeros(draft.heights.shape[0], bool)
    if hasattr(draft.heights, "tocsr"):
        largest, smallest = (getattr(draft.heights, name)(axis=1).toarray()[:, 0] for name in ("max", "min"))
        return np.asarray(largest == smallest)
    return np.asarray((draft.heights == draft.heights[:, :1]).all(axis=1))


def _again(draft: Draft) -> np.ndarray:
    """Peaks at the same place as an earlier one; peaks without a place do not count."""
    places = draft.peaks.select("chromosome", "start", "end")
    valid = ~places["start"].is_null() & ~places["chromosome"].is_null()
    return (valid & ~places.select(pl.struct(pl.all()).is_first_distinct()).to_series()).to_numpy()


def advice(flawed: np.ndarray, flaw: Flaw, first: str) -> str:
    """How many peaks share a flaw, and what to do about it."""
    return (
        f"peaks like this: {int(flawed.sum()):,} of {len(flawed):,}. Either {first}, or leave such peaks out with "
        f'--drop {flaw} (drop=["{flaw}"])'
    )
