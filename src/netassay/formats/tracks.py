"""Values of single bases along a genome, written as bigWig or bedGraph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from netassay.errors import DataError
from netassay.extras import require
from netassay.files import whole_file
from netassay.inputs import is_utf_8


class Stretch(NamedTuple):
    """Bases of one chromosome that have a value, in order (0-based)."""

    chromosome: str
    places: Int64[np.ndarray, " n"]
    values: Float64[np.ndarray, " n"]


class Track(NamedTuple):
    """A stretch a chromosome, in the order of the alphabet; `shared` bases had a value in more than one window."""

    stretches: tuple[Stretch, ...]
    shared: int


def track(chromosomes: Sequence[str], starts: np.ndarray, values: np.ndarray) -> Track:
    """Values (windows, width) of windows that begin at `starts` (0-based), one a base.

    A base under several windows has their mean; values that are not finite leave a gap.
    """
    names = np.asarray(chromosomes)
    stretches, shared = [], 0
    for chromosome in sorted(set(chromosomes)):
        rows = np.flatnonzero(names == chromosome)
        places = (np.asarray(starts, np.int64)[rows, None] + np.arange(values.shape[1])).ravel()
        flat = np.asarray(values[rows], np.float64).ravel()
        finite = np.isfinite(flat)
        unique, where, counts = np.unique(places[finite], return_inverse=True, return_counts=True)
        if len(unique):
            means = np.bincount(where, flat[finite], len(unique)) / counts
            stretches.append(Stretch(chromosome, unique, means))
            shared += int((counts > 1).sum())
    return Track(tuple(stretches), shared)


def write_bedgraph(path: Path, signal: Track) -> None:
    """A line a base: chromosome, start, end, value with seven digits.

    The file is written completely or not at all. Raises DataError if it cannot be written.
    """
    with whole_file(path, refusal=DataError) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        for stretch in signal.stretches:
            file.writelines(
                f"{stretch.chromosome}\t{position}\t{position + 1}\t{value:.7g}\n"
                for position, value in zip(stretch.places.tolist(), stretch.values.tolist(), strict=True)
            )


def write_bigwig(path: Path, signal: Track, lengths: Mapping[str, int]) -> None:
    """The track as bigWig, in single precision; `lengths` are those of the chromosomes.

    The file is written completely or not at all. Raises DataError for a chromosome without a length, for values
    beyond its end, and if it cannot be written; ExtraMissing without pybigtools.
    """
    pybigtools = require("pybigtools", "dna", f"{path}: bigWig")
    for stretch in signal.stretches:
        name = stretch.chromosome
        if name not in lengths:
            raise DataError(f"{path}: the length of chromosome {name!r} is not known; give it")
        if stretch.places[0] < 0 or stretch.places[-1] >= lengths[name]:
            raise DataError(
                f"{path}: values at {name}:{stretch.places[0]}-{stretch.places[-1] + 1}, beyond {name}, which has "
                f"{lengths[name]:,} bases"
            )
    require_name(path)
    used = {stretch.chromosome: int(lengths[stretch.chromosome]) for stretch in signal.stretches}
    if not used:
        raise DataError(f"{path}: there is no value to write; a bigWig cannot be empty")
    with whole_file(path, refusal=DataError) as part:
        pybigtools.open(str(part), "w").write(used, _bases(signal))


def require_name(path: Path) -> None:
    """DataError for a name that no bigWig can be given here."""
    if not is_utf_8(path):
        raise DataError(f"{path}: the name is not UTF-8, as those of bigWigs that pybigtools writes are; give another")


def _bases(signal: Track) -> Iterator[tuple[str, int, int, float]]:
    for stretch in signal.stretches:
        for position, value in zip(stretch.places.tolist(), stretch.values.tolist(), strict=True):
            yield stretch.chromosome, position, position + 1, value
