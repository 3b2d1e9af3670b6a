"""Regions of a genome: BED, narrowPeak and ImmGen's peak table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import polars as pl

from netassay.errors import DataError
from netassay.formats.headings import CHROMOSOME, END, START, has_places, plain
from netassay.formats.rows import is_number, read_rows
from netassay.formats.tables import SEPARATORS

Form = Literal["bed", "immgen", "table"]
"""BED and narrowPeak; ImmGen's peak table; any table whose header names chromosome, start and end."""

Repeats = Literal["refuse", "drop", "keep"]
"""What to do with a repeated region or name."""

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
    """A region in 0-based coordinates, its end exclusive; `summit` lies within it if the file gives one."""

    name: str
    chromosome: str
    start: int
    end: int
    summit: int | None
    line: int


def read_intervals(
    path: Path,
    form: Form,
    *,
    skipped: Counter[str] | None = None,
    notes: Counter[str] | None = None,
    repeats: Repeats = "refuse",
    shared_names: bool = False,
    required_names: Collection[str] = (),
) -> pl.DataFrame:
    """Regions of a file, plain or gzip, one a row: name, chromosome, start, end (0-based, end exclusive), summit, line.

    bed: three columns or more, 0-based, end exclusive; a fourth names the region, else it is called
    chromosome:start-end; ten columns of narrowPeak's kinds are narrowPeak, whose last is the summit's offset. immgen:
    name, chromosome, start, stop, 1-based, stop inclusive, with or without a header. Blank lines, comments and track
    lines are counted in `skipped`, other observations in `notes`. A repeated name is refused,
    unless `repeats` keeps it; or drops, and counts in `skipped`, lines that repeat a region. With
    `shared_names`, names of several regions, such as those of genes, are replaced by places and counted in `notes`,
    unless one of these is among `required_names`.
    Raises DataError, naming the line, for too few columns, coordinates that are not whole numbers or out of order, and
    names that come twice.
    """
    skipped = Counter() if skipped is None else skipped
    notes = Counter() if notes is None else notes
    regions = list(_bed(path, skipped, notes) if form == "bed" else _immgen(path, skipped))
    if not regions:
        raise DataError(f"{path}: holds no region{_reasons(skipped)}; give at least one line {_COLUMNS[form]}")
    frame = pl.DataFrame(regions, schema=SCHEMA, orient="row")
    return named_once(
        path, frame, notes, repeats, shared_names=shared_names, required_names=required_names, skipped=skipped
    )[0]


def guess_form(path: Path) -> Form:
    """The form of a file of regions.

    table: its header names a chromosome with start and end, or summit; immgen: a name and a chromosome precede two
    numbers. Where both BED and immgen are possible (chromosomes that are numbers), the column whose values
    all differ is that of the names. Raises DataError for a file that has none of these forms, or may have two.
    """
    if heads_a_table(path):
        return "table"
    first: list[list[str]] = []
    for line in islice(read_rows(path), 1_000):
        words = line.split()
        if line.startswith(">") and not first:
            raise DataError(
                f"{path}: is FASTA, sequences without their places; give the regions they are from (BED) and the genome"
            )
        if len(words) >= 3 and not line.startswith("#"):
            first.append(words)
    as_bed = [words for words in first if _is_number(words[1]) and _is_number(words[2])]
    as_immgen = [words for words in first if len(words) >= 4 and _is_number(words[2]) and _is_number(words[3])]
    for words in first:
        if words in as_bed:
            return _numbers_guessed(path, as_bed, as_immgen)
        if words in as_immgen:
            return "immgen"
    raise DataError(
        f"{path}: no line reads as a region; give lines {_COLUMNS['bed']} (BED), {_COLUMNS['immgen']} (ImmGen's "
        "table), or a table whose header names the columns (chrom, start, end)"
    )


def heads_a_table(path: Path) -> bool:
    """Whether the first line that is not a comment, or one of the comments, names a chromosome with start and end or
    summit; but not where the columns are those of ImmGen's peak table alone."""
    for line in read_rows(path):
        if line.strip() and _is_header(line):
            return bool({",", ";"} & {*line}) or not _as_immgen(line.split())
        if line.strip() and not line.startswith("#"):
            return False
    return False


