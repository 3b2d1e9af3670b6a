"""Which peaks an experiment marks: by the coordinates of its regions, or by the bases of its sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Int64, UInt8

from netassay.errors import DataError
from netassay.extras import require
from netassay.formats.bases import UNKNOWN, known_as

LONGEST_WORD = 32
"""Number of bases that fit in 64 bits."""

SHIFTS = (-200_000, -100_000, 100_000, 200_000)
"""Bases by which regions are moved to see how many peaks they mark by chance."""

_AT_ONCE = 8_192


@dataclass(frozen=True, eq=False)
class Overlap:
    """`marked`, and `extent`: the number of words a peak shares with the sequences, or of bases with one region.

    `chance` is the share of peaks marked by regions moved to other places (NaN for sequences). `left_out` counts
    regions, sequences and peaks that could not be compared, by reason.
    """

    marked: Bool[np.ndarray, " n"]
    extent: Int64[np.ndarray, " n"]
    chance: float
    left_out: dict[str, int]


def by_sequence(
    codes: UInt8[np.ndarray, "n length"],
    sequences: Sequence[UInt8[np.ndarray, " bases"]],
    *,
    k: int = 24,
    min_words: int = 14,
) -> Overlap:
    """Mark peaks that share words of bases with sequences, on either strand.

    Words with an unknown base are ignored. Fourteen consecutive words span k + 13 bases. `min_words` = 1 accepts a
    single shared word, which for k = 24 marks many repeats: families of transposable elements share such words all
    over a genome.

    Args:
        codes: (n, length) bases of the peaks.
        sequences: Bases of the sequences.
        k: Bases of a word (8 to 32).
        min_words: Minimum number of positions of a peak at which a word of a sequence begins (1 or more).

    Returns:
        Which peaks are marked, and by how much.

    Raises:
        DataError: For k outside 8 to 32, and if no word can be compared.

    Example:
        >>> import numpy as np
        >>> from netassay.dna.agreement import by_sequence
        >>> codes = np.random.default_rng(0).integers(0, 4, (3, 100)).astype(np.uint8)
        >>> by_sequence(codes, [codes[0]]).marked.tolist()
        [True, False, False]
    """
    if not 8 <= k <= LONGEST_WORD or min_words < 1:
        raise DataError(
            f"k = {k}, min_words = {min_words}: allowed are words of 8 to {LONGEST_WORD} bases, at least one"
        )
    if codes.shape[1] < k + min_words - 1:
        raise DataError(
            f"peaks of {codes.shape[1]} bases have no {min_words} words of {k} bases; ask for fewer or shorter ones"
        )
    lengths = np.array([len(sequence) for sequence in sequences])
    pieces = []
    for length in np.unique(lengths[lengths >= k]).tolist():
        batch = np.stack([sequence for sequence in sequences if len(sequence) == length])
        pieces += [word[valid] for word, valid in (words(part, k) for part in _parts(batch))]
    looked_for = pl.Series(np.concatenate(pieces) if pieces else [], dtype=pl.UInt64).unique()
    if not len(looked_for):
        raise DataError(f"none of the {len(sequences):,} sequences holds {k} known bases in a row to compare")
    extent = []
    for part in _parts(codes):
        word, valid = words(part, k)
        hit = pl.Series(word.ravel()).is_in(looked_for.implode()).to_numpy().reshape(word.shape)
        extent.append((hit & valid).sum(axis=1))
    shared = np.concatenate(extent)
    short = int((lengths < k).sum())
    left_out = {f"sequences shorter than {k} bases": short} if short else {}
    return Overlap(shared >= min_words, shared, float("nan"), left_out)


def words(codes: UInt8[np.ndarray, "n length"], k: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, length - k + 1): the word at each place as a number, the lesser of both strands; whether it is known."""
    bases = codes.astype(np.uint64) & np.uint64(3)
    letter: _Words = (bases, np.uint64(3) - bases, 1)
    prefix = letter
    # the digits of k in binary after the first: a word is doubled, and where the digit is 1, a base is added
    for digit in f"{k:b}"[1:]:
        prefix = _append(prefix, prefix)
        prefix = _append(prefix, letter) if digit == "1" else prefix
    forward, reverse, _ = prefix
    unknown = np.zeros((len(codes), codes.shape[1] + 1), np.int32)
    np.cumsum(codes == UNKNOWN, axis=1, out=unknown[:, 1:])
    return np.minimum(forward, reverse), unknown[:, k:] == unknown[:, :-k]


