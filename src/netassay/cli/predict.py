"""Predictions of a trained run for new sequences or regions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from netassay.cli.assay import Store
from netassay.cli.output import require_ending, write_table
from netassay.errors import ConfigError


def predict(
    run: Annotated[
        str, Parameter(help="Id, beginning of an id, or folder of a finished run of study aitac.")
    ],
    *,
    fasta: Annotated[Path | None, Parameter(help="Sequences, FASTA, plain or gzip.")] = None,
    bed: Annotated[Path | None, Parameter(help="Regions, BED or narrowPeak; needs --genome.")] = None,
    genome: Annotated[
        Path | None, Parameter(help="FASTA of the genome (an index beside it is used), or 2bit.")
    ] = None,
    out: Annotated[Path, Parameter(help="Table to write: .csv, .tsv or .parquet.")],
    store: Store = Path("runs"),
) -> int:
    """Predict how open new sequences or regions are in every cell type of a trained run.

    Outputs are the network's own: of loss pearson their scale means nothing, of cross_entropy they are before softmax.

    Example: netassay predict aitac-1a2b3c --fasta enhancers.fa --out predictions.csv
    """
    if (fasta is None) == (bed is None) or (bed is None) != (genome is None):
        raise ConfigError("give either --fasta F, or --bed F and --genome F")
    require_ending(out)
    from netassay.cli.results import find_run
    from netassay.studies.aitac.prediction import predict_regions, predict_sequences

    found = find_run(run, store)
    if fasta is not None:
        made = predict_sequences(found, fasta)
    else:
        assert bed is not None and genome is not None
        made = predict_regions(found, bed, genome)
    write_table(out, made.table)
    for what, counts in (("left out", made.dropped), ("changed", made.notes)):
        for reason, count in counts.items():
            print(f"{count:,} {what}: {reason}", file=sys.stderr)
    print(out)
    return 0
