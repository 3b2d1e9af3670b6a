"""Facts and status of a run, read from the pages of its run.sqlite without opening it as a database.

Opening costs SQLite about 0.1 ms a run, most of it for a schema that is the same in all. Here the pages are compared
with those that a writer of runs leaves (sqlite.org/fileformat2.html), and only the two tables of a listing are read.
Whatever is not exactly as expected is left to SQLite: where there is an answer, it is the one that SQLite gives.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from netassay.runs import ledger
from netassay.runs.ledger import Status

_PAGE = 4096
_AT_ONCE = 3 * _PAGE  # the schema and, as every writer so far laid them out, the roots of facts and status
_HEADER = 100
_TABLE, _INDEX = 0x0D, 0x0A  # leaves of a table with row numbers, and of one without
_MOST_LOCAL = {_TABLE: _PAGE - 35, _INDEX: (_PAGE - 12) * 64 // 255 - 23}
_LEAST_LOCAL = (_PAGE - 12) * 32 // 255 - 23
_CHAINED = _PAGE - 4  # bytes of an overflow page, after the number of the next
_BYTES = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 7: 8, 8: 0, 9: 0}  # of a value, by its serial type
_REAL, _ZERO, _ONE, _TEXT = 7, 8, 9, 13


class _Unlike(Exception):
    """A page is not as a writer of runs leaves it."""


def read(path: str, size: int) -> tuple[dict[str, str], Status] | None:
    """The facts and the status in run.sqlite, a plain file of `size` bytes; None where SQLite has to read it.

    The caller sees to it that nothing of the run is in files beside it, and that it did not change meanwhile.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        file = _File(handle, size)
        facts, status, last = _roots(file.page(1)[_HEADER:])
        file.page(last)
        return _facts(file, facts), _status(file, status)
    except (_Unlike, OSError, UnicodeDecodeError, IndexError, TypeError):
        return None
    finally:
        os.close(handle)


class _File:
    """The pages of a database, numbered from 1."""

    def __init__(self, handle: int, size: int) -> None:
        self._handle, self._size = handle, size
        self._start = start = os.pread(handle, _AT_ONCE, 0)
        is_usual = (
            start[:18] == b"SQLite format 3\0\x10\0"  # 4096 bytes a page
            and start[18:24] in (b"\2\2\0\x40\x20\x20", b"\1\1\0\x40\x20\x20")  # with and without a write-ahead log
            and int.from_bytes(start[28:32], "big") * _PAGE == size
            and start[44:48] == b"\0\0\0\4"
            and start[52:60] == b"\0\0\0\0\0\0\0\1"  # pages stay where they are; text is UTF-8
        )
        if not is_usual:
            raise _Unlike

    def page(self, number: int) -> bytes:
        at = (number - 1) * _PAGE
        if not 0 <= at <= self._size - _PAGE:
            raise _Unlike
        page = self._start[at : at + _PAGE] if at < _AT_ONCE else os.pread(self._handle, _PAGE, at)
        if len(page) != _PAGE:
            raise _Unlike
        return page

    def rows(self, number: int, kind: int) -> Iterator[bytes]:
        """The records of a table that is one leaf."""
        page = self.page(number)
        for at in _cells(page, 0, kind):
            size = page[at]
            if kind == _INDEX and size < 0x80 and at + size < _PAGE:  # as most facts are
                yield page[at + 1 : at + 1 + size]
            else:
                yield self._payload(page, at, kind)

    def _payload(self, page: bytes, at: int, kind: int) -> bytes:
        size, at = _varint(page, at)
        if kind == _TABLE:
            _, at = _varint(page, at)
        if size > self._size:
            raise _Unlike
        if size <= _MOST_LOCAL[kind]:
            return _cut(page, at, size)
        local = _LEAST_LOCAL + (size - _LEAST_LOCAL) % _CHAINED
        local = local if local <= _MOST_LOCAL[kind] else _LEAST_LOCAL
        pieces, rest = [_cut(page, at, local)], size - local
        following = _cut(page, at + local, 4)
        while rest > 0:
            page = self.page(int.from_bytes(following, "big"))
            following = page[:4]
            pieces.append(page[4 : 4 + rest])
            rest -= _CHAINED
        return b"".join(pieces)


