"""Documents of one named column: JSON lines and Parquet."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from netassay.errors import DataError
from netassay.formats.text import read_lines

ROWS_AT_ONCE = 8_192


def read_json_lines(path: Path, column: str, *, skipped: Counter[str] | None = None) -> Iterator[str]:
    """Texts under the key `column` of a file of one JSON object a line, plain or gzip.

    Blank lines, nulls and texts of nothing but white space are left out and counted in `skipped`. Raises
    DataError, naming the line, for what is no JSON object, has no such key, or holds no text there.
    """
    skipped = Counter() if skipped is None else skipped
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            skipped["blank line"] += 1
            continue
        yield from _kept(_value(line, column, f"{path}:{number}"), column, f"{path}:{number}", skipped)


def read_parquet(path: Path, column: str, *, skipped: Counter[str] | None = None) -> Iterator[str]:
    """Texts of the string column `column` of a Parquet file, a batch of rows in memory at a time.

    Nulls and texts of nothing but white space are left out and counted in `skipped`. Raises DataError for a
    file that is not Parquet, a missing column, or one that holds no text.
    """
    import polars as pl

    skipped = Counter() if skipped is None else skipped
    try:
        frame = pl.scan_parquet(path, glob=False)
        kinds = frame.collect_schema()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {_first_line(error)}") from error
    if column not in kinds:
        raise DataError(f"{path}: {_missing(column, list(kinds))}")
    if kinds[column] not in (pl.String, pl.Categorical, pl.Enum):
        raise DataError(f"{path}: column {column!r} holds {kinds[column]}; documents are text (String)")
    rows = 0
    try:
        for batch in frame.select(pl.col(column).cast(pl.String)).collect_batches(chunk_size=ROWS_AT_ONCE):
            for row, value in enumerate(batch[column], rows + 1):
                yield from _kept(value, column, f"{path}: row {row}", skipped)
            rows += len(batch)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path}: damaged after row {rows}: {_first_line(error)}") from error


def _value(line: str, column: str, where: str) -> Any:
    try:
        held = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: is no JSON ({error}); give one JSON object a line") from error
    if not isinstance(held, dict):
        raise DataError(f"{where}: holds a JSON {type(held).__name__}; give one JSON object a line")
    if column not in held:
        raise DataError(f"{where}: {_missing(column, list(held))}")
    return held[column]


def _kept(value: Any, column: str, where: str, skipped: Counter[str]) -> Iterator[str]:
    if value is None:
        skipped[f"{column} is null"] += 1
    elif not isinstance(value, str):
        raise DataError(f"{where}: {column!r} holds {type(value).__name__} {value!r:.40}; documents are text")
    elif not value.strip():
        skipped[f"blank {column}"] += 1
    else:
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{where}: {column!r} holds half a surrogate pair at character {error.start}, which is no text; "
                "repair or leave out the row"
            ) from error
        yield value


def _missing(column: str, known: list[str]) -> str:
    close = get_close_matches(column, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"there is no column {column!r}; {hint}known: {', '.join(map(repr, known[:20])) or 'none'}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
