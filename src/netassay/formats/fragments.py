"""Fragments of a chromatin accessibility assay: the `fragments.tsv.gz` of 10x and others, in batches."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import polars as pl

from netassay.errors import DataError
from netassay.formats.text import blocks
from netassay.inputs import refuse_size

SCHEMA = {"chromosome": pl.String, "start": pl.Int64, "end": pl.Int64, "barcode": pl.String}
BYTES_AT_ONCE = 32 << 20
_FORM = "chromosome, start, end (0-based, end exclusive), and a barcode, separated by tabs"


def read_fragments(path: Path, *, barcodes: bool = True) -> Iterator[pl.DataFrame]:
    """Fragments of a file, plain or gzip (BGZF too), some hundred thousand in memory at a time, in the file's order.

    Columns chromosome, start, end (0-based, end exclusive) and barcode, null where the file has three columns or
    `barcodes` are not asked for, which is quicker; further columns, such as 10x's number of read pairs, are not read: a
    line is a fragment. Lines that begin with # are skipped. Need not be sorted. Raises DataError, naming the line, for
    a truncated file, too few columns, coordinates that are not whole numbers, and a fragment without a base.
    """
    line, rest, any_read = 1, b"", False
    for chunk in _chunks(path):
        text = rest + chunk
        end = text.rfind(b"\n") + 1
        rest = text[end:]
        next_line = line + text.count(b"\n", 0, end)
        refuse_size(f"{path}:{next_line}", len(rest), "LONGEST_LINE", phrase="begins a line of at least")
        if end:
            yield (frame := _parsed(text[:end], path, line, barcodes))
            line = next_line
            any_read = any_read or len(frame) > 0
    if rest.strip():
        yield (frame := _parsed(rest, path, line, barcodes))
        any_read = any_read or len(frame) > 0
    if not any_read:
        raise DataError(f"{path}: holds no fragment; give lines of {_FORM}")


def _chunks(path: Path) -> Iterator[bytes]:
    pieces: list[bytes] = []
    size = 0
    for block in blocks(path):
        pieces.append(block)
        size += len(block)
        if size >= BYTES_AT_ONCE:
            yield b"".join(pieces)
            pieces, size = [], 0
    yield b"".join(pieces)


def _parsed(text: bytes, path: Path, line: int, barcodes: bool) -> pl.DataFrame:
    """The fragments of whole lines, the first of which is line `line` of the file."""
    first = next((row for row in BytesIO(text) if row.strip() and not row.startswith(b"#")), b"")
    names = [*SCHEMA][: min(first.count(b"\t") + 1, 4 if barcodes else 3)]
    if len(names) < 3:
        if first:
            raise _refusal(text, path, line)
        return pl.DataFrame(schema=SCHEMA)
    further = [f"further {i}" for i in range(first.count(b"\t") + 1 - len(names))]
    try:
        frame = pl.read_csv(
            text,
            separator="\t",
            has_header=False,
            comment_prefix="#",
            quote_char=None,
            schema={**{name: SCHEMA[name] for name in names}, **dict.fromkeys(further, pl.String)},
            columns=[*range(len(names))],
            truncate_ragged_lines=True,
        )
    except pl.exceptions.PolarsError as error:
        raise _refusal(text, path, line) from error
    if "barcode" not in names:
        frame = frame.with_columns(barcode=pl.lit(None, pl.String))
    if frame.select(pl.any_horizontal(pl.col("chromosome", "start", "end").is_null().any())).item():
        raise _refusal(text, path, line)
    if frame.select(((pl.col("start") < 0) | (pl.col("end") <= pl.col("start"))).any()).item():
        raise _refusal(text, path, line)
    return frame


def _refusal(text: bytes, path: Path, line: int) -> DataError:
    """What is wrong with the first line that is."""
    for number, raw in enumerate(text.split(b"\n"), line):
        words = raw.rstrip(b"\r").split(b"\t")
        if raw.startswith(b"#") or not raw.strip():
            continue
        excerpt = raw[:60].decode("utf-8", "replace")
        if len(words) < 3:
            return DataError(f"{path}:{number}: has {len(words)} of the columns {_FORM}: {excerpt!r}")
        if not (words[1].isdigit() and words[2].isdigit()):
            return DataError(f"{path}:{number}: start and end are not whole numbers of 0 and more: {excerpt!r}")
        if int(words[2]) <= int(words[1]):
            return DataError(
                f"{path}:{number}: ends at or before its start, so it holds no base (0-based, end exclusive): "
                f"{excerpt!r}"
            )
    return DataError(f"{path}:{line}: cannot be read as fragments; give lines of {_FORM}")
