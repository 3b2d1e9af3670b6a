"""The barcodes of one file looked up in a table of groups."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool

from netassay.dna.reads.groups import BY_FRAGMENT, Groups
from netassay.inputs import utf_8_name

_SAMPLE = ("_fragments", ".fragments", "-fragments", "_atac_fragments")


@dataclass(eq=False)
class Lookup:
    """Rows of a table of groups that may be in a file; `matched` marks those that occur."""

    rows: pl.DataFrame | None
    number: int
    matched: Bool[np.ndarray, " barcodes"]

    @classmethod
    def of(cls, groups: Groups | None, path: Path, number: int) -> Lookup:
        """For the file of that number. Barcodes SAMPLE#BARCODE belong only to the file of that name."""
        if groups is None:
            return cls(None, number, np.zeros(0, bool))
        name = utf_8_name(path).split(".")[0]
        names = {name, *(name.removesuffix(ending) for ending in _SAMPLE)}
        split = pl.col("barcode").str.split_exact("#", 1)
        rows = groups.table.with_row_index("cell").with_columns(
            pl.col("cell").cast(pl.Int64), sample=split.struct[0], bare=split.struct[1]
        )
        rows = rows.filter(pl.col("bare").is_null() | pl.col("sample").is_in(list(names)))
        rows = rows.select("cell", "group", "half", barcode=pl.coalesce("bare", "barcode"))
        return cls(rows, number, np.zeros(len(groups.table), bool))

    def join(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Fragments with their group and half; null for barcodes without one. Without groups, those of the file."""
        if self.rows is None:
            frame = frame.with_columns(group=pl.lit(self.number, pl.Int64), half=pl.lit(BY_FRAGMENT, pl.Int64))
            if frame["barcode"].null_count() == len(frame):
                return frame.with_columns(cell=pl.lit(0, pl.Int64))
            return frame.with_columns(cell=pl.col("barcode").hash(0).reinterpret(signed=True).fill_null(0))
        table = frame.join(self.rows, on="barcode", how="left", maintain_order="left")
        self.matched[table["cell"].drop_nulls().unique().to_numpy()] = True
        return table
