"""Cell types x regions as .h5ad, the form of single-cell genomics; needs the extra `anndata`."""

from __future__ import annotations

import gc
import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from errno import EIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float32, UInt8

from netassay.errors import DataError, did_you_mean, first_line
from netassay.extras import require
from netassay.files import whole_file
from netassay.formats.bases import known_as
from netassay.formats.cells import open_cells
from netassay.formats.headings import CHROMOSOME, END, START, column_of, place_of
from netassay.inputs import refuse_odd_file

BASES, FACTS, LINEAGE = "netassay_bases", "netassay", "lineage"
DIGESTS = "netassay_digests"
"""Where in `uns` netassay writes a SHA-256 of each part that it wrote."""
MOST_CELL_TYPES = 500
"""More rows than this are taken for single cells, and noted."""
_BARCODE = re.compile(r"(\w*[#_:-])?[ACGTN]{4,}[0-9]*(-[0-9]+)?")


@dataclass(frozen=True, eq=False)
class Annotated:
    """Heights (cell types, regions), regions by name (0-based, end exclusive), and what came with them.

    `matrix` holds the heights, numbers of any kind, dense or a sparse matrix of SciPy, as they were given. `bases` are
    codes of the regions' sequences where the file holds them; `facts` what netassay wrote of an atlas; `notes` counts
    what was read differently or looks wrong, by reason.
    """

    matrix: Any
    regions: pl.DataFrame
    cell_types: tuple[str, ...]
    lineages: tuple[str, ...]
    bases: UInt8[np.ndarray, "n length"] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)

    @property
    def heights(self) -> Float32[np.ndarray, "cell_types n"]:
        """The heights as a dense array, a new one at each call."""
        values = self.matrix.toarray() if hasattr(self.matrix, "toarray") else self.matrix
        return np.ascontiguousarray(values, dtype=np.float32)


def read_h5ad(path: Path, *, layer: str | None = None, twice: bool = False) -> Annotated:
    """The matrix X of a .h5ad whose observations are cell types and whose variables are regions; see `annotated_of`.

    Raises ExtraMissing without the package, DataError for other files, for one whose parts are not those that netassay
    wrote, and as `annotated_of` does.
    """
    refuse_odd_file(path)
    adata = open_cells(path)
    annotated = annotated_of(adata, str(path), layer=layer, twice=twice)
    if layer is None and DIGESTS in adata.uns:
        _compare(path, adata.uns[DIGESTS], _digests(annotated))
    return annotated


def _digests(annotated: Annotated) -> dict[str, str]:
    """A SHA-256 of each part that an atlas is built from."""
    parts = {
        "cell types": json.dumps([annotated.cell_types, annotated.lineages]).encode(),
        "regions": json.dumps(
            [annotated.regions[name].to_list() for name in ("name", "chromosome", "start", "end")]
        ).encode(),
        "heights": annotated.heights.tobytes(),
    }
    if annotated.bases is not None:
        parts["bases"] = annotated.bases.tobytes()
    return {part: hashlib.sha256(data).hexdigest() for part, data in parts.items()}


def _compare(path: Path, recorded: Any, digests: Mapping[str, str]) -> None:
    """DataError for a part that is not as recorded; one that was taken out, such as the bases, may be missing."""
    try:
        expected = json.loads(str(recorded))
        differing = [part for part, digest in digests.items() if expected.get(part, digest) != digest]
    except (AttributeError, ValueError, RecursionError):
        differing = [DIGESTS]
    if differing:
        raise DataError(
            f"{path}: {' and '.join(differing)} are not those that netassay wrote (SHA-256 differs): it is damaged, or "
            f"was changed since; export the atlas again, or, if it was changed on purpose, delete uns[{DIGESTS!r}]"
        )


def annotated_of(adata: Any, where: str, *, layer: str | None = None, twice: bool = False) -> Annotated:
    """What an AnnData object holds: X, or a layer by name; without X its only layer.

    Coordinates are the columns chrom (or chr, seqnames, ...), start and end of `var`, or names of regions such as
    chr1:100-351, chr1-100-351 and chr1_100_351, which may also be in a column `interval`; both 0-based, end
    exclusive. Lineages are the column `lineage` of `obs`. With `twice`, a repeated region is left out, and
    counted. Raises DataError, beginning with `where`, for names that come twice, regions without coordinates, and
    columns that disagree with the names. Nothing is changed in the object; a sparse matrix stays sparse.
    """
    notes: Counter[str] = Counter()
    values = _matrix(adata, where, layer, notes)
    names = [str(name) for name in adata.var_names]
    cell_types = [str(name) for name in adata.obs_names]
    keep = _named_once(names, where, "region", twice, notes)
    _named_once(cell_types, where, "cell type", False, notes)
    lineages = [""] * len(cell_types)
    if LINEAGE in adata.obs:
        lineages = ["" if value is None or value != value else str(value) for value in adata.obs[LINEAGE]]
    bases = adata.varm.get(BASES)
    regions = _regions(where, adata.var, names, notes, own=FACTS in adata.uns)
    if len(keep) < len(names):
        regions, values = regions[keep], values[:, keep]
        bases = None if bases is None else np.asarray(bases)[keep]
    _note_cells(adata, cell_types, notes)
    return Annotated(
        values,
        regions,
        tuple(cell_types),
        tuple(lineages),
        None if bases is None else np.ascontiguousarray(bases, dtype=np.uint8),
        _facts(where, adata.uns[FACTS]) if FACTS in adata.uns else {},
        notes,
    )


