"""Regions of a genome: BED, narrowPeak and ImmGen's peak table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import polars as pl

from netassay.errors import DataError
from netassay.formats.text import read_lines

Form = Literal["bed", "immgen"]

SCHEMA = {
    "name": pl.String,
    "chromosome": pl.String,
    "start": pl.Int64,
    "end": pl.Int64,
    "summit": pl.Int64,
    "line": pl.Int64,
}
NARROW_PEAK_COLUMNS = 10


class Region(NamedTuple):
    """A region in 0-based coordinates, its end exclusive; `summit` lies within it where the file tells one."""

    name: str
    chromosome: str
    start: int
    end: int
    summit: int | None
    line: int


def read_intervals(path: Path, form: Form, *, skipped: Counter[str] | None = None) -> pl.DataFrame:
    """Regions of a file, plain or gzip, one a row: name, chromosome, start, end (0-based, end exclusive), summit, line.

    bed: three columns or more, 0-based, end exclusive; a fourth names the region, else it is called
    chromosome:start-end; ten columns are narrowPeak, whose last is the summit's offset. immgen: name, chromosome,
    start, stop, 1-based, stop inclusive, with or without a header. Blank lines, comments and track lines are
    counted in `skipped`. Raises DataError, naming the line, for too few columns, coordinates that are no whole
    numbers or out of order, and names that come twice.
    """
    skipped = Counter() if skipped is None else skipped
    regions = list(_bed(path, skipped) if form == "bed" else _immgen(path, skipped))
    if not regions:
        raise DataError(
            f"{path}: holds no region{_reasons(skipped)}; give at least one line {_COLUMNS[form]}"
        )
    frame = pl.DataFrame(regions, schema=SCHEMA, orient="row")
    _refuse_twice(path, frame)
    return frame


def guess_form(path: Path) -> Form:
    """The form that the first region of a file has: immgen if a name and a chromosome stand before two numbers."""
    for line in read_lines(path):
        words = line.split()
        if len(words) >= 3 and _is_number(words[1]) and _is_number(words[2]):
            return "bed"
        if len(words) >= 4 and _is_number(words[2]) and _is_number(words[3]):
            return "immgen"
    raise DataError(
        f"{path}: no line reads as a region; give lines {_COLUMNS['bed']} (BED) or {_COLUMNS['immgen']} (ImmGen's "
        "table)"
    )


_COLUMNS = {
    "bed": "of chromosome, start, end, and if there is one, a name",
    "immgen": "of name, chromosome, start, stop",
}


def _bed(path: Path, skipped: Counter[str]) -> Iterator[Region]:
    for number, line in enumerate(read_lines(path), 1):
        words = line.split("\t") if "\t" in line else line.split()
        if not line.strip():
            skipped["blank line"] += 1
        elif words[0].split(" ")[0] in ("track", "browser") or line.startswith("#"):
            skipped["comment or track line"] += 1
        else:
            where = f"{path}:{number}"
            if len(words) < 3:
                raise DataError(f"{where}: has {len(words)} of the columns {_COLUMNS['bed']}: {line!r:.80}")
            chromosome = words[0].strip()
            start, end = _coordinates(words[1], words[2], where)
            _refuse_order(start, end, where, "0-based start, end exclusive")
            named = len(words) > 3 and words[3].strip() not in ("", ".")
            name = words[3].strip() if named else f"{chromosome}:{start}-{end}"
            yield Region(name, chromosome, start, end, _summit(words, start, end, where), number)


def _immgen(path: Path, skipped: Counter[str]) -> Iterator[Region]:
    first = True
    for number, line in enumerate(read_lines(path), 1):
        words = [word.strip('"') for word in line.split()]
        if not words:
            skipped["blank line"] += 1
        elif line.startswith("#"):
            skipped["comment or track line"] += 1
        elif first and not any(map(_is_number, words[2:4])):
            skipped["header"] += 1
            first = False
        else:
            first = False
            where = f"{path}:{number}"
            if len(words) < 4:
                raise DataError(
                    f"{where}: has {len(words)} of the columns {_COLUMNS['immgen']}: {line!r:.80}"
                )
            start, stop = _coordinates(words[2], words[3], where)
            _refuse_order(start - 1, stop, where, "1-based start, stop inclusive")
            yield Region(words[0], words[1], start - 1, stop, None, number)


def _coordinates(start: str, end: str, where: str) -> tuple[int, int]:
    for name, word in (("start", start), ("end", end)):
        if not _is_number(word):
            raise DataError(f"{where}: {name} is {word!r:.40}; coordinates are whole numbers")
    return int(start), int(end)


def _refuse_order(start: int, end: int, where: str, convention: str) -> None:
    """`start` and `end` are 0-based, end exclusive."""
    if start < 0:
        raise DataError(
            f"{where}: begins before the first base ({convention}); correct or leave out the line"
        )
    if end <= start:
        raise DataError(
            f"{where}: ends at or before its start ({convention}), so it holds no base; correct or leave out the line"
        )


def _summit(words: list[str], start: int, end: int, where: str) -> int | None:
    if len(words) != NARROW_PEAK_COLUMNS or words[9].strip() == "-1":
        return None
    offset = words[9].strip()
    if not offset.isascii() or not offset.isdigit() or int(offset) >= end - start:
        raise DataError(
            f"{where}: column 10, the summit's offset from the start, is {offset!r:.40}; allowed are -1 (none) and "
            f"0 to {end - start - 1}"
        )
    return start + int(offset)


def _is_number(word: str) -> bool:
    digits = word.strip().removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 16


def _refuse_twice(path: Path, frame: pl.DataFrame) -> None:
    twice = frame.filter(pl.col("name").is_duplicated())
    if len(twice):
        name = twice["name"][0]
        first, second = twice.filter(pl.col("name") == name)["line"][:2]
        raise DataError(
            f"{path}:{second}: region {name!r} was named on line {first} already; give each a name of its own"
        )


def _reasons(skipped: Counter[str]) -> str:
    return f" ({', '.join(f'{count} {reason}' for reason, count in skipped.items())})" if skipped else ""