def by_coordinates(peaks: pl.DataFrame, regions: pl.DataFrame, *, min_bases: int = 1) -> Overlap:
    """Mark peaks that overlap regions.

    Chromosomes match by name or by a synonym (with or without "chr", chrM for MT). Peaks without coordinates are not
    marked, but counted.

    Args:
        peaks: Columns chromosome, start, end (0-based, end exclusive).
        regions: The same columns.
        min_bases: Minimum number of bases in common (1 or more).

    Returns:
        Which peaks are marked, and by how much.

    Raises:
        DataError: If the tables have no chromosome in common.
        ExtraMissing: Where bioframe is not installed.

    Example:
        >>> import polars as pl
        >>> from netassay.dna.agreement import by_coordinates
        >>> peaks = pl.DataFrame({"chromosome": ["chr1", "chr1"], "start": [0, 500], "end": [100, 600]})
        >>> by_coordinates(peaks, peaks[:1]).marked.tolist()
        [True, False]
    """
    coordinates = peaks.select("chromosome", "start", "end").with_row_index("peak").drop_nulls()
    shared = _named_alike(coordinates["chromosome"], regions)
    if not len(shared):
        ours, theirs = (
            ", ".join(frame["chromosome"].drop_nulls().unique().sort().head(5).to_list()) or "none"
            for frame in (peaks, regions)
        )
        raise DataError(
            f"peaks and regions have no chromosome in common (peaks: {ours}; regions: {theirs}); take regions "
            "called on the peaks' assembly"
        )
    extent = np.zeros(len(peaks), np.int64)
    extent[coordinates["peak"].to_numpy()] = _bases_shared(coordinates, shared)
    moved = [
        (_bases_shared(coordinates, shared.with_columns(pl.col("start", "end") + shift)) >= min_bases).mean()
        for shift in SHIFTS
    ]
    counts = {
        "peaks without a place": len(peaks) - len(coordinates),
        "regions on chromosomes without a peak": len(regions) - len(shared),
    }
    left_out = {why: count for why, count in counts.items() if count}
    return Overlap(extent >= max(1, min_bases), extent, float(np.mean(moved)), left_out)


_Words = tuple[np.ndarray, np.ndarray, int]


def marked_by(path: Path, peaks: pl.DataFrame, regions: pl.DataFrame, *, min_bases: int = 1) -> Bool[np.ndarray, " n"]:
    """Which peaks the regions of a file mark, as `by_coordinates`; an error names the file."""
    try:
        return by_coordinates(peaks, regions, min_bases=min_bases).marked
    except DataError as refused:
        raise DataError(f"{path}: {refused}") from refused


def _append(left: _Words, right: _Words) -> _Words:
    """Words of `left` each followed by the word of `right`; the other strand reads them the other way round."""
    (forward, reverse, width), (after, reverse_after, more) = left, right
    places = min(forward.shape[1], after.shape[1] - width)
    ahead, behind = np.uint64(2 * more), np.uint64(2 * width)
    return (
        (forward[:, :places] << ahead) | after[:, width : width + places],
        (reverse_after[:, width : width + places] << behind) | reverse[:, :places],
        width + more,
    )


def _parts(codes: np.ndarray) -> list[np.ndarray]:
    return [codes[first : first + _AT_ONCE] for first in range(0, len(codes), _AT_ONCE)]


def _named_alike(chromosomes: pl.Series, regions: pl.DataFrame) -> pl.DataFrame:
    """Regions on chromosomes that the peaks have, under the peaks' names."""
    ours = set(chromosomes.unique())
    names = {}
    for name in regions["chromosome"].unique():
        if alias := known_as(name, ours):
            names[name] = alias
    common = regions.select("chromosome", "start", "end").filter(pl.col("chromosome").is_in(list(names)))
    return common.with_columns(pl.col("chromosome").replace_strict(names, return_dtype=pl.String))


def require_overlap() -> Any:
    """The library that overlaps regions. ExtraMissing where it is not installed."""
    return require("bioframe", "dna", "overlap of peaks and regions")


def _bases_shared(peaks: pl.DataFrame, regions: pl.DataFrame) -> Int64[np.ndarray, " peaks"]:
    """The most bases that each peak has in common with one region."""
    bioframe = require_overlap()
    import pandas as pd

    ours, theirs = (
        pd.DataFrame(
            {
                "chrom": frame["chromosome"].to_list(),
                "start": frame["start"].to_numpy(),
                "end": frame["end"].to_numpy(),
            }
        )
        for frame in (peaks, regions)
    )
    pairs = bioframe.overlap(ours, theirs, how="inner", return_index=True, return_overlap=True)
    largest = np.zeros(len(peaks), np.int64)
    bases = (pairs["overlap_end"] - pairs["overlap_start"]).to_numpy(np.int64)
    np.maximum.at(largest, pairs["index"].to_numpy(np.int64), bases)
    return largest
