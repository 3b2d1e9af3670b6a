"""Atlases: built from files, simulated, described, and exported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netassay.dna.atlas.choices import Flaw, Form, Normalisation, Statistic
from netassay.dna.reads.choices import Count, Duplicates, Scale
from netassay.errors import DataError
from netassay.extras import require

if TYPE_CHECKING:
    from polars import DataFrame

    from netassay.dna.atlas.atlas import Atlas
    from netassay.dna.atlas.grammar import Grammar
    from netassay.dna.ceiling.limit import Ceiling


def build_atlas(
    peaks: Path | str | Any,
    heights: Path | str | Sequence[Path | str] = (),
    *,
    genome: Path | str | None = None,
    out: Path | str | None = None,
    form: Form = "auto",
    lineages: Path | str | None = None,
    normalisation: Normalisation = "none",
    pseudocount: float | None = None,
    width: int | None = None,
    statistic: Statistic = "mean",
    drop: Sequence[Flaw] = (),
    order: str = "ATGC",
    layer: str | None = None,
    common: float = 0.5,
    fragments: Sequence[Path | str] = (),
    group_by: str | None = None,
    count: Count = "insertions",
    duplicates: Duplicates = "auto",
    tag: str = "CB",
    quality: int = 30,
    profiles: Path | str | None = None,
    scale: Scale = "none",
    chromosomes: Sequence[str] = (),
    blacklist: Path | str | None = None,
    seed: int = 0,
) -> Atlas:
    """Build an atlas from peaks, heights and a genome, and save it as a folder.

    Peaks and heights are joined by name, else by place. BED is 0-based, end exclusive; ImmGen's table is 1-based, stop
    inclusive. An unknown base is a column of zeros. Everything dropped, changed or unusual is counted. For fragments,
    the cuts at both ends are counted, at the first base and the last; fragment files of 10x are already shifted, BAM
    is shifted by +4 and -5. Cells of each group are split into halves, for the ceiling of scores.

    Args:
        peaks: BED, narrowPeak, ImmGen's peak table, a table with a header (featureCounts, MACS .xls, ...), .h5ad, or a
            folder with the arrays of the AI-TAC sample; or FASTA, whose labels are the table of heights; in Python also
            an AnnData object.
        heights: Table (CSV, TSV, Parquet) with a row for each peak and a column for each cell type; or bigWigs, one
            for each cell type and named after it; or sets of regions (.bed), one for each class: 1 for peaks of which
            they cover half, else 0.
        genome: FASTA of the genome, plain or gzip (an index beside it is used), or 2bit.
        out: New folder for the atlas.
        form: Form of the peaks, if it cannot be recognised from the file.
        lineages: Table of two columns, cell type and lineage.
        normalisation: How heights are normalised: log2(x + 1), quantile normalisation, or both.
        pseudocount: Number added before the logarithm instead of 1; smaller for means far below 1.
        width: Take windows of this many bases (1 to 1,000,000) around the summit or middle.
        statistic: Statistic of a bigWig over a peak, used as its height.
        drop: Leave out, and count, peaks that have this flaw; may be repeated.
        order: Order of the bases in the rows of one-hot arrays.
        layer: Layer of a .h5ad that holds the heights, instead of X.
        common: Smallest share (0 to 1) of names that peaks and the table of heights must have in common.
        fragments: Fragment files (fragments.tsv.gz, sorted or not) or BAM files, from which heights are counted
            instead; each is a cell type, named after the file, unless barcodes are grouped.
        group_by: How cells are summed: table of two columns, barcode (or SAMPLE#BARCODE) and cell type; FILE:COLUMN,
            a column of a .h5ad's obs or of a table; of a .h5ad of cells, the column of obs.
        count: insertions counts cuts within the peak, fragments counts fragments that overlap it.
        duplicates: Whether fragments with the same barcode, start and end count once; auto: in BAM files.
        tag: Tag of a BAM file that holds the barcode.
        quality: Smallest mapping quality of reads of a BAM file (0 to 255).
        profiles: New folder for a bigWig of the cuts at every base of the peaks, for each cell type.
        scale: How counts are made comparable before they are normalised: to a million, by the median ratio of peaks,
            or by the peaks that are similar in all cell types.
        chromosomes: Use only peaks on these chromosomes.
        blacklist: Regions (BED) whose peaks are left out.
        seed: Seed of the halves of cells or fragments.

    Returns:
        The atlas.

    Raises:
        DataError: For files that cannot be read or do not fit together, with file, line and remedy, and for a folder
            that already exists.
        ExtraMissing: For bigWig, BAM or .h5ad without the package that reads it.

    Source:
        Maslova et al. (2020) and Yoshida et al. (2019) for the ImmGen atlas; Buenrostro et al. (2013) for the shift.

    Example:
        >>> import netassay
        >>> len(netassay.build_atlas("peaks.bed", "heights.csv", genome="genome.fa"))
        40
    """
    from netassay.dna.atlas.building import build_atlas as build
    from netassay.dna.atlas.coverage import Reads
    from netassay.files import refuse_existing

    for folder in (out, profiles):
        if folder is not None:
            refuse_existing(Path(folder), refusal=DataError)
    files = [fragments] if isinstance(fragments, str | Path) else fragments
    if profiles is not None and not files:
        raise DataError("profiles are counted from fragments; add --fragments (fragments=), or leave --profiles out")
    if profiles is not None:
        require("pybigtools", "dna", f"profiles {profiles}: bigWig")
    reads = Reads(
        tuple(map(Path, files)),
        group_by,
        count,
        duplicates,
        tag,
        quality,
        None if profiles is None else Path(profiles),
        seed,
    )
    atlas = build(
        peaks,
        heights,
        genome=genome,
        form=form,
        lineages=lineages,
        normalisation=normalisation,
        pseudocount=pseudocount,
        width=width,
        statistic=statistic,
        drop=drop,
        order=order,
        layer=layer,
        common=common,
        scale=scale,
        chromosomes=chromosomes,
        blacklist=blacklist,
        reads=reads,
    )
    if out is not None:
        atlas.save(out)
    return atlas


def describe_atlas(
    atlas: Atlas | Path | str, *, show: str | None = None, verify: bool = False
) -> dict[str, Any] | DataFrame:
    """Describe an atlas: sizes, what was dropped, heights, bases, lineages, chromosomes.

    Args:
        atlas: dhs4, simulated, or the folder of an atlas; in Python also an atlas.
        show: Return this table instead: peaks, or a truth table of a simulated atlas.
        verify: Read every byte and check it against the digest.

    Returns:
        The description, in JSON's types. heights: mean, smallest and largest over all, and the mean over peaks of the
        standard deviation across cell types. bases: shares of G and C and of unknown bases, observed over expected
        CpG. With `show`, that table.

    Raises:
        DataError: For a folder that holds no atlas, a damaged one, and a table that the atlas does not have.
        ExtraMissing: If the package of dhs4 is not installed.

    Source:
        Gardiner-Garden, Frommer (1987) for observed over expected CpG.

    Example:
        >>> import netassay
        >>> atlas = netassay.simulate_atlas(40, length=80)
        >>> description = netassay.describe_atlas(atlas)
        >>> description["peaks"], description["length"], description["simulated"]
        (40, 80, True)
    """
    from netassay.dna.atlas.atlas import Atlas
    from netassay.dna.atlas.description import describe_atlas as describe

    if verify and not isinstance(atlas, Atlas) and atlas not in ("dhs4", "simulated"):
        Atlas.open(atlas, verify=True)
    opened = _opened(atlas)
    if show is None:
        header = {} if isinstance(atlas, Atlas) else {"atlas": str(atlas)}
        return {**header, **describe(opened)}
    frames = {"peaks": opened.peaks, **opened.truth}
    if show not in frames:
        raise DataError(f"atlas {atlas} has no table {show!r}; it has {', '.join(frames)}")
    return frames[show]


def _opened(atlas: Atlas | Path | str) -> Atlas:
    from netassay.dna.atlas.atlas import Atlas
    from netassay.dna.atlas.named import find_atlas

    return atlas if isinstance(atlas, Atlas) else find_atlas(atlas)


def simulate_atlas(
    peaks: int = 12_000,
    *,
    out: Path | str | None = None,
    length: int = 251,
    noise: float = 0.3,
    cells: int = 0,
    depth: int = 1_000,
    seed: int = 0,
    grammar: Grammar | None = None,
) -> Atlas:
    """Make a simulated atlas with a known grammar, and save it with its truth tables.

    Motifs of JASPAR are planted in random sequences; heights follow from sites by a lineage tree and by pairs of
    factors. height = baseline + level of the peak + sum over factors of (strength of the sites x effect in the cell
    type) + sum over pairs of (product of strengths x weight of the distance x effect) + Gaussian noise. With the
    default sizes it is the atlas called "simulated".

    Args:
        peaks: Number of peaks (1 or more).
        out: New folder for the atlas.
        length: Bases of each peak (60 or more).
        noise: Standard deviation of the noise on heights (0 or more).
        cells: Draw this many cells of each type (2 or more) in place of the noise; heights are log2(counts + 1), the
            atlas also holds the heights from each half of the cells, and the true ceiling is known: the score of
            `signal`.
        depth: Counts of each cell in peaks (1 or more).
        seed: Seed of all draws.
        grammar: Factors, pairs and lineages; by default those of haematopoiesis.

    Returns:
        The atlas. `truth` holds tree, factors, motifs, effects, pairs, pair_effects, sites, pair_sites and signal, the
        heights without noise.

    Raises:
        DataError: For numbers out of range, and for a folder that exists already.

    Source:
        Rauluseviciute et al. (2024) for JASPAR's motifs; the grammar is netassay's own.

    Example:
        >>> import netassay
        >>> netassay.simulate_atlas(40, length=80).heights.shape[0]
        40
    """
    from netassay.dna.atlas.grammar import HAEMATOPOIESIS
    from netassay.dna.atlas.simulate import simulate_atlas as simulate
    from netassay.files import refuse_existing

    if out is not None:
        refuse_existing(Path(out), refusal=DataError)
    atlas = simulate(peaks, length=length, noise=noise, seed=seed, grammar=grammar or HAEMATOPOIESIS)
    if cells:
        from netassay.dna.atlas.drawn_cells import draw_cells

        atlas = draw_cells(atlas, cells, depth, seed=seed)
    if out is not None:
        atlas.save(out)
    return atlas


def simulate_reads(
    out: Path | str,
    *,
    peaks: int = 3_000,
    length: int = 251,
    cells: int = 30,
    depth: int = 1_000,
    seed: int = 0,
) -> Path:
    """Write the files of a simulated single-cell experiment: a genome, peaks, fragments, and the type of each cell.

    Sequences and accessibility are those of the simulated atlas. A fifth of the fragments is placed at random.

    Args:
        out: New folder.
        peaks: Number of peaks (1 or more).
        length: Bases of each peak (60 to 800).
        cells: Cells of each of the 19 types (1 or more).
        depth: Fragments of each cell (1 or more).
        seed: Seed of all draws.

    Returns:
        The folder, with genome.fa, peaks.bed, fragments.tsv.gz, cells.csv, lineages.csv, and signal.csv, the truth.

    Raises:
        DataError: For numbers out of range, and a folder that exists already.

    Source:
        Rauluseviciute et al. (2024) for JASPAR's motifs; the grammar is netassay's own.

    Example:
        >>> import netassay
        >>> netassay.simulate_reads("reads", peaks=20, cells=2, depth=10).name
        'reads'
    """
    from netassay.dna.atlas.simulated_reads import simulate_reads as simulate

    return simulate(out, peaks=peaks, length=length, cells=cells, depth=depth, seed=seed)


def score_ceiling(
    atlas: Atlas | Path | str,
    *,
    replicate: Atlas | Path | str | None = None,
    chromosomes: Sequence[str] = (),
    centred: bool = False,
    seed: int = 0,
) -> Ceiling:
    """Estimate the largest score that any model could reach on an atlas, from halves of its cells, or a replicate.

    Noise in the heights keeps even a perfect model from r = 1. The scores are those of the aitac study: the
    mean over peaks of r across cell types, and r over peaks for each cell type.

    Args:
        atlas: Folder of an atlas that holds halves (built from fragments or cells); in Python also an atlas.
        replicate: Atlas of the same peaks and cell types from other cells or animals; the ceiling is then that of a
            score against one of the two.
        chromosomes: Use only peaks on these chromosomes, such as those of the test set.
        centred: Compute the r of each cell type from rows minus their mean, as for the losses pearson and
            cross_entropy.
        seed: Seed of the bootstrap.

    Returns:
        The overall ceiling with its 95 % interval, and those of each peak and each cell type; a note instead if the
        halves agree no better than chance.

    Raises:
        DataError: For an atlas without halves, and a replicate of other peaks or cell types.

    Source:
        Spearman (1904, 1910), Brown (1910); Kiefer and Wolfowitz (1956) for the mean over peaks.

    Example:
        >>> import netassay
        >>> atlas = netassay.simulate_atlas(300, length=80, cells=20, depth=3000)
        >>> 0.8 < netassay.score_ceiling(atlas).overall.value < 1
        True
    """
    from netassay.dna.atlas.halves import halves_of
    from netassay.dna.ceiling.limit import ceiling_of

    opened = _opened(atlas)
    second = None if replicate is None else _opened(replicate)
    halves, peaks = halves_of(opened, second, chromosomes)
    return ceiling_of(
        halves,
        peaks,
        cell_types=opened.cell_types,
        target="both" if second is None else "one",
        centred=centred,
        seed=seed,
    )


def export_atlas(atlas: Atlas | Path | str, out: Path | str) -> Path:
    """Write an atlas as .h5ad: cell types are observations, peaks variables; needs the extra anndata.

    Sequences are written too, so that `build_atlas` reads the file back without a genome.

    Args:
        atlas: dhs4, simulated, or the folder of an atlas; in Python also an atlas.
        out: New file to write, ending in .h5ad.

    Returns:
        The path of the file.

    Raises:
        DataError: For another ending, an atlas without coordinates, and a file that exists already.
        ExtraMissing: If anndata is not installed.

    Source:
        Virshup et al. (2024), anndata.

    Example:
        >>> import netassay
        >>> netassay.export_atlas("atlas", "atlas.h5ad").name
        'atlas.h5ad'
    """
    from netassay.dna.atlas.annotated import export_atlas as export

    return export(_opened(atlas), out)
