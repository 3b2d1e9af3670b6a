"""The four arrays of the AI-TAC sample (github smaslova/AI-TAC, sample_data) as a draft of an atlas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from netassay.dna.atlas.draft import Draft
from netassay.errors import DataError
from netassay.formats.bases import from_one_hot
from netassay.formats.npy import read_array, read_words

SEQUENCES, HEIGHTS = "one_hot_seqs.npy", "cell_type_array.npy"
PEAKS, CELL_TYPES = "peak_names.npy", "cell_type_names.npy"


def read_sample(folder: Path, order: str) -> Draft:
    """Sequences, heights and names of a folder; rows belong together by their place, and have no coordinates.

    Names of cell types are an array, or three columns (number, name, lineage) where a missing lineage is not a text.
    Raises DataError where a file is missing or shapes do not fit.
    """
    for name in (SEQUENCES, HEIGHTS, PEAKS, CELL_TYPES):
        if not (folder / name).is_file():
            raise DataError(
                f"{folder}: holds no {name}; the form `arrays` is a folder with {SEQUENCES}, {HEIGHTS}, {PEAKS} and "
                f"{CELL_TYPES}"
            )
    codes = from_one_hot(read_array(folder / SEQUENCES), order, label=str(folder / SEQUENCES))
    heights = read_array(folder / HEIGHTS)
    names = [str(name) for name in read_words(folder / PEAKS).reshape(-1)]
    types = read_words(folder / CELL_TYPES)
    cell_types, lineages = _columns(folder / CELL_TYPES, types)
    if heights.dtype.kind not in "iuf" or heights.shape != (len(codes), len(cell_types)):
        raise DataError(
            f"{folder / HEIGHTS}: holds {heights.dtype} of shape {heights.shape}; {len(codes)} sequences and "
            f"{len(cell_types)} cell types need numbers of shape {(len(codes), len(cell_types))}"
        )
    if len(names) != len(codes):
        raise DataError(f"{folder / PEAKS}: holds {len(names)} names for {len(codes)} sequences")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{folder / PEAKS}: peak {twice!r} occurs twice; give each a name of its own")
    missing = pl.Series([None] * len(names), dtype=pl.Int64)
    peaks = pl.DataFrame({"name": names, "chromosome": missing.cast(pl.String), "start": missing, "end": missing})
    return Draft(peaks, np.array(heights, dtype=np.float32), cell_types, folder, codes=codes, lineages=lineages)


def _columns(file: Path, types: np.ndarray) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if types.ndim == 1:
        return tuple(map(str, types)), ("",) * len(types)
    if types.ndim != 2 or types.shape[1] != 3:
        raise DataError(f"{file}: has shape {types.shape}; give names, or three columns: number, name and lineage")
    return tuple(map(str, types[:, 1])), tuple(value if isinstance(value, str) else "" for value in types[:, 2])
