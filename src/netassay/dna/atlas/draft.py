"""Peaks on their way into an atlas, and the flaws for which they are refused, dropped or noted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl

from netassay.dna.atlas.choices import FLAWS, Flaw
from netassay.errors import DataError
from netassay.formats.bases import FOREIGN, UNKNOWN


@dataclass(frozen=True, eq=False)
class Draft:
    """Peaks on their way into an atlas: the columns of `peaks`, rows of `heights` and `codes` belong together."""

    peaks: pl.DataFrame
    heights: np.ndarray
    cell_types: tuple[str, ...]
    path: Path
    codes: np.ndarray | None = None
    lineages: tuple[str, ...] = ()
    simulated: bool = False
    dropped: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def where(self, row: int) -> str:
        """The place of a peak in its file, for messages."""
        name, chromosome, start, end = self.peaks.select("name", "chromosome", "start", "end").row(row)
        line = f":{self.peaks['line'][row]}" if "line" in self.peaks else ""
        region = "" if chromosome is None else f" ({chromosome}:{start}-{end}, 0-based)"
        return f"{self.path}{line}: peak {name!r}{region}"

    def keep(self, chosen: np.ndarray, reason: str) -> Draft:
        """Only the chosen rows; the others are counted under `reason`."""
        lost = int((~chosen).sum())
        if not lost:
            return self
        return replace(
            self,
            peaks=self.peaks.filter(pl.Series(chosen)),
            heights=self.heights[chosen],
            codes=None if self.codes is None else self.codes[chosen],
            dropped=self.dropped + Counter({reason: lost}),
        )

    def note(self, reason: str, count: int) -> Draft:
        return replace(self, notes=self.notes + Counter({reason: count})) if count else self


def sound(draft: Draft, drop: Sequence[Flaw]) -> Draft:
    """Peaks that hold what a network can take, the others refused, dropped or noted."""
    assert draft.codes is not None
    if (draft.codes > UNKNOWN).any():
        row = int((draft.codes > UNKNOWN).any(axis=1).argmax())
        found = "letters of no DNA" if draft.codes.max() == FOREIGN else "codes above 4"
        raise DataError(f"{draft.where(row)} holds {found}")
    if "not-finite" not in drop:
        refuse_odd_heights(draft, draft.where)
    draft = draft.keep(np.isfinite(draft.heights).all(axis=1), FLAWS["not-finite"])
    tests: dict[Flaw, Callable[[Draft], np.ndarray]] = {"unknown-base": _unknown, "constant": _constant}
    for flaw in [flaw for flaw in tests if flaw in drop]:
        draft = draft.keep(~tests[flaw](draft), FLAWS[flaw])
    for flaw in [flaw for flaw in tests if flaw not in drop]:
        draft = draft.note(f"{FLAWS[flaw]}, kept", int(tests[flaw](draft).sum()))
    return draft


def refuse_odd_heights(draft: Draft, where: Callable[[int], str]) -> None:
    """DataError, at the place that `where` tells of a row, if a height is not finite."""
    odd = ~np.isfinite(draft.heights).all(axis=1)
    if odd.any():
        row, column = np.argwhere(~np.isfinite(draft.heights))[0]
        raise DataError(
            f"{where(int(row))} has the height {draft.heights[row, column]} in cell type "
            f"{draft.cell_types[column]!r}; {advice(odd, 'not-finite', 'fill the value in')}"
        )


def _unknown(draft: Draft) -> np.ndarray:
    assert draft.codes is not None
    return (draft.codes == UNKNOWN).any(axis=1)


def _constant(draft: Draft) -> np.ndarray:
    # of a single cell type nothing can be said
    return (draft.heights == draft.heights[:, :1]).all(axis=1) & (draft.heights.shape[1] > 1)


def advice(flawed: np.ndarray, flaw: Flaw, first: str) -> str:
    """How many peaks share a flaw, and what to do about it."""
    return (
        f"peaks like this: {int(flawed.sum()):,} of {len(flawed):,}. Either {first}, or leave such peaks out with "
        f'--drop {flaw} (drop=["{flaw}"])'
    )
