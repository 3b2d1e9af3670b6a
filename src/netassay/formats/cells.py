"""Single cells of .h5ad and .h5mu: their table `obs`, and their sums by group, sparse all the way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netassay.errors import DataError, did_you_mean, first_line
from netassay.extras import require

ACCESSIBILITY = ("atac", "peaks", "ATAC", "peak", "accessibility")
"""Modalities of a .h5mu that hold regions, most likely first."""

CELLS_AT_ONCE = 500


def open_cells(path: Path) -> Any:
    """The AnnData object of a .h5ad, or of the modality of accessibility in a .h5mu.

    Raises DataError for files that are neither, ExtraMissing without the package.
    """
    anndata = require("anndata", "anndata", f"{path}: .h5ad")
    try:
        with path.open("rb"):
            if path.suffix.lower() != ".h5mu":
                return anndata.read_h5ad(path)
        import h5py

        with h5py.File(path) as file:
            cells = anndata.io.read_elem(file["mod"][_modality(path, list(file.get("mod", {})))])
            return _with_shared_columns(cells, anndata.io.read_elem(file["obs"]) if "obs" in file else None)
    except OSError as error:
        raise DataError(f"{path}: cannot be read as .h5ad: {error.strerror or error}") from error
    except DataError:
        raise
    except Exception as error:  # the library raises kinds of its own and of HDF5
        raise DataError(f"{path}: cannot be read as .h5ad: {first_line(error)}") from error


def _with_shared_columns(cells: Any, shared: Any) -> Any:
    """Cells of a modality with the columns of the `obs` that all modalities of a .h5mu share, unless its own."""
    for name in () if shared is None else shared.columns:
        if name not in cells.obs.columns:
            cells.obs[name] = shared[name].reindex(cells.obs_names)
    return cells


def read_obs(path: Path, column: str) -> tuple[list[str], list[Any]]:
    """Names of the cells and their values in a column of `obs`; DataError if there is no such column."""
    cells = open_cells(path)
    return [str(name) for name in cells.obs_names], column_of_cells(cells, column, str(path))


def column_of_cells(cells: Any, column: str, where: str) -> list[Any]:
    """The values of a column of `obs`; DataError, beginning with `where`, if there is none."""
    columns = [str(name) for name in cells.obs.columns]
    if column not in columns:
        hint = did_you_mean(column, columns) if columns else "it has no column"
        raise DataError(f"{where}: obs has no column {column!r}; {hint}")
    return [*cells.obs[column]]


def sums(matrix: Any, groups: Sequence[int], count: int) -> np.ndarray:
    """Sums over the rows (cells) of each group, (count, columns) float64; a group of -1 is left out.

    The matrix, dense or sparse, is summed as it is: memory beside it grows with groups x columns.
    """
    from scipy.sparse import csr_array

    labels = np.asarray(groups)
    total = np.zeros((count, matrix.shape[1]))
    for first in range(0, len(labels), CELLS_AT_ONCE):
        part = labels[first : first + CELLS_AT_ONCE]
        rows = np.flatnonzero(part >= 0)
        weights = csr_array((np.ones(len(rows)), (part[rows], rows)), shape=(count, len(part)))
        added = weights @ matrix[first : first + CELLS_AT_ONCE]
        total += added.toarray() if hasattr(added, "toarray") else added
    return total


def _modality(path: Path, names: Sequence[str]) -> str:
    for name in ACCESSIBILITY:
        if name in names:
            return name
    if len(names) == 1:
        return names[0]
    raise DataError(f"{path}: has the modalities {', '.join(names) or '(none)'}; one must be called atac")
