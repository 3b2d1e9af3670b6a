"""Signal of bigWig files over regions."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from netassay.errors import DataError

# of bigWig and bigBed, in either byte order
_MAGIC = (b"\x26\xfc\x8f\x88", b"\x88\x8f\xfc\x26", b"\xeb\xf2\x89\x87", b"\x87\x89\xf2\xeb")

# a base that the file does not cover has no signal: it counts as zero, in the mean too
_NAMES = {"mean": "mean0", "sum": "sum", "max": "max"}


class Signal(NamedTuple):
    """A value a region, and how many regions lie on chromosomes that the file does not have (their value is 0)."""

    values: Float32[np.ndarray, " n"]
    absent: int


def read_signal(
    path: Path,
    chromosomes: Sequence[str],
    starts: np.ndarray,
    ends: np.ndarray,
    statistic: str = "mean",
) -> Signal:
    """Mean, sum or largest value of a bigWig over each region (0-based, end exclusive).

    Bases without a value count as zero. Chromosomes are found by name, or by the name with or without "chr"; on one
    that the file does not have, all is zero. Raises DataError for a file that is no bigWig, regions beyond the end
    of their chromosome, and for a file that has none of the chromosomes.
    """
    import pybigtools

    if statistic not in _NAMES:
        raise DataError(f"statistic {statistic!r}: allowed are {', '.join(_NAMES)}")
    try:
        with path.open("rb") as file:
            if file.read(4) not in _MAGIC:
                raise DataError(f"{path}: is no bigWig (its first four bytes are not those of one)")
        opened = pybigtools.open(str(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except DataError:
        raise
    except Exception as error:  # the library raises its own kind for files that are none of its own
        raise DataError(f"{path}: is no bigWig ({error})") from error
    with opened:
        if not opened.is_bigwig:
            raise DataError(f"{path}: is a bigBed; give a bigWig, which holds one value a base")
        return _over(path, opened, chromosomes, starts, ends, statistic)


def _over(
    path: Path,
    opened: Any,
    chromosomes: Sequence[str],
    starts: np.ndarray,
    ends: np.ndarray,
    statistic: str,
) -> Signal:
    lengths: dict[str, int] = opened.chroms()
    names = {name: _found(name, lengths) for name in set(chromosomes)}
    if not any(names.values()):
        raise DataError(
            f"{path}: has none of the regions' chromosomes ({', '.join(sorted(names)[:5])}); it has "
            f"{', '.join(sorted(lengths)[:10])}: take a bigWig of the regions' assembly"
        )
    kept = [row for row, name in enumerate(chromosomes) if names[name]]
    places = sorted(kept, key=lambda row: (names[chromosomes[row]], starts[row]))
    for row in places:
        name = names[chromosomes[row]]
        assert name is not None
        if ends[row] > lengths[name]:
            raise DataError(
                f"{path}: region {chromosomes[row]}:{starts[row]}-{ends[row]} ends beyond {name}, which has "
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
        try:
            found = np.fromiter(
                opened.average_over_bed(str(bed), stats=_NAMES[statistic]), np.float64, len(places)
            )
        except Exception as error:  # of the library's own kinds
            raise DataError(f"{path}: is damaged ({error})") from error
    values[places] = np.nan_to_num(found, nan=0.0)
    return Signal(values, len(values) - len(places))


def _found(name: str, lengths: dict[str, int]) -> str | None:
    for form in (name, name[3:] if name.startswith("chr") else f"chr{name}"):
        if form in lengths:
            return form
    return None
