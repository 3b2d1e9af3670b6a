"""Contributions of bases by a trained run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from netassay.cli.assay import Store
from netassay.cli.output import write_table
from netassay.errors import ConfigError, DataError

_SOMETIMES = ("contributions.bw", "contributions.bedgraph", "patterns.h5", "patterns.meme")


def attribute(
    run: Annotated[
        str, Parameter(help="Id, beginning of an id, or folder of a finished run of study aitac.")
    ],
    *,
    cell_type: Annotated[str, Parameter(help="The cell type whose output is explained.")],
    fasta: Annotated[Path | None, Parameter(help="Sequences, FASTA, plain or gzip.")] = None,
    bed: Annotated[Path | None, Parameter(help="Regions, BED or narrowPeak; needs --genome.")] = None,
    genome: Annotated[Path | None, Parameter(help="FASTA of the genome; an index beside it is used.")] = None,
    method: Annotated[
        Literal["gradient", "mutagenesis", "deepshap", "integrated_gradients"],
        Parameter(help="deepshap needs the extra attributions."),
    ] = "gradient",
    against: Annotated[
        Literal["mean", "nothing"],
        Parameter(help="Explain the output less the mean over all cell types, or the output itself."),
    ] = "mean",
    patterns: Annotated[
        bool,
        Parameter(negative="", help="Find recurring motifs, by TF-MoDISco (extra modisco): patterns.meme."),
    ] = False,
    out: Annotated[Path, Parameter(help="Folder to write; made if it is not there.")],
    store: Store = Path("runs"),
) -> int:
    """How much each base contributes to the output of a cell type.

    Writes sequences.tsv, contributions.safetensors and, for regions, contributions.bw and contributions.bedgraph.

    The tracks are of the bases that are there, means where regions overlap; the tensors tell of all four bases.

    Example: netassay attribute aitac-1a2b3c --cell-type K562 --fasta enhancers.fa --out contributions
    """
    if (fasta is None) == (bed is None) or (bed is None) != (genome is None):
        raise ConfigError("give either --fasta F, or --bed F and --genome F")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out}: is there and is no folder; name a folder")
    from netassay.cli.results import find_run
    from netassay.formats.meme import write_meme
    from netassay.studies.aitac.interpret.attribution_files import save_attributions, write_tracks
    from netassay.studies.aitac.interpret.modisco import find_patterns
    from netassay.studies.aitac.interpret.run_attributions import attribute_run

    made = attribute_run(
        find_run(run, store), cell_type, fasta=fasta, bed=bed, genome=genome, method=method, against=against
    )
    out.mkdir(parents=True, exist_ok=True)
    for name in _SOMETIMES:  # of an earlier call, whose sequences may have been others
        (out / name).unlink(missing_ok=True)
    write_table(out / "sequences.tsv", made.table)
    save_attributions(out / "contributions.safetensors", made.attributions)
    if bed is not None:
        shared = write_tracks(out, made.attributions, made.table, made.given.contigs)
        if shared:
            print(f"{shared:,} bases lie in several regions: the mean is written", file=sys.stderr)
    if patterns:
        try:
            found = find_patterns(made.attributions, file=out / "patterns.h5")
        except DataError as error:
            raise DataError(f"{error}; the contributions are in {out} all the same") from error
        write_meme(found.motifs, out / "patterns.meme")
    for what, counts in (("left out", made.given.dropped), ("changed", made.given.notes)):
        for reason, count in counts.items():
            if count:
                print(f"{count:,} {what}: {reason}", file=sys.stderr)
    print(out)
    return 0
