"""Signal of bigWig files over regions."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from netassay.errors import DataError, reraised
from netassay.extras import require
from netassay.formats.bases import known_as
from netassay.inputs import is_utf_8, refuse_odd_file

# of bigWig and bigBed, in either byte order
_MAGIC = (b"\x26\xfc\x8f\x88", b"\x88\x8f\xfc\x26", b"\xeb\xf2\x89\x87", b"\x87\x89\xf2\xeb")

STATISTICS = ("mean", "sum", "max")


class Signal(NamedTuple):
    """A value a region; regions on chromosomes that the file does not have (their value is 0), regions found under
    another name of their chromosome, and regions with bases whose value is NaN, as numbers of regions."""

    values: Float32[np.ndarray, " n"]
    absent: int
    renamed: int = 0
    with_nan: int = 0


def read_signal(
    path: Path,
    chromosomes: Sequence[str],
    starts: np.ndarray,
    ends: np.ndarray,
    statistic: str = "mean",
) -> Signal:
    """Mean, sum or largest value of a bigWig over each region (0-based, end exclusive).

    Bases without a value count as zero, and so do those whose value is NaN. Chromosomes are found by name, or by
    another name of the same (with or without "chr", chrM for MT); on one that the file does not have, all values
    are zero. Raises DataError for a file that is not bigWig or has none of the chromosomes, and for regions beyond
    the end of their chromosome; ExtraMissing without pybigtools.
    """
    if statistic not in STATISTICS:
        raise DataError(f"statistic {statistic!r}: allowed are {', '.join(STATISTICS)}")
    with open_bigwig(path) as opened:
        return _over(path, opened, chromosomes, starts, ends, statistic)


@contextmanager
def open_bigwig(path: Path) -> Iterator[Any]:
    """The bigWig as pybigtools opens it; errors as `read_signal` raises them."""
    pybigtools = require("pybigtools", "dna", f"{path}: bigWig")
    refuse_odd_file(path)
    with ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("rb"))
            if file.read(4) not in _MAGIC:
                raise DataError(f"{path}: is not a bigWig file (its first four bytes are not those of one)")
            file.seek(0)
            # the library raises its own error for other files, or panics, as it does over names that are not UTF-8
            with reraised(lambda why: DataError(f"{path}: is not a bigWig file ({why})")):
                opened = pybigtools.open(str(path) if is_utf_8(path) else file)
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
        with opened:
            if not opened.is_bigwig:
                raise DataError(f"{path}: is a bigBed; give a bigWig, which holds one value a base")
            yield opened


def _over(
    path: Path,
    opened: Any,
    chromosomes: Sequence[str],
    starts: np.ndarray,
    ends: np.ndarray,
    statistic: str,
) -> Signal:
    with reraised(lambda why: DataError(f"{path}: is damaged ({why})")):
        lengths: dict[str, int] = opened.chroms()
    names = {name: known_as(name, lengths) for name in set(chromosomes)}
    if not any(names.values()):
        raise DataError(
            f"{path}: has none of the regions' chromosomes ({', '.join(sorted(names)[:5])}); it has "
            f"{', '.join(sorted(lengths)[:10])}: take a bigWig of the regions' assembly"
        )
    rows = [row for row, name in enumerate(chromosomes) if names[name]]
    places = sorted(rows, key=lambda row: (names[chromosomes[row]], starts[row]))
    for row in places:
        name = names[chromosomes[row]]
        assert name is not None
        if starts[row] < 0 or ends[row] > lengths[name]:
            problem = "begins before" if starts[row] < 0 else "ends beyond"
            raise DataError(
                f"{path}: region {chromosomes[row]}:{starts[row]}-{ends[row]} {problem} {name}, which has "
                f"{lengths[name]:,} bases here; take a bigWig of the regions' assembly"
            )
    values = np.zeros(len(chromosomes), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        bed = Path(folder) / "regions.bed"
        # the file takes regions in the order of its chromosomes
        bed.write_text(
            "".join(f"{names[chromosomes[row]]}\t{starts[row]}\t{ends[row]}\n" for row in places),
            encoding="utf-8",
        )
        with reraised(lambda why: DataError(f"{path}: is damaged ({why})")):
            statistics = np.array(
                list(opened.average_over_bed(str(bed), stats=["bases", "sum", "max"])), np.float64
            ).reshape(len(places), 3)
            odd = np.flatnonzero(np.isnan(statistics[:, 1]))
            for index in odd.tolist():
                row = places[index]
                statistics[index] = _without_nan(
                    np.asarray(opened.values(names[chromosomes[row]], int(starts[row]), int(ends[row]), fillna=None))
                )
    covered, total, largest = statistics.T
    widths = (np.asarray(ends) - np.asarray(starts))[places]
    if statistic == "max":
        # a base without a value is 0, which is greater than any negative value
        total = np.where(covered < widths, np.fmax(largest, 0.0), largest)
    elif statistic == "mean":
        total = total / widths
    values[places] = total
    renamed = sum(names[chromosomes[row]] != chromosomes[row] for row in places)
    return Signal(values, len(values) - len(places), renamed, len(odd))


def _without_nan(values: np.ndarray) -> tuple[int, float, float]:
    """Bases that have a value, their sum, and the largest."""
    present = values[~np.isnan(values)]
    return len(present), float(present.sum()), float(present.max(initial=-np.inf))
