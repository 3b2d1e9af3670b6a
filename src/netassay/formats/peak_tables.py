"""Tables of peaks with a header: featureCounts, SAF, MACS (.xls), R, ImmGen's of all regions, and their like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from netassay.errors import DataError
from netassay.formats.headings import (
    CHROMOSOME,
    END,
    START,
    SUMMIT,
    WIDTH,
    column_of,
    plain,
)
from netassay.formats.intervals import (
    SCHEMA,
    Region,
    Repeats,
    guess_form,
    named_once,
    read_intervals,
    refuse_order,
)
from netassay.formats.tables import NumberTable, read_numbers

SUMMIT_HALF = 125
"""Bases to either side of the summit where a table gives no ends: ImmGen's regions have 251."""


@dataclass(frozen=True, eq=False)
class PeakTable:
    """Regions as `read_intervals` gives them, the columns of numbers of the same rows, and what was changed."""

    regions: pl.DataFrame
    numbers: NumberTable
    notes: Counter[str]


def read_peak_table(path: Path, *, first_base: int | None = None, repeats: Repeats = "refuse") -> PeakTable:
    """Regions of a table whose header names a chromosome with start and end, or with a summit; and its heights.

    `first_base` is what the table counts from, 0 (end exclusive) or 1 (end inclusive). By default it follows from a
    column of widths, or from the program whose headings these are, else it is 0; the choice is noted. A summit without
    ends is the middle of 251 bases. `repeats` are as for `read_intervals`.
    Raises DataError, naming the line, for coordinates that are not whole numbers or out of order.
    """
    table = read_numbers(path, required=False)
    headings = table.described.columns
    chromosome = column_of(CHROMOSOME, headings)
    start, end = column_of(START, headings), column_of(END, headings)
    summit = column_of(SUMMIT, headings)
    if chromosome is None or ((start is None or end is None) and summit is None):
        raise DataError(
            f"{path}: its header names no chromosome, start and end ({', '.join(headings[:8])}); name the columns so"
        )
    notes = Counter(table.notes)
    numbers = {name: _whole_numbers(table, name) for name in (start, end, summit) if name is not None}
    if start is None or end is None:
        assert summit is not None
        base = 1 if first_base is None else first_base
        middles = [value - base for value in numbers[summit]]
        starts, ends = [m - SUMMIT_HALF for m in middles], [m + SUMMIT_HALF + 1 for m in middles]
        summits: Sequence[int | None] = middles
        width = 2 * SUMMIT_HALF + 1
        notes[f"summits of {path.name} counted from {base}, regions of {width} bases around them"] = len(starts)
    else:
        base, why = _counted_from(headings, table, numbers[start], numbers[end], first_base)
        starts, ends = [value - base for value in numbers[start]], numbers[end]
        summits = [value - base for value in numbers[summit]] if summit else [None] * len(starts)
        if base:
            notes[f"starts of {path.name} counted from 1 ({why}), made 0-based"] = len(starts)
        else:
            notes[f"starts of {path.name} counted from 0 ({why})"] = len(starts)
    chromosomes = table.described[chromosome].fill_null("").to_list()
    names = _names(table, chromosome, chromosomes, starts, ends)
    convention = "1-based start, end inclusive" if base else "0-based start, end exclusive"
    rows = []
    for row, region in enumerate(zip(names, chromosomes, starts, ends, summits, strict=True)):
        where = table.where(row)
        if not region[1]:
            raise DataError(f"{where}: the chromosome is missing; correct or leave out the line")
        if start is not None:
            refuse_order(region[2], region[3], where, convention)
        elif region[4] is None or region[4] < 0:
            raise DataError(f"{where}: the summit lies before the first base; correct or leave out the line")
        middle = region[4]
        if middle is not None and not region[2] <= middle < region[3]:
            raise DataError(f"{where}: the summit {middle + base} lies outside the region; correct the line")
        rows.append(Region(*region, line=row if table.first_line is None else table.first_line + row))
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    frame, row_numbers = named_once(path, frame, notes, repeats, shared_names=True)
    return PeakTable(frame, _rows_of(table, row_numbers), notes)


def read_regions(path: Path, *, skipped: Counter[str] | None = None, notes: Counter[str] | None = None) -> pl.DataFrame:
    """Regions of a file of any form that `guess_form` knows, including repeated regions and names."""
    skipped = Counter() if skipped is None else skipped
    notes = Counter() if notes is None else notes
    form = guess_form(path)
    if form != "table":
        return read_intervals(path, form, skipped=skipped, notes=notes, repeats="keep")
    table = read_peak_table(path, repeats="keep")
    notes.update(table.notes)
    return table.regions


def _counted_from(
    headings: Sequence[str], table: NumberTable, starts: list[int], ends: list[int], first_base: int | None
) -> tuple[int, str]:
    """0 or 1, the number of a chromosome's first base, and the reason."""
    if first_base is not None:
        return first_base, "as asked for"
    if (width := column_of(WIDTH, headings)) is not None:
        lengths = table.described[width].cast(pl.Float64, strict=False).to_list()
        offsets = [
            length is not None and length - (end - start)
            for start, end, length in zip(starts, ends, lengths, strict=True)
        ]
        if set(offsets) in ({0}, {1}):
            return int(offsets[0]), f"column {width} says so"
    words = {plain(heading) for heading in headings}
    if {"abssummit", "foldenrichment"} & words and {"pileup", "log10pvalue"} & words:
        return 1, "as MACS writes .xls"
    if "geneid" in words and "strand" in words:
        return 1, "as in SAF and featureCounts"
    if "seqnames" in words:
        return 1, "as R's GRanges are written"
    if plain(headings[0]).startswith("peakid") and "strand" in words:
        return 1, "as HOMER writes them"
    return 0, "as in BED; --form immgen counts from 1"


def _whole_numbers(table: NumberTable, name: str) -> list[int]:
    words = table.described[name]
    if (multiple := words.fill_null("").str.contains(";")).any():
        row = multiple.arg_max() or 0
        raise DataError(
            f"{table.where(row)}: {name} is {words[row]!r:.40}, several regions in one row, as featureCounts joins the "
            "exons of a gene; count over peaks (a SAF file with a GeneID of its own for each)"
        )
    plainly = words.str.strip_chars().str.replace(r"\.0*$", "")
    # numbers that are too long are refused as well
    numbers = plainly.cast(pl.Int64, strict=False)
    if numbers.null_count():
        row = numbers.is_null().arg_max() or 0
        raise DataError(
            f"{table.where(row)}: row {table.rows[row]!r}: {name} is {words[row]!r:.40}; coordinates are whole numbers"
        )
    return numbers.to_list()


def _names(
    table: NumberTable, chromosome: str, chromosomes: list[str], starts: list[int], ends: list[int]
) -> list[str]:
    """Names of the rows, unless these were made from the places."""
    if chromosome != table.described.columns[0] or table.rows.name in table.described.columns[1:]:
        return table.rows.to_list()
    return [f"{name}:{start}-{end}" for name, start, end in zip(chromosomes, starts, ends, strict=True)]


def _rows_of(table: NumberTable, row_numbers: list[int]) -> NumberTable:
    if len(row_numbers) == len(table.rows):
        return table
    return NumberTable(
        table.rows.gather(row_numbers),
        table.columns,
        table.values[row_numbers],
        table.path,
        None,
        table.described[row_numbers],
        table.notes,
    )
