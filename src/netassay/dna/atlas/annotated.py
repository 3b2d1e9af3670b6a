"""Atlases from and to .h5ad."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from netassay.dna.atlas.atlas import PEAK_COLUMNS, Atlas
from netassay.dna.atlas.draft import Draft
from netassay.errors import DataError
from netassay.formats.h5ad import Annotated, annotated_of, read_h5ad, write_h5ad


def read_annotated(source: Any, *, layer: str | None = None, twice: bool = False) -> Draft:
    """The draft of an atlas in a .h5ad or an AnnData object; with its bases if netassay wrote it."""
    if isinstance(source, Path):
        held, path = read_h5ad(source, layer=layer, twice=twice), source
    else:
        held, path = annotated_of(source, IN_MEMORY, layer=layer, twice=twice), Path(IN_MEMORY)
    # peaks x cell types, sparse as long as the matrix is
    matrix = (
        held.matrix.T.tocsr()
        if hasattr(held.matrix, "tocsr")
        else np.ascontiguousarray(held.matrix.T, np.float32)
    )
    draft = Draft(
        held.regions,
        matrix,
        held.cell_types,
        path,
        codes=held.bases,
        lineages=held.lineages,
        simulated=bool(held.facts.get("simulated", False)),
    )
    for reason, count in held.notes.items():
        draft = draft.note(reason, count)
    return draft.note("simulated, as the file says of itself", len(held.regions) if draft.simulated else 0)


IN_MEMORY = "AnnData"
"""What an AnnData object is called in messages."""


def is_annotated(source: object) -> bool:
    """Whether an object is AnnData, or is used like one; the package is not loaded for it."""
    return all(hasattr(source, name) for name in ("X", "obs_names", "var_names", "layers", "varm", "uns"))


def export_atlas(atlas: Atlas, out: Path | str) -> Path:
    """Writes the atlas as .h5ad: cell types as observations, peaks as variables with chrom, start and end.

    Sequences are kept too, so that `build_atlas` takes the file back without a genome. Raises DataError for
    another ending, an atlas without coordinates and a file that is there already; ExtraMissing without the
    extra anndata.
    """
    path = Path(out)
    if path.suffix.lower() != ".h5ad":
        raise DataError(f"{path}: an atlas is exported as .h5ad; give a name with this ending")
    if path.exists():
        raise DataError(f"{path}: is there already; give another name, or delete it first")
    if atlas.peaks["start"].is_null().any():
        raise DataError(f"{path}: the atlas has peaks without coordinates, which .h5ad needs")
    facts: dict[str, Any] = {
        "source": atlas.source,
        "simulated": atlas.simulated,
        "dropped": dict(atlas.dropped),
        "notes": dict(atlas.notes),
    }
    plain = (pl.String, pl.Int64, pl.Float64)
    extra = [name for name, kind in atlas.peaks.schema.items() if name not in PEAK_COLUMNS and kind in plain]
    write_h5ad(
        path,
        Annotated(
            atlas.heights.numpy().T,
            atlas.peaks.select(*PEAK_COLUMNS, *extra),
            atlas.cell_types,
            atlas.lineages,
            bases=atlas.codes.numpy(),
            facts=facts,
        ),
    )
    return path
