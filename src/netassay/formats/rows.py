"""Lines of tables from any system: with its line ends, and the byte with which DOS ends a text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from netassay.formats.text import UTF_16, ZSTANDARD, blocks, first_bytes, read_lines
from netassay.inputs import refuse_size

END_OF_TEXT = "\x1a"
_SKIPPED = "byte 0x1A (end of a DOS text)"


def read_rows(path: Path, *, skipped: Counter[str] | None = None) -> Iterator[str]:
    """Lines of a UTF-8 file, plain or gzip, without their ends: LF, CR LF, or CR alone as old Macs wrote it.

    A byte 0x1A at the end is left out and counted in `skipped`. Raises DataError as `read_lines` does.
    """
    skipped = Counter() if skipped is None else skipped
    waiting: str | None = None
    for line in _rows(path):
        if waiting is not None:
            yield waiting
        waiting = line
    if waiting is not None:
        last = waiting.rstrip().rstrip(END_OF_TEXT)
        if len(last) == len(waiting.rstrip()):
            yield waiting
        else:
            skipped[_SKIPPED] += 1
            if last:
                yield last


def content(path: Path, *, skipped: Counter[str] | None = None) -> bytes:
    """All bytes of a file, plain or gzip, its lines ended by LF, without blank lines at the end.

    A byte 0x1A there is left out and counted in `skipped`.
    """
    if first_bytes(path).startswith((ZSTANDARD, *UTF_16)):
        return "\n".join(read_rows(path, skipped=skipped)).encode().rstrip(b"\n")
    pieces, size = [], 0
    for block in blocks(path):
        pieces.append(block)
        size += len(block)
        refuse_size(path, size, "LARGEST_ARRAY", phrase="holds, unpacked, at least")
    data = b"".join(pieces)
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if skipped is not None and data[-100:].rstrip().endswith(b"\x1a"):
        skipped[_SKIPPED] += 1
    return data.rstrip(b"\n \x1a")


def _rows(path: Path) -> Iterator[str]:
    for line in read_lines(path, old_mac=True):
        if "\r" in line:
            yield from line.split("\r")
        else:
            yield line


def is_number(word: str) -> bool:
    """Whether a word of a file reads as a number.

    >>> is_number("1e-3"), is_number("chr1")
    (True, False)
    """
    try:
        float(word)
    except ValueError:
        return False
    return True