def _numbers_guessed(path: Path, bed: list[list[str]], immgen: list[list[str]]) -> Form:
    """bed, unless the lines fit names and numbered chromosomes better."""
    as_bed = len(bed[0]) < 4 or all(int(words[1]) < int(words[2]) for words in bed)
    as_immgen = len(immgen) == len(bed) and all(int(words[2]) <= int(words[3]) for words in immgen)
    if not as_immgen:
        return "bed"
    firsts, seconds = ([words[column] for words in bed] for column in (0, 1))
    alike = [sum(map(_is_chromosome, words)) for words in (firsts, seconds)]
    if not as_bed or (alike[0] == 0 and alike[1] == len(bed)):
        return "immgen"
    if alike[0] or len({*firsts}) <= len({*seconds}) < len(bed) or len({*firsts}) < len(bed):
        return "bed"
    if len({*seconds}) < len(bed):
        return "immgen"
    raise DataError(
        f"{path}: may be BED or ImmGen's table ({' '.join(bed[0][:4])!r}); say which with --form bed or --form immgen"
    )


def _is_chromosome(word: str) -> bool:
    """Whether a word is the name of a chromosome of an animal: 1 to 40, X, Y, Z, W, MT, with or without chr."""
    bare = word.removeprefix("chr")
    return bare in ("X", "Y", "Z", "W", "M", "MT") or (bare.isascii() and bare.isdigit() and 0 < int(bare) <= 40)


def _is_header(line: str) -> bool:
    separator = next((mark for mark in SEPARATORS if mark in line), None)
    return has_places([word.strip().strip("\"'") for word in line.lstrip("# ").split(separator)])


def _as_immgen(words: list[str]) -> bool:
    """Headings of ImmGen's columns alone, as SAF has them too."""
    kinds = [plain(word) for word in words]
    return 4 <= len(kinds) <= 5 and kinds[1] in CHROMOSOME and kinds[2] in START and kinds[3] in END


_COLUMNS = {
    "bed": "of chromosome, start, end, and if there is one, a name",
    "immgen": "of name, chromosome, start, stop",
    "table": "below a header that names chromosome, start and end",
}


def _bed(path: Path, skipped: Counter[str], notes: Counter[str]) -> Iterator[Region]:
    narrow = _narrow_peak(path, notes)
    started = False
    for number, line in enumerate(read_rows(path, skipped=skipped), 1):
        words = line.split("\t") if "\t" in line else line.split()
        if not line.strip():
            skipped["blank line"] += 1
        elif words[0].split(" ")[0] in ("track", "browser") or line.startswith("#"):
            skipped["comment or track line"] += 1
        elif not started and _is_header(line):
            skipped["header"] += 1
        else:
            started = True
            where = f"{path}:{number}"
            if len(words) < 3:
                raise DataError(f"{where}: has {len(words)} of the columns {_COLUMNS['bed']}: {line!r:.80}")
            chromosome = words[0].strip()
            start, end = _coordinates(words[1], words[2], where)
            refuse_order(start, end, where, "0-based start, end exclusive")
            has_name = len(words) > 3 and words[3].strip() not in NO_NAME
            name = words[3].strip() if has_name else f"{chromosome}:{start}-{end}"
            summit = _summit(words, start, end, where) if narrow else None
            yield Region(name, chromosome, start, end, summit, number)


NO_NAME = ("", ".", "-")
"""Entries of the column of names that mean that there is none."""

_STRANDS = ("+", "-", ".")
_PEAK_ENDINGS = (".narrowpeak", ".encodepeak", ".regionpeak")


def _narrow_peak(path: Path, notes: Counter[str]) -> bool:
    """Whether the file is narrowPeak: by name, or by ten columns of narrowPeak's kinds on every line.

    These are a score, a strand, signal, p and q (each a number, or a point for none), and a whole number. Files
    without that name are noted, whether taken for it or not.
    """
    if any(ending in path.name.lower() for ending in _PEAK_ENDINGS):
        return True
    lines = summits = 0
    for line in read_rows(path):
        words = [word.strip() for word in (line.split("\t") if "\t" in line else line.split())]
        if len(words) < 3 or line.startswith("#") or not _is_number(words[1]):
            continue
        if len(words) != NARROW_PEAK_COLUMNS:
            return False
        lines += 1
        values = [word == "." or is_number(word) for word in (words[4], *words[6:9])]
        kinds = [*values, words[5] in _STRANDS, _is_number(words[9])]
        if not all(kinds):
            if _is_number(words[9]):
                notes[f"ten columns of {path.name} that are not narrowPeak: column 10 is not a summit"] = 1
            return False
        summits += words[9] != "-1"
    if summits:
        notes[f"summits of {path.name} taken from column 10, as of narrowPeak"] = summits
    return bool(lines)


