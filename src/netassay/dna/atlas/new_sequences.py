"""Sequences and regions that are not in an atlas, cut to the length that a network takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import torch
from jaxtyping import UInt8
from torch import Tensor

from netassay.errors import DataError
from netassay.formats.bases import UNKNOWN, known_as
from netassay.formats.fasta import read_sequences, read_windows
from netassay.formats.peak_tables import read_regions


@dataclass(frozen=True, eq=False)
class NewSequences:
    """`codes`, and a row of `where` for each: name, for regions chromosome, start, end (0-based, end exclusive).

    `dropped` counts sequences left out, `notes` those changed, by reason. `contigs` are the lengths of the contigs of
    regions by the names in `where`.
    """

    where: pl.DataFrame
    codes: UInt8[Tensor, "n length"]
    dropped: Mapping[str, int]
    notes: Mapping[str, int]
    contigs: Mapping[str, int] = field(default_factory=dict)


def sequences_of(fasta: Path | str, length: int) -> NewSequences:
    """Every sequence of a FASTA file, brought to one length.

    Longer ones are cut about their middle, shorter ones padded with unknown bases on both sides; both are counted.

    Args:
        fasta: The file, plain or gzip.
        length: Bases of each (1 or more).

    Returns:
        The sequences, and how many were changed, by reason.

    Raises:
        DataError: For letters that are not DNA.

    Example:
        >>> from netassay.dna.atlas import sequences_of
        >>> sequences_of("enhancers.fa", 80).codes.shape
        torch.Size([3, 80])
    """
    names, rows = [], []
    notes: Counter[str] = Counter()
    for name, codes in read_sequences(Path(fasta)):
        spare = len(codes) - length
        if spare:
            notes["longer than the network, cut about the middle" if spare > 0 else "shorter, unknown bases added"] += 1
        names.append(name)
        rows.append(_fit(codes, length))
    return NewSequences(pl.DataFrame({"name": names}), torch.from_numpy(np.stack(rows)), {}, notes)


def regions_of(regions: Path | str, genome: Path | str, length: int) -> NewSequences:
    """A window about the summit or middle of each region of a BED or narrowPeak file, or a table of peaks.

    Regions on a contig that the genome does not have, and windows beyond its end, are left out and counted.

    Args:
        regions: The file.
        genome: FASTA of the genome.
        length: Bases of each window (1 or more).

    Returns:
        The sequences, and how many were left out, by reason.

    Raises:
        DataError: If no region is left, and for files that cannot be read.

    Example:
        >>> from netassay.dna.atlas import regions_of
        >>> windows = regions_of("peaks.bed", "genome.fa", 51)
        >>> windows.codes.shape, sum(windows.dropped.values())
        (torch.Size([40, 51]), 0)
    """
    skipped: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    frame = read_regions(Path(regions), skipped=skipped, notes=counts)
    middle = (pl.col("start") + pl.col("end")) // 2
    centre = pl.coalesce("summit", middle) if "summit" in frame.columns else middle
    begin = (centre - length // 2).alias("begin")
    places = frame.select("name", "chromosome", begin)
    windows = read_windows(Path(genome), places["chromosome"].to_list(), places["begin"].to_numpy(), length)
    inside = ~(windows.missing | windows.beyond)
    dropped = {
        **skipped,
        f"on a contig that {Path(genome).name} does not have": int(windows.missing.sum()),
        "window beyond the end of its contig": int(windows.beyond.sum()),
    }
    if not inside.any():
        raise DataError(f"{regions}: no region is left ({in_words(dropped)}); take the genome they were called on")
    where = places.filter(pl.Series(inside)).select(
        "name", "chromosome", pl.col("begin").alias("start"), (pl.col("begin") + length).alias("end")
    )
    moved = int(((frame["end"] - frame["start"]) != length).sum())
    notes = counts + Counter({f"of another width, {length} bases about summit or middle taken": moved})
    contigs = {name: windows.lengths[known_as(name, windows.lengths) or name] for name in set(where["chromosome"])}
    return NewSequences(where, torch.from_numpy(windows.codes[inside]), dropped, notes, contigs)


def in_words(counts: Mapping[str, int]) -> str:
    """Counts in words, zeros left out."""
    return ", ".join(f"{n:,} {why}" for why, n in counts.items() if n)


def _fit(codes: np.ndarray, length: int) -> np.ndarray:
    spare = len(codes) - length
    if spare >= 0:
        return codes[spare // 2 : spare // 2 + length]
    before = -spare // 2
    return np.pad(codes, (before, -spare - before), constant_values=UNKNOWN)