def _matrix(adata: Any, where: str, layer: str | None, notes: Counter[str]) -> Any:
    """X or the layer that is asked for, sparse if it is sparse."""
    layers = [str(name) for name in adata.layers.keys() if name is not None]  # noqa: SIM118
    if layer is not None:
        if layer not in layers:
            raise DataError(f"{where}: has no layer {layer!r}; {did_you_mean(layer, layers)}")
        values, label = adata.layers[layer], f"layer {layer}"
    elif _is_empty(adata.X):
        if len(layers) != 1:
            has = f"layers {', '.join(layers)}: name one with --layer (layer=)" if layers else "no layer either"
            raise DataError(f"{where}: has no matrix X; heights are X, cell types x regions. It has {has}")
        values, label = adata.layers[layers[0]], f"layer {layers[0]}"
        notes[f"no matrix X, heights of its only layer {layers[0]}"] = 1
    else:
        values, label = adata.X, "X"
    if not hasattr(values, "toarray"):
        values = np.asarray(values)
    if values.dtype.kind not in "iufb":
        raise DataError(f"{where}: {label} holds {values.dtype}; heights are numbers")
    return values


def _facts(where: str, text: Any) -> dict[str, Any]:
    try:
        facts = json.loads(str(text))
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict) or type(facts.get("simulated", False)) is not bool:
        raise DataError(f"{where}: uns[{FACTS!r}] is {str(text)!r:.80}, not what netassay writes there; delete it")
    return facts


def _is_empty(values: Any) -> bool:
    return values is None or getattr(values, "ndim", 2) == 0


def _named_once(names: list[str], where: str, kind: str, twice: bool, notes: Counter[str]) -> list[int]:
    """Indices of the first occurrence of each name. DataError for a repeated name, unless `twice`."""
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        first.setdefault(name, index)
    if len(first) == len(names):
        return [*range(len(names))]
    if not twice:
        again = next(name for index, name in enumerate(names) if first[name] != index)
        hint = 'or leave the second out with --drop twice (drop=["twice"])' if kind == "region" else ""
        raise DataError(
            f"{where}: {kind} {again!r} is there twice; give each a name of its own{', ' * bool(hint)}{hint}"
        )
    notes["region that stood there before"] += len(names) - len(first)
    return [*first.values()]


def _note_cells(adata: Any, cell_types: Sequence[str], notes: Counter[str]) -> None:
    barcodes = sum(_BARCODE.fullmatch(name) is not None for name in cell_types)
    if 2 * barcodes > len(cell_types) or len(cell_types) > MOST_CELL_TYPES:
        columns = ", ".join(map(str, adata.obs.columns[:6]))
        hint = f" (obs has {columns})" if columns else ""
        notes[
            f"rows such as {cell_types[0]} look like single cells; each is taken as a cell type: sum them by type with "
            f"--group-by (group_by=){hint}"
        ] = len(cell_types)


def write_h5ad(path: Path, annotated: Annotated) -> None:
    """Writes a .h5ad that `read_h5ad` takes back unchanged; ExtraMissing without the package, DataError where the
    file cannot be written.

    The file is read back before it gets its name: HDF5 writes what is left when it closes a file, and a write that
    the disk refuses then is reported to nobody.
    """
    digests = _digests(annotated)
    adata = in_memory(annotated, str(path))
    with whole_file(path, refusal=DataError) as part, _silent_destructors():
        try:
            adata.write_h5ad(part)
            back = read_h5ad(part)
            if _digests(back) != digests or back.facts != annotated.facts:
                raise OSError(EIO, "what was written does not come back")
        except OSError:
            raise
        except Exception as error:  # of HDF5, or of what it left of the file
            raise OSError(EIO, f"what was written does not come back: {first_line(error)}") from error


def in_memory(annotated: Annotated, where: str) -> Any:
    """The AnnData object that a .h5ad of netassay holds; ExtraMissing without the package."""
    anndata = require("anndata", "anndata", f"{where}: AnnData")
    import pandas

    columns = {name: annotated.regions[name].to_list() for name in annotated.regions.columns if name != "name"}
    columns["chrom"] = columns.pop("chromosome")
    digests = _digests(annotated)
    return anndata.AnnData(
        X=annotated.heights,
        obs=pandas.DataFrame({LINEAGE: list(annotated.lineages)}, index=list(annotated.cell_types)),
        var=pandas.DataFrame(columns, index=annotated.regions["name"].to_list()),
        varm={} if annotated.bases is None else {BASES: annotated.bases},
        uns={FACTS: json.dumps(dict(annotated.facts)), DIGESTS: json.dumps(digests)},
    )


