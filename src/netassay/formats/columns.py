"""Documents of one named column: JSON lines, Parquet and Arrow."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from netassay.errors import DataError
from netassay.formats.documents import Documents
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


def read_table(path: Path, column: str, *, skipped: Counter[str] | None = None) -> Iterator[str]:
    """Texts of the string column `column` of a Parquet or Arrow file, a batch of rows in memory at a time.

    Nulls and texts of nothing but white space are left out and counted in `skipped`. Raises DataError for a
    file that is neither, a missing column, or one that holds no text.
    """
    import polars as pl

    skipped = Counter() if skipped is None else skipped
    frame, kind = _scanned(path, column)
    if kind not in (pl.String, pl.Categorical, pl.Enum):
        raise DataError(
            f"{path}: column {column!r} holds {kind}; documents are text (String) or token ids (a list of integers)"
        )
    for first, batch in _batches(path, frame.select(pl.col(column).cast(pl.String))):
        for row, value in enumerate(batch[column], first):
            yield from _kept(value, column, f"{path}: row {row}", skipped)


def holds_token_ids(path: Path, column: str) -> bool:
    """Whether a column of a Parquet or Arrow file holds lists of integers; DataError as `read_table`."""
    import polars as pl

    _, kind = _scanned(path, column)
    return isinstance(kind, pl.List | pl.Array) and kind.inner is not None and kind.inner.is_integer()


def read_token_column(
    path: Path, column: str, *, limit: int | None = None, skipped: Counter[str] | None = None
) -> Iterator[Documents]:
    """Documents of a column of lists of token ids, the first `limit` of each, a batch of rows at a time.

    Nulls are left out and counted in `skipped`. Raises DataError for a damaged file, and for a null among ids.
    """
    import polars as pl

    skipped = Counter() if skipped is None else skipped
    frame, kind = _scanned(path, column)
    ids = pl.col(column) if isinstance(kind, pl.List) else pl.col(column).arr.to_list()
    ids = ids if limit is None else ids.list.head(limit)
    for first, batch in _batches(path, frame.select(ids.alias(column))):
        rows = batch[column].drop_nulls()
        skipped[f"{column} is null"] += len(batch) - len(rows)
        lengths = rows.list.len().to_numpy().astype(np.int64)
        flat = rows.filter(lengths > 0).explode()
        if flat.null_count():
            raise DataError(
                f"{path}: rows {first} to {first + len(batch) - 1}: a list of {column!r} holds a null"
            )
        yield Documents(flat.to_numpy(), np.concatenate([[0], np.cumsum(lengths)]))
    skipped += Counter()


def _scanned(path: Path, column: str) -> tuple[Any, Any]:
    """The lazy frame of a Parquet or Arrow file and the type of one of its columns."""
    import polars as pl

    parquet = path.suffix.lower() == ".parquet"
    try:
        frame = pl.scan_parquet(path, glob=False) if parquet else pl.scan_ipc(path)
        kinds = frame.collect_schema()
    except (OSError, pl.exceptions.PolarsError) as error:
        form = "Parquet" if parquet else "an Arrow file (the stream form is not read: write it as a file)"
        raise DataError(f"{path}: cannot be read as {form}: {_first_line(error)}") from error
    if column not in kinds:
        raise DataError(f"{path}: {_missing(column, list(kinds))}")
    return frame, kinds[column]


def _batches(path: Path, frame: Any) -> Iterator[tuple[int, Any]]:
    """Batches of rows, each with the number of its first row, from 1."""
    import polars as pl

    rows = 0
    try:
        for batch in frame.collect_batches(chunk_size=ROWS_AT_ONCE, maintain_order=True):
            yield rows + 1, batch
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