def _immgen(path: Path, skipped: Counter[str]) -> Iterator[Region]:
    first = True
    for number, line in enumerate(read_rows(path, skipped=skipped), 1):
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
                raise DataError(f"{where}: has {len(words)} of the columns {_COLUMNS['immgen']}: {line!r:.80}")
            start, stop = _coordinates(words[2], words[3], where)
            refuse_order(start - 1, stop, where, "1-based start, stop inclusive")
            yield Region(words[0], words[1], start - 1, stop, None, number)


def _coordinates(start: str, end: str, where: str) -> tuple[int, int]:
    for name, word in (("start", start), ("end", end)):
        if not _is_number(word):
            raise DataError(f"{where}: {name} is {word!r:.40}; coordinates are whole numbers")
    return int(start), int(end)


def refuse_order(start: int, end: int, where: str, convention: str) -> None:
    """DataError for a region (0-based, end exclusive) that begins before the first base or holds none."""
    if start < 0:
        raise DataError(f"{where}: begins before the first base ({convention}); correct or leave out the line")
    if end <= start:
        raise DataError(
            f"{where}: ends at or before its start ({convention}), so it holds no base; correct or leave out the line"
        )


def _summit(words: list[str], start: int, end: int, where: str) -> int | None:
    if len(words) < NARROW_PEAK_COLUMNS or words[9].strip() == "-1":
        return None
    offset = words[9].strip()
    if not offset.isascii() or not offset.isdigit() or int(offset) >= end - start:
        raise DataError(
            f"{where}: column 10, the summit's offset from the start, is {offset!r:.40}; allowed are -1 (none) and "
            f"0 to {end - start - 1} (if it is not a summit, leave the column out: cut -f1-9)"
        )
    return start + int(offset)


def _is_number(word: str) -> bool:
    digits = word.strip().removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 16


def named_once(
    path: Path,
    frame: pl.DataFrame,
    notes: Counter[str],
    repeats: Repeats,
    *,
    shared_names: bool = False,
    required_names: Collection[str] = (),
    skipped: Counter[str] | None = None,
) -> tuple[pl.DataFrame, list[int]]:
    """Regions with unique names, as `read_intervals` describes, and their rows in the frame."""
    skipped = notes if skipped is None else skipped
    frame = frame.with_row_index("row")
    coordinates = ["chromosome", "start", "end"]
    if repeats == "keep":
        return frame.drop("row"), frame["row"].to_list()
    if repeats == "drop":
        once = frame.unique([*coordinates, "name"], keep="first", maintain_order=True)
        if len(once) < len(frame):
            skipped[f"region of {path.name} that stood there before"] += len(frame) - len(once)
        frame = once
    again = frame.filter(pl.col("name").is_duplicated())
    shared_names = shared_names and not again["name"].is_in([*required_names]).any()
    if len(again) and shared_names and not again.select("name", *coordinates).is_duplicated().any():
        called = pl.format("{}:{}-{}", *coordinates)
        count = again["name"].n_unique()
        notes[f"names of {path.name} that stand for several regions: all regions called chromosome:start-end"] = count
        frame = frame.with_columns(name=called)
        again = frame.filter(pl.col("name").is_duplicated())
    if len(again):
        name = again["name"][0]
        alike = again.filter(pl.col("name") == name)
        first, second = alike["line"][:2]
        if len(alike[:2].select(coordinates).unique()) == 1:
            region = "{}:{}-{}".format(*alike.select(coordinates).row(0))
            raise DataError(
                f"{path}:{second}: the region {region} (0-based) stands on line {first} already; leave the second out "
                'with --drop twice (drop=["twice"]), or give each line a name of its own'
            )
        raise DataError(
            f"{path}:{second}: region {name!r} was named on line {first} already; give each a name of its own"
        )
    return frame.drop("row"), frame["row"].to_list()


def _reasons(skipped: Counter[str]) -> str:
    return f" ({', '.join(f'{count} {reason}' for reason, count in skipped.items())})" if skipped else ""
