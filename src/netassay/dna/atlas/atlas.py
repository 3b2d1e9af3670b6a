"""An atlas: open regions of the genome, their sequences, and how open each is in every cell type."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import polars as pl
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from netassay.dna.atlas import folder, splits
from netassay.dna.atlas.choices import SplitKind
from netassay.dna.atlas.splits import Split
from netassay.errors import DataError
from netassay.formats.bases import one_hot

if TYPE_CHECKING:
    Index = int | slice | Sequence[int] | Tensor

PEAK_COLUMNS = {"name": pl.String, "chromosome": pl.String, "start": pl.Int64, "end": pl.Int64}


@dataclass(frozen=True, eq=False)
class Atlas:
    """Peaks x cell types: sequences of one length, heights, coordinates and lineages.

    Attributes:
        codes: (peaks, length) a byte for each base: A, C, G, T are 0 to 3, unknown is 4.
        heights: (peaks, cell types) float32.
        peaks: Columns name, chromosome, start, end (0-based, end exclusive; null where unknown) and whatever else is
            known.
        cell_types: Names of the cell types.
        lineages: Lineage of each cell type, "" for one without.
        source: Where the atlas is from.
        simulated: Whether it is simulated.
        dropped: Peaks that were left out, by reason.
        notes: Peaks that were changed or kept with a flaw, by reason.
        truth: Tables of what a simulation planted.
        halves: (peaks, cell types, 2) heights as each half of the cells or reads gives them, from which the ceiling of
            a score follows; None where they are not known.

    Example:
        >>> import netassay
        >>> atlas = netassay.Atlas.open("atlas")
        >>> len(atlas), atlas.length, len(atlas.cell_types)
        (60, 100, 19)
    """

    codes: UInt8[Tensor, "n length"]
    heights: Float32[Tensor, "n cell_types"]
    peaks: pl.DataFrame
    cell_types: tuple[str, ...]
    lineages: tuple[str, ...] = ()
    source: str = ""
    simulated: bool = False
    dropped: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)
    truth: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    halves: Float32[Tensor, "n cell_types 2"] | None = None

    def __post_init__(self) -> None:
        if not self.lineages:
            object.__setattr__(self, "lineages", ("",) * len(self.cell_types))
        _check(self)

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def length(self) -> int:
        """Bases of every sequence."""
        return self.codes.shape[1]

    def sequences(self, index: Index, dtype: torch.dtype = torch.float32) -> Float[Tensor, "n 4 length"]:
        """One-hot sequences of the peaks at `index`, rows A, C, G, T; an unknown base is all zeros."""
        rows = torch.as_tensor(index) if not isinstance(index, slice) else index
        if isinstance(rows, Tensor) and rows.ndim == 0:
            rows = rows[None]
        return one_hot(self.codes[rows], dtype)

    def split(
        self,
        kind: SplitKind = "chromosome",
        *,
        test: Sequence[str] = ("chr1",),
        validation: Sequence[str] = ("chr2",),
        seed: int = 0,
        test_share: float = 0.1,
        validation_share: float = 0.1,
        folds: int = 10,
        fold: int = 0,
    ) -> Split:
        """Rows for training, validation and test.

        chromosome: the chromosomes `test` and `validation` are held out, so that neighbours stay together.
        random: `test_share` of all peaks, `validation_share` of the others. folds: fold `fold` of `folds` is the
        test, the next one validation; chromosome-folds: the same without splitting a chromosome. Draws are from `seed`.
        Raises DataError for chromosomes the atlas does not have and numbers out of range.
        """
        return splits.choose(
            kind,
            self.peaks["chromosome"],
            test=test,
            validation=validation,
            seed=seed,
            test_share=test_share,
            validation_share=validation_share,
            folds=folds,
            fold=fold,
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256, 64 hex digits, of sequences, heights, peaks and cell types: equal data, equal digests."""
        sha = hashlib.sha256()
        facts = {"cell_types": self.cell_types, "lineages": self.lineages, "simulated": self.simulated}
        sha.update(json.dumps([facts, list(self.codes.shape)], sort_keys=True).encode())
        for tensor in (self.codes, self.heights, *([] if self.halves is None else [self.halves])):
            sha.update(tensor.contiguous().numpy().data)
        columns = {name: self.peaks[name].to_list() for name in PEAK_COLUMNS}
        sha.update(json.dumps(columns, sort_keys=True).encode())
        return sha.hexdigest()

    def save(self, path: Path | str) -> Path:
        """Writes the atlas as a folder, completely or not at all; DataError if `path` exists."""
        facts = {
            "digest": self.digest,
            "source": self.source,
            "simulated": self.simulated,
            "peaks": len(self),
            "length": self.length,
            "cell_types": self.cell_types,
            "lineages": self.lineages,
            "dropped": dict(self.dropped),
            "notes": dict(self.notes),
        }
        arrays = {"codes": self.codes, "heights": self.heights}
        arrays |= {} if self.halves is None else {"halves": self.halves}
        return folder.save(Path(path), folder.Contents(facts, arrays, self.peaks, self.truth))

    def to_anndata(self) -> Any:
        """An AnnData object: cell types as observations, peaks as variables; sequences are in `varm`.

        `build_atlas` takes it back. DataError for peaks without coordinates, ExtraMissing without anndata.
        """
        return import_module("netassay.dna.atlas.annotated").to_anndata(self)

    @classmethod
    def open(cls, path: Path | str, *, verify: bool = False) -> Self:
        """The atlas of a folder, its arrays memory-mapped; `verify` reads every byte and checks the digest."""
        facts, arrays, peaks, truth = folder.read(Path(path))
        try:
            atlas = cls(
                arrays["codes"],
                arrays["heights"],
                peaks,
                tuple(facts["cell_types"]),
                tuple(facts["lineages"]),
                truth=truth,
                halves=arrays.get("halves"),
                **{name: facts[name] for name in ("source", "simulated", "dropped", "notes")},
            )
        except DataError as refused:
            raise DataError(f"{path}: the atlas is damaged: {refused}") from refused
        if verify and atlas.digest != facts["digest"]:
            raise DataError(
                f"{path}: the data have the digest {atlas.digest[:12]}..., but {facts['digest'][:12]}... was recorded "
                "when they were written; the files were changed or damaged: build the atlas again"
            )
        # spares reading the arrays
        atlas.__dict__["digest"] = facts["digest"]
        return atlas


