"""Cell types x regions as .h5ad, the form of single-cell genomics; needs the extra `anndata`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float32, UInt8

from netassay.errors import DataError, ExtraMissing
from netassay.files import whole_file

BASES, FACTS, LINEAGE = "netassay_bases", "netassay", "lineage"
CHROMOSOME_COLUMNS = ("chrom", "chr", "chromosome", "seqnames", "Chromosome")
START_COLUMNS, END_COLUMNS = ("start", "chromStart", "Start"), ("end", "stop", "chromEnd", "End")
REGION_NAME = re.compile(r"(?P<chromosome>[^:]+):(?P<start>\d+)-(?P<end>\d+)")


@dataclass(frozen=True, eq=False)
class Annotated:
    """Heights (cell types, regions), regions by name (0-based, end exclusive), and what came with them.

    `bases` are codes of the regions' sequences where the file holds them; `facts` what netassay wrote of an atlas.
    """

    heights: Float32[np.ndarray, "cell_types n"]
    regions: pl.DataFrame
    cell_types: tuple[str, ...]
    lineages: tuple[str, ...]
    bases: UInt8[np.ndarray, "n length"] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def read_h5ad(path: Path) -> Annotated:
    """The matrix X of a .h5ad whose observations are cell types and whose variables are regions.

    Coordinates are the columns chrom (or chr), start and end of `var`, or names of the form chr1:100-351; both
    0-based, end exclusive. Lineages are the column `lineage` of `obs`. Raises ExtraMissing without the package,
    DataError for other files, names that come twice, and regions without coordinates.
    """
    anndata = _anndata(path)
    try:
        with path.open("rb"):
            held = anndata.read_h5ad(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read as .h5ad: {error.strerror or error}") from error
    except Exception as error:  # the library raises kinds of its own and of HDF5
        raise DataError(f"{path}: cannot be read as .h5ad: {_first_line(error)}") from error
    if held.X is None:
        raise DataError(f"{path}: has no matrix X; heights are X, cell types x regions")
    values = held.X.toarray() if hasattr(held.X, "toarray") else np.asarray(held.X)
    if values.dtype.kind not in "iufb":
        raise DataError(f"{path}: X holds {values.dtype}; heights are numbers")
    names = [str(name) for name in held.var_names]
    for what, found in (("region", names), ("cell type", [str(name) for name in held.obs_names])):
        if len(set(found)) < len(found):
            twice = next(name for name in found if found.count(name) > 1)
            raise DataError(f"{path}: {what} {twice!r} is there twice; give each a name of its own")
    lineages = [""] * len(held.obs_names)
    if LINEAGE in held.obs:
        lineages = ["" if value is None or value != value else str(value) for value in held.obs[LINEAGE]]
    bases = held.varm.get(BASES)
    return Annotated(
        np.ascontiguousarray(values, dtype=np.float32),
        _regions(path, held.var, names),
        tuple(str(name) for name in held.obs_names),
        tuple(lineages),
        None if bases is None else np.ascontiguousarray(bases, dtype=np.uint8),
        json.loads(str(held.uns[FACTS])) if FACTS in held.uns else {},
    )


def write_h5ad(path: Path, held: Annotated) -> None:
    """Writes a .h5ad that `read_h5ad` takes back unchanged; ExtraMissing without the package, DataError where the
    file cannot be written."""
    anndata = _anndata(path)
    import pandas

    columns = {name: held.regions[name].to_list() for name in held.regions.columns if name != "name"}
    columns["chrom"] = columns.pop("chromosome")
    made = anndata.AnnData(
        X=held.heights,
        obs=pandas.DataFrame({LINEAGE: list(held.lineages)}, index=list(held.cell_types)),
        var=pandas.DataFrame(columns, index=held.regions["name"].to_list()),
        varm={} if held.bases is None else {BASES: held.bases},
        uns={FACTS: json.dumps(dict(held.facts))},
    )
    with whole_file(path, refusal=DataError) as part:
        made.write_h5ad(part)


def _anndata(path: Path) -> ModuleType:
    try:
        import anndata
    except ImportError as error:
        raise ExtraMissing(f"{path}: .h5ad needs the package anndata; install netassay[anndata]") from error
    return anndata


def _regions(path: Path, var: Any, names: Sequence[str]) -> pl.DataFrame:
    found = [
        next((name for name in known if name in var), None)
        for known in (CHROMOSOME_COLUMNS, START_COLUMNS, END_COLUMNS)
    ]
    if all(found):
        chromosomes, starts, ends = (list(var[name]) for name in found)
    else:
        parsed = [REGION_NAME.fullmatch(name) for name in names]
        if not all(parsed):
            raise DataError(
                f"{path}: has no coordinates: `var` has the columns {', '.join(map(str, var.columns)) or '(none)'}, "
                f"and region {names[parsed.index(None)]!r} is no chr1:100-351; give `var` the columns chrom, start "
                "and end (0-based, end exclusive)"
            )
        chromosomes, starts, ends = (
            [match[key] for match in parsed if match] for key in REGION_NAME.groupindex
        )
    try:
        columns = {"start": [int(value) for value in starts], "end": [int(value) for value in ends]}
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: start or end of a region is no whole number ({error})") from error
    frame = pl.DataFrame({"name": names, "chromosome": [str(name) for name in chromosomes], **columns})
    wrong = frame.filter((pl.col("start") < 0) | (pl.col("end") <= pl.col("start")))
    if len(wrong):
        name, _, start, end = wrong.row(0)
        raise DataError(
            f"{path}: region {name!r} is {start}-{end}; allowed are 0 <= start < end (0-based, end exclusive)"
        )
    return frame


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
