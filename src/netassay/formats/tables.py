"""Tables of numbers with named rows and columns: CSV, TSV and Parquet."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float32

from netassay.errors import DataError, first_line, reraised
from netassay.formats.headings import (
    CHROMOSOME,
    END,
    NAMES,
    START,
    column_of,
    describes_peaks,
    has_places,
    without_files,
)
from netassay.formats.rows import content, is_number, read_rows
from netassay.inputs import refuse_odd_file, require_utf_8_name

SEPARATORS = ("\t", ",", ";")
MISSING = {"", "NA", "NaN", "nan", "null", "None", "."}
"""Entries that mean a missing value."""


@dataclass(frozen=True, eq=False)
class NumberTable:
    """`values` (rows, columns) in float32, the names of both, and the place of each row ("file:line").

    `described` holds, as text, the columns that describe the rows and are not columns of numbers: chromosome, start,
    Length and the like, the first column too. `notes` counts what was left out or renamed, by reason.
    """

    rows: pl.Series
    columns: tuple[str, ...]
    values: Float32[np.ndarray, "n columns"]
    path: Path
    first_line: int | None
    described: pl.DataFrame = field(default_factory=pl.DataFrame)
    notes: Counter[str] = field(default_factory=Counter)

    def where(self, row: int) -> str:
        """The place of a row, for messages."""
        if self.first_line is None:
            return f"{self.path}: row {row + 1}"
        return f"{self.path}:{self.first_line + row}"


def read_numbers(path: Path, *, required: bool = True) -> NumberTable:
    """A table whose first column names the rows and whose header names the columns, plain, gzip or Parquet.

    The separator (tab, comma or semicolon) is read from the header; a header with one name less than the rows have
    fields, as R writes it, names all columns but the first. Lines before the header that begin with # are skipped.
    Columns that describe peaks (Chr, Start, Length, Strand, ...) and columns of words are not columns of numbers; they
    are counted. A table that begins with the chromosome calls its rows chromosome:start-end. Missing values and "NA"
    are NaN. Raises DataError, naming line and column, for a table without columns of numbers (if these are `required`),
    values that are not numbers, rows of another length, and names that are repeated or empty.
    """
    notes: Counter[str] = Counter()
    if path.name.lower().endswith(".parquet"):
        frame, first_line = _parquet(path), None
    else:
        frame, first_line = _delimited(path, notes)
    words = [name for name, kind in frame.schema.items() if kind == pl.String]
    numbers = frame.drop(words)
    if describing := words[1:]:
        more = ", ..." if len(describing) > 8 else ""
        notes[f"columns of {path.name} that describe peaks, not cell types: {', '.join(describing[:8])}{more}"] = len(
            describing
        )
    if required and not numbers.width:
        raise DataError(
            f"{path}: has no column of heights: {', '.join(frame.columns[:8])} describe peaks; add a column a cell type"
        )
    names = without_files(numbers.columns)
    changed = sum(old != new for old, new in zip(numbers.columns, names, strict=True))
    if changed:
        notes[f"columns of {path.name} called by files, named without folder and ending"] = changed
    described = frame.select(words)
    table = NumberTable(
        _row_names(described),
        tuple(names),
        np.ascontiguousarray(numbers.to_numpy(), dtype=np.float32).reshape(len(frame), len(names)),
        path,
        first_line,
        described,
        notes,
    )
    _refuse_names(table)
    return table


def _row_names(described: pl.DataFrame) -> pl.Series:
    """The first column; where that is the chromosome, a column of names, or else the places."""
    headings = described.columns
    first = described.to_series(0)
    if column_of(CHROMOSOME, headings[:1]) is None or not has_places(headings):
        return first
    if (name := column_of(NAMES, headings)) is not None and described[name].n_unique() == len(described):
        return described[name]
    start, end = column_of(START, headings), column_of(END, headings)
    if start is None or end is None:
        return first
    return described.select(pl.format("{}:{}-{}", headings[0], start, end).alias("name")).to_series()


def read_pairs(path: Path) -> dict[str, str]:
    """A table of two columns, such as cell type and lineage, as a mapping; a header of any two words is skipped.

    Columns are separated by a tab or comma, else by white space. Raises DataError, naming the line, for rows of
    another length and keys that come twice.
    """
    pairs: dict[str, str] = {}
    for first, second, number in _two_columns(path, "cell type and lineage"):
        if first in pairs:
            raise DataError(f"{path}:{number}: {first!r} occurs a second time; give each one line")
        pairs[first] = second
    return pairs


class Link(NamedTuple):
    """A row of a table that maps names to names, and its line."""

    source: str
    target: str
    line: int


_LINK_HEADERS = (("source", "target"), ("network", "atlas"))


def read_links(path: Path) -> list[Link]:
    """A table of two columns, source and target, as its rows; either may come several times.

    A first row whose words begin with "source" and "target", or "network" and "atlas", is a header. Otherwise as
    `read_pairs`; a target must be given.
    """
    links = [Link(*row) for row in _two_columns(path, "source and target")]
    first = links[0]
    words = first.source.lower(), first.target.lower()
    if any(words[0].startswith(a) and words[1].startswith(b) for a, b in _LINK_HEADERS):
        links = links[1:]
    if empty := [link.line for link in links if not link.target]:
        raise DataError(f"{path}:{empty[0]}: the second field is empty; give source and target")
    if not links:
        raise DataError(f"{path}: holds a header and no row; give two columns, source and target")
    return links


def _two_columns(path: Path, columns: str) -> list[tuple[str, str, int]]:
    rows = []
    for number, line in enumerate(read_rows(path), 1):
        if not line.strip() or line.startswith("#"):
            continue
        separator = next((mark for mark in SEPARATORS if mark in line), None)
        words = [word.strip().strip('"') for word in line.split(separator)]
        if len(words) != 2 or not words[0]:
            raise DataError(
                f"{path}:{number}: holds {len(words)} fields ({line!r:.60}); give two, {columns}, separated by a "
                "tab or comma"
            )
        rows.append((words[0], words[1], number))
    if not rows:
        raise DataError(f"{path}: holds no pair; give two columns, {columns}")
    return rows


class _Head(NamedTuple):
    """The header of a table, its line, and the first row."""

    header: str
    line: int
    first: str


def _head(path: Path, notes: Counter[str]) -> _Head:
    """The header: the first line that is not a comment, or a comment that names the columns of a row below it."""
    comment, number, skipped = "", 0, 0
    lines = enumerate(read_rows(path), 1)
    for at, line in lines:
        if line.startswith("#"):
            comment, number, skipped = line, at, skipped + 1
        elif line.strip():
            if comment and _heads(comment, line, f"{path}:{at}"):
                head = _Head(comment.lstrip("# "), number, line)
                skipped -= 1
            else:
                head = _Head(line, at, next((row for _, row in lines if row.strip()), ""))
            break
    else:
        head = _Head(comment, 1, "")
    if skipped:
        notes[f"comment line in {path.name}, skipped"] = skipped
    return head


def _heads(comment: str, row: str, where: str) -> bool:
    separator = max(SEPARATORS, key=comment.count)
    words, fields = _fields(comment, separator, where), _fields(row, separator, where)
    return len(words) == len(fields) > 1 and any(map(is_number, fields[1:]))


def _delimited(path: Path, notes: Counter[str]) -> tuple[pl.DataFrame, int]:
    """Columns of text and of numbers, and the line of the first row."""
    head = _head(path, notes)
    where = f"{path}:{head.line}"
    separator = _separator(where, head.header)
    names, fields = _fields(head.header, separator, where), _fields(head.first, separator, where)
    names = [name.strip("'") for name in names]
    if not head.first.strip():
        raise DataError(f"{path}: holds a header and no row; the atlas would be empty")
    if len(fields) == len(names) + 1:
        names = ["", *names]  # R leaves out the name of the column of row names
    if len(names) < 2:
        raise DataError(f"{where}: names {len(names)} column; give a column of names and one a cell type")
    _refuse_columns(names, where)
    words = [names[0], *(name for name in names[1:] if describes_peaks(name))]
    _refuse_numbers([names[0], *(name for name in names[1:] if name not in words)], where)
    words[0] = names[0] = _free_name(names)
    skipped: Counter[str] = Counter()
    data = content(path, skipped=skipped)
    notes.update({f"{reason} in {path.name}, skipped": count for reason, count in skipped.items()})
    try:
        frame = _parsed(data, separator, names, words, head.line)
    except pl.exceptions.PolarsError as error:
        if culprit := _culprit(path, separator, names, names, head.line):
            raise DataError(culprit) from error
        try:
            texts = _parsed(data, separator, names, names, head.line)
        except pl.exceptions.PolarsError as again:
            raise DataError(f"{where}: the table cannot be read: {first_line(again)}") from again
        words += [name for name in names if name not in words and _in_words(texts[name])]
        if culprit := _culprit(path, separator, names, words, head.line):
            raise DataError(culprit) from error
        # also numbers with blanks around them, which the reader's own parser does not take
        numbers = [name for name in names if name not in words]
        frame = texts.with_columns(pl.col(numbers).str.strip_chars().cast(pl.Float32, strict=False))
    numbers = [name for name in names if name not in words]
    if len(frame) and numbers and frame[numbers].null_count().sum_horizontal().item():
        # the reader fills short rows with nulls, which are not missing values
        if short := _short_row(path, separator, len(names), head.line):
            raise DataError(short)
        frame = frame.with_columns(pl.col(numbers).fill_null(math.nan))
    return frame, head.line + 1


def _in_words(column: pl.Series) -> bool:
    """Whether a column holds words, none of which could be a number that is written in another way."""
    words = column.drop_nulls().str.strip_chars()
    words = words.filter(~words.is_in(sorted(MISSING)))
    return not words.str.contains(r"^[+-]?[.,]?[0-9]").any()


def _parsed(
    data: bytes,
    separator: str,
    names: Sequence[str],
    words: Sequence[str],
    header_line: int,
) -> pl.DataFrame:
    return pl.read_csv(
        BytesIO(data),
        separator=separator,
        has_header=False,
        skip_lines=header_line,
        schema={name: pl.String if name in words else pl.Float32 for name in names},
        null_values=sorted(MISSING - {""}),
    )


def _separator(where: str, header: str) -> str:
    if not header.strip():
        raise DataError(f"{where}: is empty, where the header should be; give a column of names and one a cell type")
    counts = {mark: header.count(mark) for mark in SEPARATORS}
    separator = max(counts, key=lambda mark: counts[mark])
    if not counts[separator]:
        raise DataError(
            f"{where}: the header {header!r:.60} holds no tab, comma or semicolon, so the table has one column; "
            "separate the columns with one of these"
        )
    return separator


def _refuse_numbers(names: Sequence[str], where: str) -> None:
    """A table without a header would lose its first peak; whole numbers may be the names of clusters."""
    if names[1:] and all(is_number(name) for name in names[1:]) and not all(name.isdecimal() for name in names[1:]):
        raise DataError(
            f"{where}: reads as a row of heights ({', '.join(names[:3])}, ...), and the first line names the "
            "columns; give the table a header with the cell types"
        )


def _fields(line: str, separator: str, where: str) -> list[str]:
    try:
        return [word.strip() for word in next(csv.reader([line], delimiter=separator), [])]
    except csv.Error as error:
        raise DataError(
            f"{where}: {line[:40]!r}... is not a row of a table ({error}); separate its fields with commas, semicolons "
            "or tabs, and close each double quote"
        ) from error


def _free_name(names: Sequence[str]) -> str:
    name = names[0] or "name"
    while name in names[1:]:
        name += "_"
    return name


def _refuse_columns(names: Sequence[str], where: str) -> None:
    for number, name in enumerate(names[1:], 2):
        if not name:
            raise DataError(f"{where}: column {number} has no name; name each after its cell type")
    if twice := [name for name, count in Counter(names[1:]).items() if count > 1]:
        raise DataError(f"{where}: two columns are named {twice[0]!r}; give each cell type its own name")


def _refuse_names(table: NumberTable) -> None:
    if not len(table.rows):
        raise DataError(f"{table.path}: holds no row; the atlas would be empty")
    empty = table.rows.is_null() | table.rows.fill_null("").str.strip_chars().eq("")
    if empty.any():
        raise DataError(f"{table.where(empty.arg_max() or 0)}: the row has no name in the first column")
    if table.rows.is_duplicated().any():
        name = table.rows.filter(table.rows.is_duplicated())[0]
        first, second = (table.rows == name).arg_true()[:2]
        raise DataError(
            f"{table.where(second)}: row {name!r} is at {table.where(first)} already; give each peak one row"
        )


def _culprit(path: Path, separator: str, names: list[str], words: list[str], header_line: int) -> str | None:
    """An error message for the first line that is not a name and one number per column."""
    for number, line in enumerate(read_rows(path), 1):
        if number <= header_line or not line.strip():
            continue
        fields = _fields(line, separator, f"{path}:{number}")
        if len(fields) != len(names):
            return _another_length(path, number, len(fields), len(names))
        for name, word in zip(names, fields, strict=True):
            if name in words:
                continue
            try:
                float(word if word.strip() not in MISSING else 0)
            except ValueError:
                return f"{path}:{number}: column {name!r} holds {word!r:.40}, which is not a number"
    return None


def _short_row(path: Path, separator: str, fields: int, header_line: int) -> str | None:
    for number, line in enumerate(read_rows(path), 1):
        count = line.count(separator) + 1
        if (
            number > header_line
            and line.strip()
            and count != fields
            and len(_fields(line, separator, f"{path}:{number}")) != fields
        ):
            return _another_length(path, number, count, fields)
    return None


def _another_length(path: Path, number: int, fields: int, columns: int) -> str:
    return f"{path}:{number}: holds {fields} fields; the header names {columns} columns"


def _parquet(path: Path) -> pl.DataFrame:
    refuse_odd_file(path)
    require_utf_8_name(path)
    try:
        with reraised(lambda why: DataError(f"{path}: cannot be read as Parquet: {why}")):
            frame = pl.read_parquet(path, glob=False)
    except OSError as error:
        raise DataError(f"{path}: cannot be read as Parquet: {first_line(error)}") from error
    if frame.width < 2 or frame.dtypes[0] != pl.String:
        raise DataError(f"{path}: has the columns {dict(frame.schema)}; give a column of names, then one a cell type")
    words = [frame.columns[0]]
    for name, kind in list(frame.schema.items())[1:]:
        if describes_peaks(name) or (kind == pl.String and _in_words(frame[name])):
            words.append(name)
        elif not kind.is_numeric():
            raise DataError(f"{path}: column {name!r} holds {kind}; heights are numbers")
    numbers = [name for name in frame.columns if name not in words]
    return frame.with_columns(pl.col(words).cast(pl.String), pl.col(numbers).cast(pl.Float32).fill_null(math.nan))
