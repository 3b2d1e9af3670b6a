"""Atlases from and to .h5ad."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from netassay.dna.atlas.atlas import PEAK_COLUMNS, Atlas
from netassay.dna.atlas.coverage import sum_cells
from netassay.dna.atlas.draft import Draft
from netassay.errors import DataError
from netassay.formats.cells import open_cells
from netassay.formats.h5ad import Annotated, annotated_of, in_memory, read_h5ad, write_h5ad


def read_annotated(
    source: Any,
    *,
    layer: str | None = None,
    twice: bool = False,
    group_by: str | None = None,
    seed: int = 0,
) -> Draft:
    """The draft of an atlas in a .h5ad or an AnnData object; with its bases if netassay wrote it.

    Args:
        source: File, or AnnData object.
        layer: Layer that holds the heights, instead of X.
        twice: Whether a region that occurs twice is left out instead of refused.
        group_by: Column of `obs`, or table of barcodes, by which single cells are summed.
        seed: Seed of the halves of the cells of each group.

    Returns:
        The draft, which `build_atlas` finishes.

    Raises:
        DataError: For a file that is not what it should be.
        ExtraMissing: Where anndata is not installed.

    Example:
        >>> import netassay
        >>> path = netassay.export_atlas("atlas", "atlas.h5ad")
        >>> len(netassay.dna.atlas.read_annotated(path).peaks)
        60
    """
    path = source if isinstance(source, Path) else Path(IN_MEMORY)
    halves = None
    if group_by is not None:
        cells = open_cells(source) if isinstance(source, Path) else source
        groups, notes = sum_cells(cells, group_by, layer, str(path), seed=seed)
        data = annotated_of(groups, str(path), twice=twice)
        parts = [annotated_of(groups, str(path), layer=name, twice=twice).heights.T for name in groups.layers]
        halves = np.stack(parts, axis=2) if parts else None
        data.notes.update(notes)
    elif isinstance(source, Path):
        data = read_h5ad(source, layer=layer, twice=twice)
    else:
        data = annotated_of(source, IN_MEMORY, layer=layer, twice=twice)
    # peaks x cell types, sparse as long as the matrix is
    matrix = data.matrix.T.tocsr() if hasattr(data.matrix, "tocsr") else np.ascontiguousarray(data.matrix.T, np.float32)
    draft = Draft(
        data.regions,
        matrix,
        data.cell_types,
        path,
        codes=data.bases,
        lineages=data.lineages,
        simulated=bool(data.facts.get("simulated", False)),
        halves=halves,
    )
    for reason, count in data.notes.items():
        draft = draft.note(reason, count)
    return draft.note("simulated, as the file says of itself", len(data.regions) if draft.simulated else 0)


IN_MEMORY = "AnnData"
"""Name of an AnnData object in messages."""


def is_annotated(source: object) -> bool:
    """Whether an object is an AnnData object or behaves like one, without loading the package."""
    return all(hasattr(source, name) for name in ("X", "obs_names", "var_names", "layers", "varm", "uns"))


def export_atlas(atlas: Atlas, out: Path | str) -> Path:
    """Write an atlas as .h5ad: cell types as observations, peaks as variables with chrom, start and end.

    Sequences are written too, so that `build_atlas` reads the file back without a genome.

    Args:
        atlas: The atlas.
        out: New file, ending in .h5ad.

    Returns:
        The path of the file.

    Raises:
        DataError: For another ending, an atlas without coordinates, and a file that exists already.
        ExtraMissing: Where anndata is not installed.

    Source:
        Virshup et al. (2024), anndata.

    Example:
        >>> import netassay
        >>> netassay.dna.atlas.export_atlas(netassay.Atlas.open("atlas"), "atlas.h5ad").name
        'atlas.h5ad'
    """
    path = Path(out)
    if path.suffix.lower() != ".h5ad":
        raise DataError(f"{path}: an atlas is exported as .h5ad; give a name with this ending")
    if path.exists():
        raise DataError(f"{path}: exists already; give another name, or delete it first")
    write_h5ad(path, _annotated(atlas, str(path)))
    return path


def to_anndata(atlas: Atlas) -> Any:
    """An AnnData object of an atlas, as `export_atlas` writes it."""
    return in_memory(_annotated(atlas, IN_MEMORY), IN_MEMORY)


def _annotated(atlas: Atlas, where: str) -> Annotated:
    if atlas.peaks["start"].is_null().any():
        raise DataError(f"{where}: the atlas has peaks without coordinates, which AnnData needs")
    facts: dict[str, Any] = {
        "source": atlas.source,
        "simulated": atlas.simulated,
        "dropped": dict(atlas.dropped),
        "notes": dict(atlas.notes),
    }
    plain = (pl.String, pl.Int64, pl.Float64)
    extra = [name for name, kind in atlas.peaks.schema.items() if name not in PEAK_COLUMNS and kind in plain]
    return Annotated(
        atlas.heights.numpy().T,
        atlas.peaks.select(*PEAK_COLUMNS, *extra),
        atlas.cell_types,
        atlas.lineages,
        bases=atlas.codes.numpy(),
        facts=facts,
    )
