"""A simulated experiment as files: a genome, peaks on it, fragments of single cells, and the type of each cell."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from netassay.dna.atlas.simulate import CHROMOSOMES, SPACING, simulate_atlas
from netassay.errors import DataError
from netassay.files import whole_folder
from netassay.formats.bases import decode
from netassay.numerics.devices import generator

OFF_PEAKS = 0.2
"""Share of the fragments that lie anywhere on the genome."""

SHORTEST, LONGEST_LENGTH = 30, 800


def simulate_reads(
    out: Path | str,
    *,
    peaks: int = 3_000,
    length: int = 251,
    cells: int = 30,
    depth: int = 1_000,
    seed: int = 0,
) -> Path:
    """Write the files of a simulated experiment, whose cells are those of the simulated atlas.

    `netassay.simulate_reads` says the same in more words.

    Args:
        out: New folder.
        peaks: Number of peaks (1 or more).
        length: Bases of each peak (60 to 800).
        cells: Cells of each of the 19 types (1 or more).
        depth: Fragments of each cell (1 or more).
        seed: Seed of all draws.

    Returns:
        The folder.

    Raises:
        DataError: For numbers out of range, and a folder that exists already.

    Example:
        >>> from netassay.dna.atlas import simulate_reads
        >>> sorted(path.name for path in simulate_reads("made", peaks=20, cells=2, depth=10).iterdir())
        ['README.txt', 'cells.csv', 'fragments.tsv.gz', 'genome.fa', 'lineages.csv', 'peaks.bed', 'signal.csv']
    """
    if length > LONGEST_LENGTH or cells < 1 or depth < 1:
        raise DataError(
            f"length = {length}, cells = {cells}, depth = {depth}: allowed are up to {LONGEST_LENGTH} bases, and 1 "
            "cell or more of 1 fragment or more"
        )
    atlas = simulate_atlas(peaks, length=length, noise=0.0, seed=seed)
    draws = np.random.default_rng(generator(seed, "simulate", "reads").initial_seed())
    size = (peaks // CHROMOSOMES + 2) * SPACING
    genome = draws.integers(0, 4, (CHROMOSOMES, size), dtype=np.uint8)
    places = atlas.peaks.select("chromosome", "start", "end", "name")
    contig, start = np.arange(peaks) % CHROMOSOMES, places["start"].to_numpy()
    for row in range(peaks):
        genome[contig[row], start[row] : start[row] + length] = atlas.codes[row].numpy()
    chances = np.exp2(atlas.truth["signal"].to_numpy().astype(np.float64))
    chances /= chances.sum(axis=0)
    barcodes = _barcodes(cells * len(atlas.cell_types))
    with whole_folder(out, refusal=DataError) as part:
        with (part / "genome.fa").open("w", encoding="utf-8") as fasta:
            for number, codes in enumerate(genome):
                fasta.write(f">chr{number + 1}\n{decode(codes)}\n")
        _write_csv(part / "peaks.bed", places, separator="\t", include_header=False)
        types = np.repeat(np.arange(len(atlas.cell_types)), cells)
        labels = [atlas.cell_types[number] for number in types]
        _write_csv(part / "cells.csv", pl.DataFrame({"barcode": barcodes, "cell type": labels}))
        lineages = {"cell type": atlas.cell_types, "lineage": atlas.lineages}
        _write_csv(part / "lineages.csv", pl.DataFrame(lineages))
        _write_csv(part / "signal.csv", atlas.truth["signal"].insert_column(0, atlas.peaks["name"]))
        fragments = pl.concat(
            _fragments(barcode, chances[:, kind], depth, contig, start, (length, size), draws)
            for barcode, kind in zip(barcodes, types, strict=True)
        ).sort("chromosome", "start", "end", "barcode")
        text = fragments.with_columns(pl.lit(1)).write_csv(separator="\t", include_header=False)
        with gzip.open(part / "fragments.tsv.gz", "wb", compresslevel=1) as file:
            file.write(b"# SIMULATED\n" + text.encode())
        (part / "README.txt").write_text(
            "SIMULATED DATA: genome, peaks, cells and fragments were made by netassay atlas reads "
            f"(peaks {peaks}, length {length}, cells {cells}, depth {depth}, seed {seed}).\n"
            "signal.csv: log2 of the accessibility of each peak in each cell type, but for a constant of the type.\n",
            encoding="utf-8",
        )
    return Path(out)


def _write_csv(path: Path, frame: pl.DataFrame, **form: Any) -> None:
    path.write_text(frame.write_csv(**form), encoding="utf-8")


def _barcodes(count: int) -> list[str]:
    """Different words of sixteen bases."""
    letters = "ACGT"
    return ["".join(letters[number >> 2 * position & 3] for position in range(16)) + "-1" for number in range(count)]


def _fragments(
    barcode: str,
    chances: np.ndarray,
    depth: int,
    contig: np.ndarray,
    start: np.ndarray,
    sizes: tuple[int, int],
    draws: np.random.Generator,
) -> pl.DataFrame:
    """Fragments of a cell: most begin in a peak, drawn by its accessibility, the others anywhere."""
    length, size = sizes
    peak = draws.choice(len(chances), depth, p=chances)
    anywhere = draws.random(depth) < OFF_PEAKS
    where = np.where(anywhere, draws.integers(0, CHROMOSOMES, depth), contig[peak])
    widths = draws.integers(SHORTEST, length + 1, depth)
    first = np.where(anywhere, draws.integers(0, size - length, depth), start[peak] + draws.integers(0, length, depth))
    return pl.DataFrame(
        {
            "chromosome": [f"chr{number + 1}" for number in where.tolist()],
            "start": first,
            "end": first + widths,
            "barcode": barcode,
        }
    )
