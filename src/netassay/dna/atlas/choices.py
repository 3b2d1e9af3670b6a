"""What may be chosen for an atlas, in words; read by the command line, so nothing heavy is loaded here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Form = Literal["auto", "bed", "immgen", "table", "h5ad", "arrays", "fasta"]
Normalisation = Literal["none", "log2", "quantile", "log2-quantile"]
Statistic = Literal["mean", "sum", "max"]
SplitKind = Literal["chromosome", "random", "folds", "chromosome-folds"]
Flaw = Literal["missing-contig", "beyond-contig", "unknown-base", "not-finite", "constant", "twice"]

FLAWS: Mapping[Flaw, str] = {
    "missing-contig": "on a chromosome that the genome does not have",
    "beyond-contig": "beyond the end of the chromosome",
    "unknown-base": "with a base that is not known",
    "not-finite": "with a height that is missing or not finite",
    "constant": "with the same height in every cell type",
    "twice": "of the same bases as a peak before",
}
