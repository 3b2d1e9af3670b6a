"""Documents of one named column: JSON lines, JSON, CSV, Parquet and Arrow."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np

from netassay.errors import DataError, first_line, reraised
from netassay.formats.documents import Documents
from netassay.formats.text import ARROW, ARROW_STREAM, PARQUET, first_bytes, is_json, read_lines, signature_of
from netassay.inputs import require_utf_8_name

ROWS_AT_ONCE = 8_192
IDS_AT_ONCE = 1 << 17
MOST_LETTERS = 1 << 30


def read_json_lines(path: Path, column: str, *, skipped: Counter[str] | None = None) -> Iterator[str]:
    """Texts under the key `column` of a file of one JSON object a line, plain or packed.

    "a.b" is the key b of the object under a, unless there is a key "a.b". Blank lines, nulls and texts of nothing but
    white space are left out and counted in `skipped`. Raises DataError, naming the line, for what is not a JSON
    object, lacks the key, or holds no text under it.
    """
    skipped = Counter() if skipped is None else skipped
    for where, value in _values(path, column, skipped):
        yield from _text_of(value, column, where, skipped)


def _values(path: Path, column: str, skipped: Counter[str]) -> Iterator[tuple[str, Any]]:
    """The place of each line of JSON lines, and what it holds under a key; None under a null."""
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            skipped["blank line"] += 1
            continue
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: is not JSON ({error}); give one JSON object a line") from error
        yield where, _value(row, column, where, "give one JSON object a line")


def read_json(path: Path, column: str, *, skipped: Counter[str] | None = None) -> Iterator[str]:
    """Texts under the key `column` of a .json file, which is one array of objects, or JSON lines as C4's shards.

    An array is read into memory whole. Otherwise as `read_json_lines`.
    """
    skipped = Counter() if skipped is None else skipped
    first = next((line.strip() for line in read_lines(path) if line.strip()), "")
    if first.startswith("{") and is_json(first):
        yield from read_json_lines(path, column, skipped=skipped)
        return
    if not first:
        return
    advice = f"a corpus is an array of objects with a key {column!r} each, or one such object a line"
    try:
        value = json.loads("\n".join(read_lines(path)))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: is not JSON ({error.msg}, column {error.colno}); {advice}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not JSON ({error}); {advice}") from error
    if not isinstance(value, list):
        keys = f" with the keys {', '.join(map(repr, list(value)[:8]))}" if isinstance(value, dict) else ""
        raise DataError(
            f"{path}: is one JSON {_kind(value)}{keys}; {advice} (jq -c '.KEY[]' FILE > NEW.jsonl takes an array out)"
        )
    for number, row in enumerate(value):
        where = f"{path}: element {number} (from 0)"
        yield from _text_of(_value(row, column, where, advice), column, where, skipped)


def read_delimited(path: Path, column: str, *, skipped: Counter[str] | None = None) -> Iterator[str]:
    """Texts of the column `column` of a table with a header, fields separated by commas, semicolons or tabs.

    The header decides which. Fields in double quotes may hold separators and line ends, of any length. Empty fields and
    texts of nothing but white space are left out and counted in `skipped`. Raises DataError, naming the line, for a
    missing column, a row with more or fewer fields than the header, and quotes that do not close.
    """
    skipped = Counter() if skipped is None else skipped
    lines = read_lines(path)
    first = next(lines, "")
    if not first.strip():
        if next(lines, None) is None:
            return
        raise DataError(f"{path}:1: is blank, but should name the columns; give the table a header")
    separator = max(",;\t", key=first.count)
    rows = csv.reader((f"{line}\n" for line in chain([first], lines)), delimiter=separator, strict=True)
    header = [name.strip() for name in _row(rows, path) or []]
    if header.count(column) != 1:
        where = f"{path}:1"
        if column in header:
            raise DataError(f"{where}: {header.count(column)} columns are named {column!r}; give each its own name")
        raise DataError(f"{where}: {_missing(column, header)}; the first line must name the columns")
    index, line = header.index(column), rows.line_num + 1
    while (row := _row(rows, path)) is not None:
        if not row:
            skipped["blank line"] += 1
        elif len(row) != len(header):
            raise DataError(
                f"{path}:{line}: holds {len(row)} fields, the header names {len(header)}; put a field that holds "
                f"{separator!r} into double quotes"
            )
        else:
            yield from _text_of(row[index], column, f"{path}:{line}", skipped)
        line = rows.line_num + 1


def read_table(path: Path, column: str, *, skipped: Counter[str] | None = None) -> Iterator[str]:
    """Texts of the string column `column` of a Parquet or Arrow file, a batch of rows in memory at a time.

    "a.b" is the field b of a column a of structs, unless there is a column "a.b". Of Arrow both forms are read, a
    file and a stream, the latter into memory whole. Nulls and texts of nothing but white space are left out and
    counted in `skipped`. Raises DataError for a file that is none of these, a missing column, or one that holds no
    text.
    """
    import polars as pl

    skipped = Counter() if skipped is None else skipped
    frame, kind = _scanned(path, column)
    if kind not in (pl.String, pl.Categorical, pl.Enum):
        raise DataError(
            f"{path}: column {column!r} holds {kind}; documents are text (String) or token ids (a list of integers)"
            f"{_inner(kind, column)}"
        )
    for first, batch in _batches(path, frame.select(pl.col(column).cast(pl.String))):
        for row, value in enumerate(batch[column], first):
            yield from _text_of(value, column, f"{path}: row {row}", skipped)


def token_kind(path: Path, column: str) -> str:
    """The integer type of a column of lists in a Parquet or Arrow file, such as Int32; "" if it holds no such lists.

    DataError as `read_table`.
    """
    import polars as pl

    _, kind = _scanned(path, column)
    is_list = isinstance(kind, pl.List | pl.Array) and kind.inner is not None and kind.inner.is_integer()
    return str(kind.inner) if is_list else ""


def read_token_lines(
    path: Path,
    column: str,
    *,
    limit: int | None = None,
    ignore: int | None = None,
    skipped: Counter[str] | None = None,
) -> Iterator[Documents]:
    """Documents of lists of token ids under the key `column` of JSON lines, as `read_token_column`."""
    skipped = Counter() if skipped is None else skipped
    batch: list[list[int]] = []
    for where, value in _values(path, column, skipped):
        if value is None:
            skipped[f"{column} is null"] += 1
            continue
        if not isinstance(value, list) or not all(type(token) is int for token in value):
            raise DataError(f"{where}: {column!r} holds {value!r:.40}; the lines before hold lists of token ids")
        lowest = min((token for token in value[:limit] if token != ignore), default=0)
        if lowest < 0 or max(value[:limit], default=0) >= 1 << 63:
            raise DataError(
                f"{where}: {column!r} holds {lowest if lowest < 0 else max(value)}, which is not a token; take padding "
                "and ignored places (-100) out of the lists, or say which id to ignore"
            )
        batch.append(value[:limit])
        if len(batch) == ROWS_AT_ONCE:
            yield Documents.of(batch)
            batch = []
    if batch:
        yield Documents.of(batch)


def lines_hold_token_ids(path: Path, column: str) -> bool:
    """Whether the first value of a key of JSON lines is a list of integers; DataError as `read_json_lines`."""
    first = next((value for _, value in _values(path, column, Counter()) if value is not None), None)
    return isinstance(first, list) and all(type(token) is int for token in first)


def read_token_column(
    path: Path,
    column: str,
    *,
    limit: int | None = None,
    ignore: int | None = None,
    skipped: Counter[str] | None = None,
) -> Iterator[Documents]:
    """Documents of a column of lists of token ids, the first `limit` of each, a batch of rows at a time.

    Nulls are left out and counted in `skipped`. Raises DataError for a damaged file, and, naming the row, for a null or
    a negative number other than `ignore` among the ids that are read.
    """
    import polars as pl

    skipped = Counter() if skipped is None else skipped
    frame, kind = _scanned(path, column)
    ids = pl.col(column) if isinstance(kind, pl.List) else pl.col(column).arr.to_list()
    ids = ids if limit is None else ids.list.head(limit)
    ids = ids.alias(column)
    for first, batch in _batches(path, frame.select(ids), _lists_by_arrow(path, column, ids)):
        rows = batch[column]
        if rows.null_count():
            rows = rows.filter(rows.is_not_null())
            skipped[f"{column} is null"] += len(batch) - len(rows)
        lengths = rows.list.len().to_numpy().astype(np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        flat = (rows if lengths.all() else rows.filter(lengths > 0)).explode()
        if flat.null_count() or (flat.dtype.is_signed_integer() and len(flat) and flat.min() < 0):
            _refuse_odd(path, column, first, batch, flat, offsets, ignore)
        yield Documents(flat.to_numpy(), offsets)
    skipped += Counter()


def _refuse_odd(
    path: Path, column: str, first: int, batch: Any, flat: Any, offsets: np.ndarray, ignore: int | None
) -> None:
    """DataError for a null or a negative number among token ids, other than one to ignore, naming its row."""
    negative = flat < 0 if ignore is None else (flat < 0) & (flat != ignore)
    for odd, problem in ((flat.is_null(), "a null"), (negative, "a negative number")):
        if (position := odd.arg_max()) is not None and odd[position]:
            document = int(np.searchsorted(offsets, position, "right")) - 1
            row = first + int(np.flatnonzero(batch[column].is_not_null().to_numpy())[document])
            number = "" if flat[position] is None else f" ({flat[position]})"
            raise DataError(
                f"{path}: row {row}: {column!r} holds {problem}{number} as element {position - offsets[document]} "
                "(from 0), which is not a token; take padding and ignored places (-100) out of the lists, or say "
                "which id to ignore"
            )


def _scanned(path: Path, column: str) -> tuple[Any, Any]:
    """A lazy frame that has `column`, and the type of that column."""
    import polars as pl

    head = first_bytes(path)
    parquet = head.startswith(PARQUET) or not (head[:8].startswith((ARROW, ARROW_STREAM)) or _named_arrow(path))
    form = "Parquet" if parquet else "Arrow"
    require_utf_8_name(path)
    try:
        if parquet:
            frame = pl.scan_parquet(path, glob=False)
        elif head.startswith(ARROW_STREAM):
            frame = _stream(path)
        else:
            frame = pl.scan_ipc(path, glob=False)
        kinds = dict(frame.collect_schema())
    except (OSError, pl.exceptions.PolarsError) as error:
        signature = signature_of(head)
        hint = f" (its first bytes are those of {signature.name})" if signature and signature.name not in form else ""
        raise DataError(f"{path}: cannot be read as {form}{hint}: {first_line(error)}") from error
    if column in kinds:
        return frame, kinds[column]
    name, *path_in = column.split(".")
    expression: Any = pl.col(name)
    kind: Any = kinds.get(name)
    for step in path_in:
        fields = {field.name: field.dtype for field in kind.fields} if isinstance(kind, pl.Struct) else {}
        expression, kind = expression.struct.field(step), fields.get(step)
    if kind is None:
        raise DataError(f"{path}: {_missing(column, _all_names(kinds))}")
    return frame.select(expression.alias(column)), kind


def _stream(path: Path) -> Any:
    """A lazy frame of an Arrow stream, batch by batch with pyarrow, otherwise in memory whole."""
    import polars as pl

    try:
        import pyarrow as pa
    except ImportError:
        return pl.read_ipc_stream(path).lazy()
    from polars.io.plugins import register_io_source

    def refusal(why: str) -> DataError:
        return DataError(f"{path}: cannot be read as Arrow: {why}")

    def batches(columns: Any, predicate: Any, rows: int | None, size: int | None) -> Iterator[Any]:
        with reraised(refusal), pa.memory_map(str(path)) as file:
            for batch in pa.ipc.open_stream(file):
                batch.validate(full=True)  # offsets beyond the data would be followed otherwise
                frame: Any = pl.from_arrow(batch)
                frame = frame if columns is None else frame.select(columns)
                frame = frame if predicate is None else frame.filter(predicate)
                yield frame if rows is None else frame.head(rows)
                rows = None if rows is None else max(rows - len(frame), 0)

    with reraised(refusal), pa.memory_map(str(path)) as file:
        empty: Any = pl.from_arrow(pa.ipc.open_stream(file).schema.empty_table())
    return register_io_source(batches, schema=empty.schema)


def _named_arrow(path: Path) -> bool:
    return path.suffix.lower() in (".arrow", ".feather", ".ipc")


def _all_names(kinds: Mapping[str, Any], before: str = "") -> list[str]:
    """Names of columns and, with dots, of the fields in structs."""
    import polars as pl

    names = []
    for name, kind in kinds.items():
        inner = {field.name: field.dtype for field in kind.fields} if isinstance(kind, pl.Struct) else {}
        names += _all_names(inner, f"{before}{name}.") if inner else [before + name]
    return names


def _inner(kind: Any, column: str) -> str:
    names = _all_names({column: kind})
    return "" if names == [column] else f"; its fields are {', '.join(map(repr, names[:20]))}"


def _lists_by_arrow(path: Path, column: str, ids: Any) -> Iterator[Any] | None:
    """Batches of a column of lists of a Parquet file, which pyarrow reads in half the time; None without it."""
    try:
        import pyarrow.parquet as pq
    except ImportError:
        return None
    import polars as pl

    size = 0
    # what it cannot open is left to polars, and so is the message
    with suppress(Exception):
        # with pre_buffer all of the file would wait in memory
        file = pq.ParquetFile(path, buffer_size=IDS_AT_ONCE, pre_buffer=False)
        leaf = [file.schema.column(i).path.partition(".")[0] for i in range(len(file.schema))].index(column)
        groups = (file.metadata.row_group(i) for i in range(file.num_row_groups))
        size = sum(group.column(leaf).num_values for group in groups)
    if not size:
        return None
    rows = min(max(IDS_AT_ONCE * file.metadata.num_rows // size, 1), IDS_AT_ONCE)
    batches = file.iter_batches(rows, columns=[column], use_threads=False)
    return _ahead(cast(pl.DataFrame, pl.from_arrow(batch)).select(ids) for batch in batches)


def _ahead(items: Iterator[Any]) -> Iterator[Any]:
    """The items, each made in a thread while the one before is used."""
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(next, items, None)
        while (item := future.result()) is not None:
            future = thread.submit(next, items, None)
            yield item


def _batches(path: Path, frame: Any, batches: Iterator[Any] | None = None) -> Iterator[tuple[int, Any]]:
    """Batches of rows, each with the number of its first row, from 1."""
    import polars as pl

    rows = 0
    try:
        for batch in batches or frame.collect_batches(chunk_size=ROWS_AT_ONCE, maintain_order=True):
            yield rows + 1, batch
            rows += len(batch)
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:  # pyarrow's are of these kinds
        raise DataError(f"{path}: damaged after row {rows}: {first_line(error)}") from error


def _row(rows: Any, path: Path) -> list[str] | None:
    """The next row of a table, None after the last."""
    # the library limits the length of a field for the whole process: lifted for this row alone
    before = csv.field_size_limit(MOST_LETTERS)
    try:
        return next(rows, None)
    except csv.Error as error:
        raise DataError(
            f"{path}:{rows.line_num}: is not a row of the table ({error}); put a field that contains a "
            "double quote into double quotes, and double the quote in it"
        ) from error
    finally:
        csv.field_size_limit(before)


def _value(row: Any, column: str, where: str, advice: str) -> Any:
    """What a row of JSON holds under a key, or under a path of keys separated by dots; None under a null."""
    if not isinstance(row, dict):
        raise DataError(f"{where}: holds a JSON {_kind(row)}; {advice}")
    if column in row:
        return row[column]
    value: Any = row
    for key in column.split("."):
        if value is None:
            return None
        if not isinstance(value, dict) or key not in value:
            raise DataError(f"{where}: {_missing(column, _all_keys(row))}")
        value = value[key]
    return value


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "object"
    return "list" if isinstance(value, list) else "text" if isinstance(value, str) else f"value {value!r:.40}"


def _all_keys(row: Mapping[str, Any], before: str = "") -> list[str]:
    keys = []
    for key, value in row.items():
        keys += _all_keys(value, f"{before}{key}.") if isinstance(value, dict) and value else [before + key]
    return keys


def _text_of(value: Any, column: str, where: str, skipped: Counter[str]) -> Iterator[str]:
    if value is None:
        skipped[f"{column} is null"] += 1
    elif not isinstance(value, str):
        inner = ""
        if isinstance(value, dict):
            inner = f"; its keys are {', '.join(map(repr, _all_keys(value, f'{column}.')[:20]))}"
        elif isinstance(value, list):
            inner = "; lists of token ids are read from JSON lines, Parquet, Arrow and .npy"
        raise DataError(f"{where}: {column!r} holds {type(value).__name__} {value!r:.40}; documents are text{inner}")
    elif not value.strip():
        skipped[f"blank {column}"] += 1
    else:
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{where}: {column!r} holds half a surrogate pair at character {error.start}, which is not a text; "
                "repair or leave out the row"
            ) from error
        yield value


def _missing(column: str, names: list[str]) -> str:
    close = get_close_matches(column, names, n=1)
    # a nested key of that name is a better guess than a similar spelling
    close = [name for name in names if name.endswith(f".{column}")][:1] or close
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"there is no column {column!r}; {hint}known: {', '.join(map(repr, names[:20])) or 'none'}"
