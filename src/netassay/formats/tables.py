"""Tables of numbers with named rows and columns: CSV, TSV and Parquet."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float32

from netassay.errors import DataError
from netassay.formats.text import blocks, read_lines

SEPARATORS = ("\t", ",", ";")
MISSING = {"", "NA", "NaN", "nan", "null", "None", "."}
"""What stands for a value that is not there."""


@dataclass(frozen=True, eq=False)
class NumberTable:
    """`values` (rows, columns) in float32, the names of both, and where each row stands ("file:line")."""

    rows: pl.Series
    columns: tuple[str, ...]
    values: Float32[np.ndarray, "n columns"]
    path: Path
    first_line: int | None

    def where(self, row: int) -> str:
        """The place of a row, for messages."""
        if self.first_line is None:
            return f"{self.path}: row {row + 1}"
        return f"{self.path}:{self.first_line + row}"


def read_numbers(path: Path) -> NumberTable:
    """A table whose first column names the rows and whose header names the columns, plain, gzip or Parquet.

    The separator (tab, comma or semicolon) is told by the header; a header with one name less than the rows have
    fields, as R writes it, names all columns but the first. Missing values and "NA" are NaN. Raises DataError,
    naming line and column, for a table without columns of numbers, values that are no numbers, rows of another
    length, and names that come twice or are empty.
    """
    if path.name.lower().endswith(".parquet"):
        frame, first_line = _parquet(path), None
    else:
        frame, first_line = _delimited(path)
    rows = frame.to_series(0)
    table = NumberTable(
        rows,
        tuple(frame.columns[1:]),
        np.ascontiguousarray(frame[:, 1:].to_numpy(), dtype=np.float32),
        path,
        first_line,
    )
    _refuse_names(table)
    return table


def read_pairs(path: Path) -> dict[str, str]:
    """A table of two columns, such as cell type and lineage, as a mapping; a header of any two words is skipped.

    Columns are parted by a tab or comma, else by white space. Raises DataError, naming the line, for rows of
    another length and keys that come twice.
    """
    pairs: dict[str, str] = {}
    for first, second, number in _two_columns(path, "cell type and lineage"):
        if first in pairs:
            raise DataError(f"{path}:{number}: {first!r} is there a second time; give each one line")
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


def _two_columns(path: Path, what: str) -> list[tuple[str, str, int]]:
    rows = []
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip() or line.startswith("#"):
            continue
        separator = next((mark for mark in SEPARATORS if mark in line), None)
        words = [word.strip().strip('"') for word in line.split(separator)]
        if len(words) != 2 or not words[0]:
            raise DataError(
                f"{path}:{number}: holds {len(words)} fields ({line!r:.60}); give two, {what}, parted by a tab or comma"
            )
        rows.append((words[0], words[1], number))
    if not rows:
        raise DataError(f"{path}: holds no pair; give two columns, {what}")
    return rows


def _delimited(path: Path) -> tuple[pl.DataFrame, int]:
    lines = read_lines(path)
    header, first = next(lines, ""), next(lines, "")
    lines.close()  # type: ignore[attr-defined]
    separator = _separator(path, header)
    names, fields = _fields(header, separator, f"{path}:1"), _fields(first, separator, f"{path}:2")
    if not first.strip():
        raise DataError(f"{path}: holds a header and no row; the atlas would be empty")
    if len(fields) == len(names) + 1:
        names = ["", *names]  # R leaves out the name of the column of row names
    if len(names) < 2:
        raise DataError(f"{path}:1: names {len(names)} column; give a column of names and one a cell type")
    _refuse_columns(names, f"{path}:1")
    _refuse_numbers(names, f"{path}:1")
    names[0] = _free_name(names)
    content = b"".join(blocks(path)).rstrip()
    try:
        frame = _parsed(content, separator, names, pl.Float32)
    except pl.exceptions.PolarsError as error:
        if found := _culprit(path, separator, names):
            raise DataError(found) from error
        # numbers with blanks around them, which the reader's own parser does not take
        words = _parsed(content, separator, names, pl.String)
        frame = words.with_columns(pl.col(names[1:]).str.strip_chars().cast(pl.Float32, strict=False))
    if len(frame) and (frame[:, 1:].null_count().sum_horizontal().item()):
        # short rows are filled with nulls by the reader, and are no missing values
        if short := _short_row(path, separator, len(names)):
            raise DataError(short)
        frame = frame.with_columns(pl.col(names[1:]).fill_null(math.nan))
    return frame, 2


def _parsed(content: bytes, separator: str, names: Sequence[str], kind: type[pl.DataType]) -> pl.DataFrame:
    return pl.read_csv(
        BytesIO(content),
        separator=separator,
        has_header=False,
        skip_lines=1,
        schema={names[0]: pl.String, **dict.fromkeys(names[1:], kind)},
        null_values=sorted(MISSING - {""}),
    )


def _separator(path: Path, header: str) -> str:
    if not header.strip():
        raise DataError(
            f"{path}:1: is empty, where the header should be; give a column of names and one a cell type"
        )
    counts = {mark: header.count(mark) for mark in SEPARATORS}
    separator = max(counts, key=lambda mark: counts[mark])
    if not counts[separator]:
        raise DataError(
            f"{path}:1: the header {header!r:.60} holds no tab, comma or semicolon, so the table has one column; part "
            "the columns with one of these"
        )
    return separator


def _refuse_numbers(names: Sequence[str], where: str) -> None:
    """A table without a header would lose its first peak; whole numbers may be the names of clusters."""
    if all(_is_number(name) for name in names[1:]) and not all(name.isdecimal() for name in names[1:]):
        raise DataError(
            f"{where}: reads as a row of heights ({', '.join(names[:3])}, ...), and the first line names the "
            "columns; give the table a header with the cell types"
        )


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _fields(line: str, separator: str, where: str) -> list[str]:
    try:
        return [word.strip() for word in next(csv.reader([line], delimiter=separator), [])]
    except csv.Error as error:
        raise DataError(
            f"{where}: {line[:40]!r}... is no row of a table ({error}); part its fields with commas, semicolons or "
            "tabs, and close each double quote"
        ) from error


def _free_name(names: Sequence[str]) -> str:
    name = names[0] or "name"
    while name in names[1:]:
        name += "_"
    return name


def _refuse_columns(names: Sequence[str], where: str) -> None:
    for place, name in enumerate(names[1:], 2):
        if not name:
            raise DataError(f"{where}: column {place} has no name; name each after its cell type")
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
            f"{table.where(second)}: row {name!r} stands at {table.where(first)} already; give each peak one row"
        )


def _culprit(path: Path, separator: str, names: list[str]) -> str | None:
    """The first line that is not a name and as many numbers as there are columns, in words."""
    for number, line in enumerate(read_lines(path), 1):
        if number == 1 or not line.strip():
            continue
        fields = _fields(line, separator, f"{path}:{number}")
        if len(fields) != len(names):
            return _another_length(path, number, len(fields), len(names))
        for name, word in zip(names[1:], fields[1:], strict=True):
            try:
                float(word if word.strip() not in MISSING else 0)
            except ValueError:
                return f"{path}:{number}: column {name!r} holds {word!r:.40}, which is no number"
    return None


def _short_row(path: Path, separator: str, fields: int) -> str | None:
    for number, line in enumerate(read_lines(path), 1):
        found = line.count(separator) + 1
        where = f"{path}:{number}"
        if number > 1 and line.strip() and found != fields and len(_fields(line, separator, where)) != fields:
            return _another_length(path, number, found, fields)
    return None


def _another_length(path: Path, number: int, found: int, wanted: int) -> str:
    return f"{path}:{number}: holds {found} fields; the header names {wanted} columns"


def _parquet(path: Path) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(path, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {_first_line(error)}") from error
    if frame.width < 2 or frame.dtypes[0] != pl.String:
        raise DataError(
            f"{path}: has the columns {dict(frame.schema)}; give a column of names, then one a cell type"
        )
    for name, kind in list(frame.schema.items())[1:]:
        if not kind.is_numeric():
            raise DataError(f"{path}: column {name!r} holds {kind}; heights are numbers")
    numbers = pl.col(frame.columns[1:]).cast(pl.Float32).fill_null(math.nan)
    return frame.with_columns(numbers)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
