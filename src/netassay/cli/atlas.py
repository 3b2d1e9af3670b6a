"""Commands on atlases: build one from files, look into one, simulate one, export one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from netassay.cli.assay import whole_number
from netassay.cli.output import Format, answer, table
from netassay.dna.atlas.choices import Flaw, Form, Normalisation, Statistic
from netassay.errors import DataError

_Out = Annotated[Path, Parameter(help="Folder to make; it must not be there yet.")]
_Atlas = Annotated[str, Parameter(help="dhs4, simulated, or the folder of an atlas.")]


def build(
    *,
    peaks: Annotated[
        Path,
        Parameter(
            help="BED, narrowPeak, ImmGen's peak table, a table with a header (featureCounts, MACS .xls, ...), .h5ad, "
            "or a folder with the AI-TAC sample's arrays."
        ),
    ],
    heights: Annotated[
        list[Path] | None,
        Parameter(
            help="Table (CSV, TSV, Parquet) with a row a peak and a column a cell type; or bigWigs, one a cell type.",
            consume_multiple=True,
            negative="",
        ),
    ] = None,
    genome: Annotated[
        Path | None,
        Parameter(help="FASTA of the genome, plain or gzip (an index beside it is used), or 2bit."),
    ] = None,
    out: _Out,
    form: Annotated[
        Form, Parameter(help="Form of the peaks, where it cannot be told from the file.")
    ] = "auto",
    lineages: Annotated[Path | None, Parameter(help="Table of two columns, cell type and lineage.")] = None,
    normalise: Annotated[
        Normalisation, Parameter(help="What is done to the heights: log2(x + 1), quantile normalisation.")
    ] = "none",
    pseudocount: Annotated[
        float | None, Parameter(help="What the logarithm adds in place of 1; smaller for means far below 1.")
    ] = None,
    width: Annotated[
        int | None,
        Parameter(converter=whole_number, help="Take windows of so many bases around summit or middle."),
    ] = None,
    statistic: Annotated[Statistic, Parameter(help="What of a bigWig is a peak's height.")] = "mean",
    drop: Annotated[
        list[Flaw] | None,
        Parameter(
            help="Leave out, and count, peaks that have this flaw; may be repeated.",
            consume_multiple=True,
            negative="",
        ),
    ] = None,
    order: Annotated[str, Parameter(help="Bases of the rows of one-hot arrays.")] = "ATGC",
    layer: Annotated[
        str | None, Parameter(help="Layer of a .h5ad that holds the heights, in place of X.")
    ] = None,
    common: Annotated[
        float, Parameter(help="Least share of names that peaks and table of heights have in common.")
    ] = 0.5,
    format: Format = "table",
) -> int:
    """Build an atlas from peaks, heights and a genome, and save it as a folder.

    Peaks and heights are joined by name, else by place. BED is 0-based with the end left out, ImmGen's table 1-based
    with the stop included. A base that is not known is a column of zeros. What is dropped, changed or odd is counted.

    Example: netassay atlas build --peaks peaks.bed --heights heights.csv --genome genome.fa --out atlas
    """
    from netassay.dna.atlas.building import build_atlas
    from netassay.files import refuse_existing

    refuse_existing(out, refusal=DataError)
    atlas = build_atlas(
        peaks,
        heights or (),
        genome=genome,
        form=form,
        lineages=lineages,
        normalisation=normalise,
        pseudocount=pseudocount,
        width=width,
        statistic=statistic,
        drop=drop or (),
        order=order,
        layer=layer,
        common=common,
    )
    _answer_saved(atlas, out, format)
    return 0


def info(
    atlas: _Atlas,
    *,
    show: Annotated[
        str | None, Parameter(help="Print this table instead: peaks, or one of a simulated atlas's truth.")
    ] = None,
    verify: Annotated[
        bool, Parameter(help="Read every byte and check it against the digest.", negative="")
    ] = False,
    format: Format = "table",
) -> int:
    """Describe an atlas: sizes, what was dropped, heights, bases, lineages, chromosomes.

    Example: netassay atlas info dhs4 --format json
    """
    from netassay.dna.atlas.atlas import Atlas
    from netassay.dna.atlas.description import describe_atlas
    from netassay.dna.atlas.named import find_atlas

    if verify and atlas not in ("dhs4", "simulated"):
        Atlas.open(atlas, verify=True)
    found = find_atlas(atlas)
    if show is None:
        answer({"atlas": atlas, **describe_atlas(found)}, format)
        return 0
    frames = {"peaks": found.peaks, **found.truth}
    if show not in frames:
        raise DataError(f"atlas {atlas} has no table {show!r}; it has {', '.join(frames)}")
    table(frames[show].to_dicts(), format, columns=frames[show].columns)
    return 0


def simulate(
    *,
    out: _Out,
    peaks: Annotated[int, Parameter(converter=whole_number, help="Peaks to make.")] = 12_000,
    length: Annotated[int, Parameter(converter=whole_number, help="Bases of each.")] = 251,
    noise: Annotated[float, Parameter(help="Standard deviation of the noise on heights.")] = 0.3,
    seed: Annotated[int, Parameter(converter=whole_number, help="Seed of all draws.")] = 0,
    format: Format = "table",
) -> int:
    """Make a simulated atlas with a known grammar, and save it with its truth tables.

    Motifs of JASPAR are written into random sequences; heights follow from sites by a lineage tree and by pairs
    of factors. With the default numbers it is the atlas called "simulated".

    Example: netassay atlas simulate --peaks 500 --seed 1 --out simulated-1
    """
    from netassay.dna.atlas.simulate import simulate_atlas
    from netassay.files import refuse_existing

    refuse_existing(out, refusal=DataError)
    _answer_saved(simulate_atlas(peaks, length=length, noise=noise, seed=seed), out, format)
    return 0


def export(
    atlas: _Atlas,
    out: Annotated[Path, Parameter(help="File to write, ending in .h5ad.")],
) -> int:
    """Write an atlas as .h5ad: cell types are observations, peaks variables; needs the extra anndata.

    Example: netassay atlas export dhs4 dhs4.h5ad
    """
    from netassay.dna.atlas.annotated import export_atlas
    from netassay.dna.atlas.named import find_atlas

    print(export_atlas(find_atlas(atlas), out))
    return 0


COMMANDS = (build, info, simulate, export)


def atlas_app() -> App:
    """The commands that follow the word `atlas`."""
    app = App(
        name="atlas", group="Data", help="Atlases of open chromatin: build, describe, simulate, export."
    )
    for command in COMMANDS:
        app.command(command)
    return app


def _answer_saved(atlas: object, out: Path, format: str) -> None:
    from netassay.dna.atlas.atlas import Atlas
    from netassay.dna.atlas.description import describe_atlas

    assert isinstance(atlas, Atlas)
    atlas.save(out)
    answer({"atlas": str(out), **describe_atlas(atlas)}, format)
