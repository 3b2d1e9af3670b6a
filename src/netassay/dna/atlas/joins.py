"""Rows of a table matched to peaks: by name, else by the place given in a name or in columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int64

from netassay.errors import DataError
from netassay.formats.bases import canonical
from netassay.formats.headings import CHROMOSOME, END, NAMES, START, column_of, place_of
from netassay.formats.tables import NumberTable

SHIFTS = {
    (-1, 0): "count from 1 with the end inside (1-based), and those of the peaks from 0",
    (1, 0): "count from 0, and those of the peaks from 1 (1-based), as it seems",
    (0, 1): "count from 0 with the end inside",
    (0, -1): "end one base further than those of the peaks",
}
"""Shifts of start and end that turn a table's places into those of the peaks, and what each means."""


@dataclass(frozen=True, eq=False)
class Join:
    """For each peak the row of the table, -1 for none; and how they were matched, "" where names are the same."""

    rows: Int64[np.ndarray, " peaks"]
    how: str

    @property
    def matched(self) -> int:
        """Peaks that have a row."""
        return int((self.rows >= 0).sum())


def join(peaks: pl.DataFrame, table: NumberTable, path: Path, *, common: float = 0.5) -> Join:
    """The row of each peak in a table.

    Equal names come first; then places, whatever form the names of regions have and whether chromosomes are called
    chr1 or 1; then places that differ by one base, as those counted from 1 and from 0 do, but only where all rows then
    match. Raises DataError, naming `path` of the peaks, if fewer than the share `common` of peaks or rows, whichever
    are fewer, have a partner.
    """
    limit = min(len(peaks), len(table.rows))
    best, likely = Join(np.full(len(peaks), -1), ""), ""
    for candidate in _by_name(peaks, table):
        best = max(best, candidate, key=lambda result: result.matched)
    if best.matched < limit:
        places = [*_places(table)]
        for label, frame in places:
            candidate = Join(_match(_coordinates(peaks), frame), f"matched by place, {label}")
            best = max(best, candidate, key=lambda result: result.matched)
        for (label, frame), (shift, words) in ((p, s) for p in places for s in SHIFTS.items()):
            if best.matched >= max(1, limit / 2):
                break
            moved = frame.with_columns(pl.col("start") + shift[0], pl.col("end") + shift[1])
            candidate = Join(_match(_coordinates(peaks), moved), f"matched by place, {label}; their places {words}")
            if candidate.matched == limit:
                best = candidate
            elif candidate.matched > best.matched:
                likely = f" {candidate.matched:,} would match if their places {words}."
    if not best.matched or best.matched < common * limit:
        raise DataError(_too_few(peaks, table, path, best.matched) + likely)
    return best


def _too_few(peaks: pl.DataFrame, table: NumberTable, path: Path, matched: int) -> str:
    count = f"only {matched:,}" if matched else "none"
    are = "is that" if matched < 2 else "are those"
    ask = "; to build of those few all the same, give --common 0 (common=0)" if matched else ""
    return (
        f"{table.path}: {count} of its {len(table.rows):,} names ({table.rows[0]!r}, ...) {are} of a peak in "
        f"{path} ({peaks['name'][0]!r}, ..., {len(peaks):,} in all); name rows and peaks alike (BED without names: "
        f"chromosome:start-end, 0-based){ask}."
    )


def _by_name(peaks: pl.DataFrame, table: NumberTable) -> Iterator[Join]:
    first = table.rows.rename("key")
    yield Join(_match(peaks.select(key="name"), pl.DataFrame([first])), "")
    for name in table.described.columns[1:]:
        if column_of(NAMES, [name]) and table.described[name].drop_nulls().n_unique() == len(table.rows):
            keys = table.described.select(key=name)
            yield Join(_match(peaks.select(key="name"), keys), f"matched by column {name}")


def _places(table: NumberTable) -> Iterator[tuple[str, pl.DataFrame]]:
    """Places of the rows, from columns or from names."""
    headings = table.described.columns
    columns = [column_of(kind, headings) for kind in (CHROMOSOME, START, END)]
    chromosome, start, end = columns
    if chromosome and start and end:
        bounds: Any = [table.described[name].cast(pl.Float64, strict=False) for name in (start, end)]
        places = pl.DataFrame(
            [table.described[chromosome].fill_null(""), *bounds], schema=["chromosome", "start", "end"]
        )
        yield (
            f"columns {chromosome}, {start}, {end}",
            _canonical(places.cast({"start": pl.Int64, "end": pl.Int64})),
        )
    sources = [("from the names of the rows", table.rows)]
    sources += [(f"from column {name}", table.described[name]) for name in headings[1:] if column_of(NAMES, [name])]
    for label, names in sources:
        parts = [None if name is None else place_of(name) for name in names.to_list()]
        if any(parts):
            rows = [place or (None, None, None) for place in parts]
            schema = {"chromosome": pl.String, "start": pl.Int64, "end": pl.Int64}
            yield label, _canonical(pl.DataFrame(rows, schema=schema, orient="row"))


def _coordinates(peaks: pl.DataFrame) -> pl.DataFrame:
    return _canonical(peaks.select("chromosome", "start", "end"))


def _canonical(places: pl.DataFrame) -> pl.DataFrame:
    names = {name: canonical(name) for name in places["chromosome"].drop_nulls().unique()}
    return places.with_columns(pl.col("chromosome").replace(names))


def _match(peaks: pl.DataFrame, rows: pl.DataFrame) -> np.ndarray:
    """The first row with the keys of each peak, -1 where there is none; missing keys match none."""
    keys = peaks.columns
    numbered = rows.with_row_index("row").drop_nulls().unique(keys, keep="first", maintain_order=True)
    matches = peaks.join(numbered, on=keys, how="left", maintain_order="left")["row"]
    return matches.cast(pl.Int64).fill_null(-1).to_numpy()