def _facts(file: _File, root: int) -> dict[str, str]:
    facts = {}
    for record in file.rows(root, _INDEX):
        (first, second), at = _types(record, 2)
        middle = at + (first - _TEXT) // 2
        if not (first & second & 1 and first >= _TEXT <= second and middle + (second - _TEXT) // 2 == len(record)):
            raise _Unlike
        facts[record[at:middle].decode()] = record[middle:].decode()
    return facts


def _status(file: _File, root: int) -> Status:
    records = list(file.rows(root, _TABLE))
    if len(records) != 1:
        raise _Unlike
    values = _values(records[0], 6)
    match values:
        case (None, str(state), int(step), str(message), float() | int() as seconds, _):
            return Status(state, step, message, float(seconds))
    raise _Unlike


@lru_cache(maxsize=8)
def _roots(page: bytes) -> tuple[int, int, int]:
    """The pages of facts and status, and the last of any table, by the first page without its header."""
    rows = [_values(_cut(page, *_local(page, at)), 5) for at in _cells(page, _HEADER, _TABLE)]
    declared = sorted((kind, name, table, sql) for kind, name, table, _, sql in rows)
    roots = {name: root for _, name, _, root, _ in rows if isinstance(root, int)}
    if declared != sorted(ledger.declaration()) or len(roots) != len(rows) or min(roots.values()) < 2:
        raise _Unlike
    return roots["facts"], roots["status"], max(roots.values())


def _local(page: bytes, at: int) -> tuple[int, int]:
    size, at = _varint(page, at)
    if size > _MOST_LOCAL[_TABLE]:
        raise _Unlike
    return _varint(page, at)[1], size


def _cells(page: bytes, before: int, kind: int) -> tuple[int, ...]:
    """Where the cells of a leaf begin in `page`, a page without the `before` bytes in front of its own header."""
    count = int.from_bytes(page[3:5], "big")
    first, last = 8 + 2 * count, len(page) - 4
    if page[0] != kind or first > last:
        raise _Unlike
    cells = tuple(at - before for at in struct.unpack_from(f">{count}H", page, 8))
    if cells and not (first <= min(cells) and max(cells) <= last):
        raise _Unlike
    return cells


def _values(record: bytes, columns: int) -> list[Any]:
    types, at = _types(record, columns)
    values: list[Any] = []
    for kind in types:
        end = at + (_BYTES[kind] if kind in _BYTES else (kind - _TEXT) // 2)
        piece = record[at:end]
        values.append(piece.decode() if kind >= _TEXT and kind & 1 else _number(kind, piece))
        at = end
    if at != len(record):
        raise _Unlike
    return values


def _number(kind: int, data: bytes) -> float | int | None:
    if kind not in _BYTES:
        raise _Unlike
    if kind == _REAL and len(data) == _BYTES[_REAL]:
        number = float(struct.unpack(">d", data)[0])
        if math.isnan(number):  # NULL to SQLite
            raise _Unlike
        return number
    if kind == 0:
        return None
    return kind - _ZERO if kind in (_ZERO, _ONE) else int.from_bytes(data, "big", signed=True)


def _types(record: bytes, columns: int) -> tuple[list[int], int]:
    """The serial types of a record of that many columns, and where its values begin."""
    end, at = record[0], 1
    if end >= 0x80:
        end, at = _varint(record, 0)
    types = []
    while at < end:
        kind = record[at]
        at += 1
        if kind >= 0x80:
            kind, at = _varint(record, at - 1)
        types.append(kind)
    if at != end or len(types) != columns:
        raise _Unlike
    return types, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length and where it ends; those that no table of a run needs are refused."""
    number = 0
    for place in range(at, at + 4):
        number = number << 7 | data[place] & 0x7F
        if data[place] < 0x80:
            return number, place + 1
    raise _Unlike


def _cut(data: bytes, at: int, size: int) -> bytes:
    piece = data[at : at + size]
    if len(piece) != size:
        raise _Unlike
    return piece
