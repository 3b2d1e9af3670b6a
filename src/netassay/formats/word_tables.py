"""Tables with a header, read as words: metadata of cells, labels of sequences."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from netassay.errors import DataError, did_you_mean
from netassay.formats.rows import content

SEPARATORS = "\t,;"


def read_word_table(path: Path) -> pl.DataFrame:
    """A table with a header, separated by tabs, commas or semicolons, every value as text; the first column names rows.

    A header with one name less than the rows, as R writes it, names all columns but the first. Raises DataError for a
    table of one column, rows of another length, and names of columns that come twice.
    """
    text = content(path)
    lines = text.split(b"\n", 2)
    header = lines[0].decode("utf-8", "replace").lstrip("\ufeff#").strip(" ")
    separator = max(SEPARATORS, key=header.count)
    names = [word.strip().strip('"') for word in header.split(separator)]
    fields = lines[1].count(separator.encode()) + 1 if len(lines) > 1 else 0
    if fields == len(names) + 1:
        names = ["", *names]
    if fields < 2 or len(names) < 2:
        raise DataError(
            f"{path}: holds no table of two columns or more; give a header and rows, separated by tabs or commas"
        )
    if len({*names}) < len(names):
        raise DataError(f"{path}:1: names a column twice: {', '.join(names[:8])}")
    try:
        return pl.read_csv(
            text, separator=separator, has_header=False, skip_lines=1, schema=dict.fromkeys(names, pl.String)
        )
    except pl.exceptions.PolarsError as error:
        reason = (str(error).splitlines() or ["not a table"])[0]
        raise DataError(f"{path}: the table cannot be read: {reason}") from error


def read_words(path: Path, column: str) -> tuple[list[str], list[str | None]]:
    """The first column of a table and the column of that name; DataError where there is none."""
    frame = read_word_table(path)
    if column not in frame.columns[1:]:
        raise DataError(f"{path}: has no column {column!r}; {did_you_mean(column, frame.columns[1:])}")
    return [word or "" for word in frame.to_series(0)], frame[column].to_list()