def _check(atlas: Atlas) -> None:
    """Shapes that fit each other; names once each; finite heights."""
    n, types = len(atlas.codes), len(atlas.cell_types)
    if atlas.codes.ndim != 2 or atlas.codes.dtype != torch.uint8:
        raise DataError(
            f"the sequences are {atlas.codes.dtype} of shape {tuple(atlas.codes.shape)}; give one byte per base, peaks "
            "x length (netassay.formats.bases.encode)"
        )
    if atlas.heights.shape != (n, types) or atlas.heights.dtype != torch.float32:
        raise DataError(
            f"the heights are {atlas.heights.dtype} of shape {tuple(atlas.heights.shape)}; {n} sequences and {types} "
            f"cell types need float32 of shape {(n, types)}"
        )
    if atlas.halves is not None and (atlas.halves.shape != (n, types, 2) or atlas.halves.dtype != torch.float32):
        raise DataError(
            f"the halves are {atlas.halves.dtype} of shape {tuple(atlas.halves.shape)}; needed is float32 of shape "
            f"{(n, types, 2)}"
        )
    if len(atlas.lineages) != types:
        raise DataError(f"{len(atlas.lineages)} lineages for {types} cell types; give one each, '' for none")
    if twice := [name for name, count in Counter(atlas.cell_types).items() if count > 1]:
        raise DataError(f"cell type {twice[0]!r} occurs twice; give each its own name")
    if not n or not types or not atlas.length:
        raise DataError(f"an atlas of {n} peaks, {types} cell types and length {atlas.length} is empty")
    schema = {name: atlas.peaks.schema.get(name) for name in PEAK_COLUMNS}
    if schema != PEAK_COLUMNS or len(atlas.peaks) != n:
        raise DataError(
            f"the table of peaks has {len(atlas.peaks)} rows and the columns {dict(atlas.peaks.schema)}; needed are "
            f"{n} rows with {PEAK_COLUMNS}"
        )


def with_values(atlas: Atlas, **values: Any) -> Atlas:
    """The atlas with some of its fields replaced, checked again."""
    return type(atlas)(**{**{part.name: getattr(atlas, part.name) for part in fields(atlas)}, **values})
