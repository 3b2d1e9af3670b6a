"""Effects of variants by a trained run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from netassay.cli.assay import Store
from netassay.cli.output import require_ending, write_table
from netassay.errors import ConfigError


def variants(
    run: Annotated[
        str, Parameter(help="Id, beginning of an id, or folder of a finished run of study aitac.")
    ],
    *,
    vcf: Annotated[Path, Parameter(help="Variants, VCF, plain or gzip.")],
    genome: Annotated[
        Path, Parameter(help="FASTA of the genome they were called on; an index beside it is used.")
    ],
    out: Annotated[Path, Parameter(help="Table to write: .csv, .tsv or .parquet.")],
    mismatches: Annotated[
        Literal["refuse", "skip"], Parameter(help="What to do where the genome has other bases than REF.")
    ] = "refuse",
    null: Annotated[
        int, Parameter(help="Random single-base changes near the variants that p is told from; 0: no p.")
    ] = 1000,
    store: Store = Path("runs"),
) -> int:
    """Effect of each variant of a VCF file on every cell type of a trained run.

    An effect is the output with the alternative allele less that with the reference, as the mean of both strands.

    p is the share of random single-base changes nearby whose largest effect is at least as large.

    Example: netassay variants aitac-1a2b3c --vcf gwas.vcf --genome hg38.fa --out effects.tsv
    """
    require_ending(out)
    if null < 0:
        raise ConfigError(f"--null {null}: give 0 or more random changes")
    from netassay.cli.results import find_run
    from netassay.studies.aitac.interpret.variants import variant_effects

    made = variant_effects(find_run(run, store), vcf, genome, mismatches=mismatches, null=null)
    write_table(out, made.table())
    for reason, count in made.dropped.items():
        print(f"{count:,} left out: {reason}", file=sys.stderr)
    print(out)
    return 0
