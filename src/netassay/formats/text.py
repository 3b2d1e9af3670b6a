"""Documents of text files: a line, a paragraph, a record or the whole file each."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from netassay.errors import DataError

Unit = Literal["line", "paragraph", "file", "record"]

SEPARATOR = "<|endoftext|>"


def read_text(
    path: Path, unit: Unit = "line", *, separator: str = SEPARATOR, skipped: Counter[str] | None = None
) -> Iterator[str]:
    """Documents of a UTF-8 file, plain or gzip, one at a time, cut as `cut_text` cuts them.

    A line ends at a line feed, a carriage return before it is taken off. Raises DataError for a file that cannot
    be read, naming line and byte where it is not UTF-8, and for a blank separator.
    """
    return cut_text(read_lines(path), unit, separator=separator, skipped=skipped)


def cut_text(
    lines: Iterable[str],
    unit: Unit = "line",
    *,
    separator: str = SEPARATOR,
    skipped: Counter[str] | None = None,
) -> Iterator[str]:
    """Documents of a text given by its lines, one at a time.

    Paragraphs are parted by blank lines, records by `separator` wherever it stands. Line ends within a document
    stay as line feeds, those at its ends belong to none. Documents of nothing but white space are left out and
    counted in `skipped`. Raises DataError for a unit that is not known and for a blank separator.
    """
    skipped = Counter() if skipped is None else skipped
    for document in _documents(lines, unit, separator):
        if document.strip():
            yield document
        else:
            skipped[f"blank {unit}"] += 1


def read_lines(path: Path) -> Iterator[str]:
    """Lines of a UTF-8 file, plain or gzip, without their ends; a byte-order mark is taken off.

    Raises DataError as `read_text` does.
    """
    before = 0
    for number, raw in enumerate(_raw_lines(path), 1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            byte = raw[error.start]
            raise DataError(
                f"{path}:{number}: byte 0x{byte:02x} at offset {before + error.start} is not UTF-8 "
                f"({error.reason}); convert the file, for example with iconv -t UTF-8"
            ) from error
        before += len(raw)
        yield line.removesuffix("\n").removesuffix("\r")


def _documents(lines: Iterable[str], unit: Unit, separator: str) -> Iterator[str]:
    if unit == "line":
        return iter(lines)
    if unit == "paragraph":
        return _paragraphs(lines)
    if unit == "file":
        return iter(["\n".join(lines)])
    if unit == "record":
        if not separator.strip() or "\n" in separator:
            raise DataError(
                f"the record separator is {separator!r}; give text within a line, such as {SEPARATOR!r} "
                "(for blank lines between documents, take paragraphs)"
            )
        return _records(lines, separator)
    raise DataError(f"document unit {unit!r}: allowed are line, paragraph, file, record")


def _paragraphs(lines: Iterable[str]) -> Iterator[str]:
    held: list[str] = []
    for line in lines:
        if line.strip():
            held.append(line)
        elif held:
            yield "\n".join(held)
            held = []
    if held:
        yield "\n".join(held)


def _records(lines: Iterable[str], separator: str) -> Iterator[str]:
    """What stands between separators; nothing follows a separator that ends the file."""
    held: list[str] = []
    for line in lines:
        *closed, rest = line.split(separator)
        for part in closed:
            yield "\n".join([*held, part]).strip("\n")
            held = []
        if held or rest.strip() or not closed:
            held.append(rest)
    if any(line.strip() for line in held):
        yield "\n".join(held).strip("\n")


def _raw_lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as begin:
            zipped = begin.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as stream:
            yield from stream
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path}: the gzip stream is damaged or cut ({error}); fetch the file again"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


BLOCK = 1 << 22


def blocks(path: Path) -> Iterator[bytes]:
    """Blocks of 4 MiB of a file's content; gzip is known by its first bytes, whatever the name.

    Raises DataError for a file that cannot be read and for a damaged or cut gzip stream.
    """
    try:
        with path.open("rb") as begin:
            zipped = begin.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as stream:
            while block := stream.read(BLOCK):
                yield block
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path}: the gzip stream is damaged or cut ({error}); fetch the file again"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
