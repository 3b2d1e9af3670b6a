"""Two measurements of the same heights: halves of an atlas, or two atlases of replicates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Float32

from netassay.dna.atlas.atlas import Atlas
from netassay.errors import DataError
from netassay.formats.bases import known_as


def halves_of(
    atlas: Atlas, replicate: Atlas | None = None, chromosomes: Sequence[str] = ()
) -> tuple[Float32[np.ndarray, "n cell_types 2"], pl.DataFrame]:
    """Both measurements of each height, and the peaks; on the given chromosomes only, if any.

    Raises DataError for an atlas without halves, a replicate of other peaks or cell types, and chromosomes without a
    peak.
    """
    if replicate is None:
        if atlas.halves is None:
            raise DataError(
                f"atlas {atlas.source or 'without a source'!r} holds no halves, from which a ceiling follows; build it "
                "from fragments or single cells (--fragments, --group-by), or give a replicate (--replicate)"
            )
        halves, peaks = atlas.halves.numpy(), atlas.peaks
    else:
        halves, peaks = _beside(atlas, replicate), atlas.peaks
    if chromosomes:
        names = [name for name in peaks["chromosome"].drop_nulls().unique() if known_as(name, {*chromosomes})]
        mask = peaks["chromosome"].is_in(names).fill_null(False).to_numpy()
        if not mask.any():
            raise DataError(f"the atlas has no peak on {', '.join(chromosomes)}")
        halves, peaks = halves[mask], peaks.filter(pl.Series(mask))
    return halves, peaks


def _beside(atlas: Atlas, replicate: Atlas) -> np.ndarray:
    """Heights of both, rows by name of the peak and columns by cell type."""
    if not atlas.peaks["name"].equals(replicate.peaks["name"]):
        rows = {name: row for row, name in enumerate(replicate.peaks["name"])}
        missing = [name for name in atlas.peaks["name"] if name not in rows]
        if missing:
            raise DataError(
                f"the replicate has no peak {missing[0]!r} ({len(missing):,} such); build both of one set of peaks"
            )
        order = [rows[name] for name in atlas.peaks["name"]]
    else:
        order = [*range(len(atlas))]
    columns = {name: column for column, name in enumerate(replicate.cell_types)}
    if absent := [name for name in atlas.cell_types if name not in columns]:
        raise DataError(f"the replicate has no cell type {absent[0]!r}; it has {', '.join(replicate.cell_types[:8])}")
    theirs = replicate.heights.numpy()[order][:, [columns[name] for name in atlas.cell_types]]
    return np.stack([atlas.heights.numpy(), theirs], axis=2)
