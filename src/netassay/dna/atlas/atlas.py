"""An atlas: open regions, their sequences, how open each is in every cell type; the split in sets, and null models.

Nulls keep a statistic of the data and lose the link between sequence and height.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, get_args

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

from netassay.dna.atlas import folder
from netassay.dna.atlas.choices import SplitKind
from netassay.errors import DataError
from netassay.formats.bases import UNKNOWN, known_as, one_hot
from netassay.numerics.devices import generator


class Split(NamedTuple):
    """Rows of three disjoint sets, each ascending: the epoch is chosen on validation, the score is that on test.

    Attributes:
        train: Rows of the training set.
        validation: Rows of the validation set.
        test: Rows of the test set.

    Example:
        >>> import torch
        >>> from netassay.dna.atlas import Split
        >>> Split(torch.tensor([0, 1]), torch.tensor([2]), torch.tensor([3])).test.tolist()
        [3]
    """

    train: Int64[Tensor, " train"]
    validation: Int64[Tensor, " validation"]
    test: Int64[Tensor, " test"]


def by_chromosome(chromosomes: pl.Series, *, test: Sequence[str], validation: Sequence[str]) -> Split:
    """Whole chromosomes held out; names match with or without "chr"."""
    available = chromosomes.unique().drop_nulls().to_list()
    if not available:
        raise DataError(
            "the atlas has no chromosomes, so neighbours cannot be kept apart; split it at random or in folds"
        )
    groups = {}
    for role, names in (("test", test), ("validation", validation)):
        groups[role] = {_known_chromosome(name, available, role) for name in names}
    if shared := groups["test"] & groups["validation"]:
        raise DataError(f"chromosome {', '.join(sorted(shared))} is named for test and for validation; give it once")
    tested, validated = (chromosomes.is_in(list(groups[role])).to_numpy() for role in ("test", "validation"))
    return _split_of(~(tested | validated), validated, tested)


def at_random(n: int, *, seed: int, test_share: float, validation_share: float) -> Split:
    """A random share of all peaks for testing, and of the rest for validation."""
    for name, share in (("test_share", test_share), ("validation_share", validation_share)):
        if not 0 <= share < 1:
            raise DataError(f"{name} = {share}: a share is from 0 to below 1")
    order = torch.randperm(n, generator=generator(seed, "split")).numpy()
    tested = round(n * test_share)
    validated = round((n - tested) * validation_share)
    return _from_parts(n, order[:tested], order[tested : tested + validated])


def in_folds(n: int, *, seed: int, folds: int, fold: int) -> Split:
    """Fold `fold` (from 0) for testing, the next one for validation, the rest for training."""
    _check_fold(n, folds, fold, "peaks")
    parts = np.array_split(torch.randperm(n, generator=generator(seed, "folds")).numpy(), folds)
    return _from_parts(n, parts[fold], parts[(fold + 1) % folds])


def in_chromosome_folds(chromosomes: pl.Series, *, seed: int, folds: int, fold: int) -> Split:
    """As `in_folds`, with every chromosome in a single fold; folds hold about equally many peaks.

    Chromosomes go to the emptiest fold, the largest first, ties in an order drawn from the seed.
    """
    counts = dict(chromosomes.drop_nulls().value_counts().sort(chromosomes.name).iter_rows())
    _check_fold(len(counts), folds, fold, "chromosomes")
    tie = torch.randperm(len(counts), generator=generator(seed, "folds")).tolist()
    order = sorted(zip(counts, tie, strict=True), key=lambda pair: (-counts[pair[0]], pair[1]))
    numbers = torch.randperm(folds, generator=generator(seed, "places")).tolist()
    filled, home = [0] * folds, {}
    for name, _ in order:
        emptiest = min(range(folds), key=lambda i: filled[i])
        filled[emptiest] += counts[name]
        home[name] = numbers[emptiest]
    where = chromosomes.replace_strict(home, return_dtype=pl.Int64, default=None).to_numpy()
    validated = where == (fold + 1) % folds
    return _split_of(~((where == fold) | validated), validated, where == fold)


def choose(
    kind: SplitKind,
    chromosomes: pl.Series,
    *,
    test: Sequence[str],
    validation: Sequence[str],
    seed: int,
    test_share: float,
    validation_share: float,
    folds: int,
    fold: int,
) -> Split:
    """The split of that kind; arguments that the kind does not use are ignored."""
    n = len(chromosomes)
    if kind == "chromosome":
        return by_chromosome(chromosomes, test=test, validation=validation)
    if kind == "random":
        return at_random(n, seed=seed, test_share=test_share, validation_share=validation_share)
    if kind == "folds":
        return in_folds(n, seed=seed, folds=folds, fold=fold)
    if kind == "chromosome-folds":
        return in_chromosome_folds(chromosomes, seed=seed, folds=folds, fold=fold)
    raise DataError(f"split {kind!r}: allowed are {', '.join(get_args(SplitKind))}")


def _known_chromosome(name: str, names: list[str], role: str) -> str:
    if form := known_as(name, names):
        return form
    raise DataError(
        f"{role} chromosome {name!r} holds no peak; the atlas has {', '.join(sorted(names)[:30])}; name one of these, "
        "or split at random or in folds"
    )


def _check_fold(n: int, folds: int, fold: int, unit: str) -> None:
    if not 3 <= folds <= n:
        raise DataError(
            f"folds = {folds}: allowed are 3 (test, validation and training need one each) to {n}, the number of {unit}"
        )
    if not 0 <= fold < folds:
        raise DataError(f"fold = {fold}: allowed are 0 to {folds - 1}")


def _from_parts(n: int, test: np.ndarray, validation: np.ndarray) -> Split:
    roles = np.zeros(n, np.int8)
    roles[validation], roles[test] = 1, 2
    return _split_of(roles == 0, roles == 1, roles == 2)


def _split_of(train: np.ndarray, validation: np.ndarray, test: np.ndarray) -> Split:
    if not train.any():
        raise DataError("the split leaves no peak for training; keep fewer chromosomes or a smaller share out")
    return Split(*(torch.from_numpy(np.flatnonzero(part)) for part in (train, validation, test)))


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
        return choose(
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


_LETTERS = UNKNOWN + 1


def permute_rows(heights: Float[Tensor, "peaks cell_types"], generator: torch.Generator) -> Tensor:
    """Heights of the peaks in another order: every profile stays intact and belongs to another peak."""
    return heights[torch.randperm(len(heights), generator=generator)]


def permute_cells(heights: Float[Tensor, "peaks cell_types"], generator: torch.Generator) -> Tensor:
    """Heights of each peak in an order of their own over the cell types: each peak keeps its values."""
    order = torch.rand(heights.shape, generator=generator, dtype=torch.float64).argsort(dim=1)
    return heights.gather(1, order)


def shuffle_mononucleotides(codes: UInt8[Tensor, "n length"], generator: torch.Generator) -> UInt8[Tensor, "n length"]:
    """Every sequence in a random order of its own bases."""
    order = torch.rand(codes.shape, generator=generator, dtype=torch.float64).argsort(dim=1)
    return codes.gather(1, order)


def shuffle_dinucleotides(codes: UInt8[Tensor, "n length"], generator: torch.Generator) -> UInt8[Tensor, "n length"]:
    """Every sequence drawn uniformly from those with the same count of each dinucleotide (and the same ends).

    A sequence is a path through its letters with one edge per dinucleotide; another path takes the edges of each letter
    in another order. Such an order can be walked exactly if the last edges of all letters lead to the final one; last
    edges are drawn again until they do. Unknown bases count as a letter. Altschul and Erickson (1985).
    """
    draw = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    letters = codes.numpy()
    if letters.shape[1] < 3:
        return codes.clone()
    source = letters[:, :-1].astype(np.int64)  # (n, edges)
    key = draw.random(source.shape)
    rows = np.arange(len(source))[:, None]
    end = letters[:, -1].astype(np.int64)
    _put_last(key, source, _last_edges(letters, source, end, draw))
    order = np.lexsort((key, source), axis=1) if source.size else source
    target = letters[:, 1:][rows, order]
    counts = np.stack([(source == letter).sum(axis=1) for letter in range(_LETTERS)], axis=1)
    at = np.cumsum(counts, axis=1) - counts  # where the edges of each letter begin
    shuffled = np.empty_like(letters)
    shuffled[:, 0] = letters[:, 0]
    row = rows[:, 0]
    for position in range(source.shape[1]):
        letter = shuffled[:, position]
        shuffled[:, position + 1] = target[row, at[row, letter]]
        at[row, letter] += 1
    return torch.from_numpy(shuffled)


def _last_edges(codes: np.ndarray, source: np.ndarray, end: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """(n, letters): the place of each letter's last edge, -1 where none is needed; all lead to `end`."""
    n = len(source)
    last = np.full((n, _LETTERS), -1)
    pending = np.arange(n)
    while len(pending):
        part = source[pending]
        chance = draw.random(part.shape)
        edges = np.full((len(pending), _LETTERS), -1)
        leads = np.broadcast_to(np.arange(_LETTERS), edges.shape).copy()  # where each letter's last edge goes
        for letter in range(_LETTERS):
            at_letter = part == letter
            position = np.where(at_letter, chance, -1).argmax(axis=1)
            active = at_letter.any(axis=1) & (end[pending] != letter)
            edges[active, letter] = position[active]
            leads[active, letter] = codes[pending[active], position[active] + 1]
        row = np.arange(len(pending))
        reached = leads.copy()
        for _ in range(_LETTERS):
            reached = leads[row[:, None], reached]
        sound = ((edges < 0) | (reached == end[pending][:, None])).all(axis=1)
        last[pending[sound]] = edges[sound]
        pending = pending[~sound]
    return last


def _put_last(key: np.ndarray, source: np.ndarray, last: np.ndarray) -> None:
    row, letter = np.nonzero(last >= 0)
    key[row, last[row, letter]] = 2.0  # beyond every random key