@contextmanager
def _silent_destructors() -> Iterator[None]:
    """Keeps destructors from printing what HDF5 cannot write when it closes; reading the file back finds it."""
    hooks = sys.unraisablehook, sys.excepthook
    # h5py prints by the one, Cython by the other
    sys.unraisablehook, sys.excepthook = (lambda _: None), (lambda *_: None)
    try:
        yield
    finally:
        gc.collect()  # files that an error left open in circles of references are closed here, not later
        sys.unraisablehook, sys.excepthook = hooks


def _regions(where: str, var: Any, names: Sequence[str], notes: Counter[str], *, own: bool = False) -> pl.DataFrame:
    """Regions by the columns of `var` and by their names; of a file of our `own` the columns say where they are."""
    headings = [str(name) for name in var.columns]
    columns = [column_of(kind, headings) for kind in (CHROMOSOME, START, END)]
    called = [place_of(name) for name in names]
    if not all(called) and (interval := column_of(("interval", "region", "peak"), headings)) is not None:
        called = [place_of(str(value)) for value in var[interval]]
    if all(columns):
        places = list(
            zip(
                map(str, var[columns[0]]),
                _whole_numbers(where, names, var[columns[1]], "start"),
                _whole_numbers(where, names, var[columns[2]], "end"),
                strict=True,
            )
        )
        if all(called) and not own:
            places = _agreed(where, names, places, [place for place in called if place], notes)
    elif all(called):
        places = [place for place in called if place]
        differing = [name for name, place in zip(names, places, strict=True) if name != "{}:{}-{}".format(*place)]
        if differing:
            notes[f"places read from names such as {differing[0]}"] = len(differing)
    else:
        raise DataError(
            f"{where}: has no coordinates: `var` has the columns {', '.join(headings) or '(none)'}, "
            f"and region {names[called.index(None)]!r} is no chr1:100-351; give `var` the columns chrom, start "
            "and end (0-based, end exclusive)"
        )
    chromosomes, starts, ends = zip(*places, strict=True) if places else ((), (), ())
    columns_of = {"start": pl.Series(starts, dtype=pl.Int64), "end": pl.Series(ends, dtype=pl.Int64)}
    frame = pl.DataFrame({"name": list(names), "chromosome": list(chromosomes), **columns_of})
    wrong = frame.filter((pl.col("start") < 0) | (pl.col("end") <= pl.col("start")))
    if len(wrong):
        name, _, start, end = wrong.row(0)
        raise DataError(
            f"{where}: region {name!r} is {start}-{end}; allowed are 0 <= start < end (0-based, end exclusive)"
        )
    return frame


_Place = tuple[str, int, int]


def _agreed(
    where: str, names: Sequence[str], columns: list[_Place], called: list[_Place], notes: Counter[str]
) -> list[_Place]:
    """Places in `columns` and in the names, if these agree, or differ in a way that is understood and noted."""
    if columns == called:
        return columns
    differing = [row for row, (a, b) in enumerate(zip(columns, called, strict=True)) if a != b]
    if all(known_as(c[0], (n[0],)) for c, n in zip(columns, called, strict=True)):
        shifts = {(c[1] - n[1], c[2] - n[2]) for c, n in zip(columns, called, strict=True)}
        if shifts == {(0, 0)}:
            notes["chromosome called otherwise in `var` than in the name"] = len(differing)
            return columns
        if shifts == {(-1, 0)}:
            notes["name that counts from 1, columns of `var` from 0: the columns are taken"] = len(differing)
            return columns
        if shifts == {(1, 0)}:
            notes["columns of `var` that count from 1, names from 0: the names are taken"] = len(differing)
            return called
        if all(abs(sum(c[1:]) - sum(n[1:])) <= 2 for c, n in zip(columns, called, strict=True)):
            notes["name of another width about the same middle: the columns of `var` are taken"] = len(differing)
            return columns
    row = differing[0]
    raise DataError(
        f"{where}: region {names[row]!r} is {'{}:{}-{}'.format(*columns[row])} by the columns of `var`, so name "
        f"and columns disagree (as in {len(differing):,} of {len(names):,}); one of the two is out of date: rename the "
        "regions, or delete the columns"
    )


def _whole_numbers(where: str, names: Sequence[str], values: Any, column: str) -> list[int]:
    numbers = []
    for name, value in zip(names, values, strict=True):
        try:
            number = int(value)
            exact = number == float(value) and abs(number) < 1 << 62
        except (TypeError, ValueError, OverflowError):
            exact = False
        if not exact:
            raise DataError(
                f"{where}: region {name!r}: {column} is {value!s:.40}, which is not a whole number, as coordinates are"
            )
        numbers.append(number)
    return numbers
