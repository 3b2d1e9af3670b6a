"""Sets of regions for atlases: the consensus of peak sets, and background."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from netassay.errors import DataError

if TYPE_CHECKING:
    from netassay.dna.reads.regions import RegionSet


def consensus_peaks(
    peaks: Sequence[Path | str],
    *,
    out: Path | str | None = None,
    width: int = 500,
    genome: Path | str | None = None,
    chromosomes: Sequence[str] = (),
    blacklist: Path | str | None = None,
) -> RegionSet:
    """Merge several sets of peaks into one set of peaks of a fixed width, without overlaps.

    Each peak is a window around its summit or middle. The peak with the highest score is kept, those that overlap it
    are left out, and so on. Scores are column 5 of each file divided by its sum.

    Args:
        peaks: Files of peaks, one for each cell type or sample: BED, narrowPeak, or a table with a header.
        out: New BED file.
        width: Bases of each peak (1 or more).
        genome: FASTA or 2bit; windows beyond the end of a chromosome are left out.
        chromosomes: Use only peaks on these chromosomes.
        blacklist: Regions (BED) whose peaks are left out.

    Returns:
        The regions with score and file, and how many were left out, by reason.

    Raises:
        DataError: For files that cannot be read, and where no peak is left.

    Source:
        Corces et al. (2018) for iterative overlap removal; Bravo Gonzalez-Blas et al. (2023) for its use here.

    Example:
        >>> import netassay
        >>> len(netassay.consensus_peaks(["peaks.bed"], width=51).regions)
        40
    """
    from netassay.dna.reads.regions import consensus_of
    from netassay.files import refuse_existing

    if out is not None:
        refuse_existing(out, refusal=DataError)
    regions = consensus_of(
        [Path(path) for path in peaks],
        width,
        genome=None if genome is None else Path(genome),
        chromosomes=chromosomes,
        blacklist=None if blacklist is None else Path(blacklist),
    )
    if out is not None:
        regions.write(out)
    return regions


def background_regions(
    peaks: Path | str,
    *,
    genome: Path | str,
    out: Path | str | None = None,
    number: int | None = None,
    chromosomes: Sequence[str] = (),
    blacklist: Path | str | None = None,
    seed: int = 0,
) -> RegionSet:
    """Draw regions outside the peaks, with the same widths and GC contents.

    No two overlap, and none holds an unknown base.

    Args:
        peaks: BED, narrowPeak or a table with a header.
        genome: FASTA or 2bit of the genome.
        out: New BED file.
        number: Number of regions; by default one for each peak.
        chromosomes: Use only these chromosomes; by default those of the peaks.
        blacklist: Regions (BED) to avoid.
        seed: Seed of all draws.

    Returns:
        The regions, and how many could not be drawn.

    Raises:
        DataError: For files that cannot be read or do not fit together.

    Source:
        Pampari et al. (2024), ChromBPNet, for background of equal composition.

    Example:
        >>> import netassay
        >>> len(netassay.background_regions("peaks.bed", genome="genome.fa", number=5).regions)
        5
    """
    from netassay.dna.reads.regions import background_of
    from netassay.files import refuse_existing

    if out is not None:
        refuse_existing(out, refusal=DataError)
    regions = background_of(
        Path(peaks),
        Path(genome),
        number=number,
        chromosomes=chromosomes,
        blacklist=None if blacklist is None else Path(blacklist),
        seed=seed,
    )
    if out is not None:
        regions.write(out)
    return regions
