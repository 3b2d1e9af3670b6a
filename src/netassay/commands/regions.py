"""Sets of regions to build atlases of: the consensus of peak sets, and background."""

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
    """Make one set of peaks of a fixed width out of several, no two of which overlap.

    Each peak is a window about its summit or middle. The one with the highest score is taken, those that overlap it are
    left out, and so on. Scores are column 5 of each file over their sum.

    Args:
        peaks: Files of peaks, one for each cell type or sample: BED, narrowPeak, or a table with a header.
        out: New BED file.
        width: Bases of each peak (1 or more).
        genome: FASTA or 2bit; windows over the end of a chromosome are left out.
        chromosomes: Take peaks on these chromosomes alone.
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
    found = consensus_of(
        [Path(path) for path in peaks],
        width,
        genome=None if genome is None else Path(genome),
        chromosomes=chromosomes,
        blacklist=None if blacklist is None else Path(blacklist),
    )
    if out is not None:
        found.write(out)
    return found


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
    """Draw regions off the peaks that have their width and shares of G and C.

    No two overlap, and none holds an unknown base.

    Args:
        peaks: BED, narrowPeak or a table with a header.
        genome: FASTA or 2bit of the genome.
        out: New BED file.
        number: Number of regions; by default one for each peak.
        chromosomes: Take these chromosomes alone; by default those of the peaks.
        blacklist: Regions (BED) to stay off.
        seed: Seed of all draws.

    Returns:
        The regions, and how many could not be drawn.

    Raises:
        DataError: For files that cannot be read or do not fit each other.

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
    found = background_of(
        Path(peaks),
        Path(genome),
        number=number,
        chromosomes=chromosomes,
        blacklist=None if blacklist is None else Path(blacklist),
        seed=seed,
    )
    if out is not None:
        found.write(out)
    return found
