"""Fragments counted over regions, by group of cells, in halves: one pass over the files in any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl
from jaxtyping import Float32

from netassay.dna.reads.barcodes import Lookup
from netassay.dna.reads.choices import Count, Duplicates
from netassay.dna.reads.groups import BY_FRAGMENT, Groups
from netassay.dna.reads.profiles import Profiles
from netassay.dna.reads.segments import Segments, segments_of
from netassay.dna.reads.tally import Tally
from netassay.errors import DataError
from netassay.formats.alignments import is_bam, read_alignments
from netassay.formats.bases import known_as
from netassay.formats.fragments import read_fragments
from netassay.processes import paced

BEYOND = 1e-3
"""Share of fragments beyond their contig above which the genome is refused as one of another assembly."""


@dataclass(frozen=True, eq=False)
class Counts:
    """Fragments over regions.

    Attributes:
        halves: (regions, groups, 2) counts of each half of the cells, or of the fragments; their sum is the count.
        groups: Names of the groups.
        fragments: Number of fragments in the files.
        left_out: Fragments, reads and cells that were not counted, by reason.
        notes: Other counts, by reason.
        profiles: Insertions at single bases, if requested.

    Example:
        >>> import polars as pl
        >>> from netassay.dna.reads import count_fragments
        >>> regions = pl.DataFrame({"chromosome": ["chr1"], "start": [0], "end": [330]})
        >>> counts = count_fragments("fragments.tsv", regions)
        >>> counts.groups, counts.values.tolist(), counts.fragments
        (('fragments',), [[2.0]], 2)
    """

    halves: Float32[np.ndarray, "n groups 2"]
    groups: tuple[str, ...]
    fragments: int
    left_out: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    profiles: Profiles | None = None

    @property
    def values(self) -> Float32[np.ndarray, "n groups"]:
        """Counts of each region in each group."""
        return self.halves.sum(axis=2)


def count_fragments(
    files: Path | str | Sequence[Path | str],
    regions: pl.DataFrame,
    *,
    groups: Groups | None = None,
    lengths: Mapping[str, int] | None = None,
    count: Count = "insertions",
    duplicates: Duplicates = "auto",
    tag: str = "CB",
    quality: int = 30,
    profiles: bool = False,
    seed: int = 0,
) -> Counts:
    """Count fragments over regions, by group of cells.

    An insertion is a cut of the transposase: a fragment [start, end) has one at the base `start` and one at the base
    `end` - 1. Fragment files are used as they are, since those of 10x are shifted already; in BAM files the start is
    moved by +4 and the end by -5. Memory grows with regions x groups, not with fragments; dropping duplicates adds 8
    bytes for each different fragment.

    Args:
        files: Fragment files (`fragments.tsv.gz`, plain or gzip, sorted or not), or BAM files of paired reads.
        regions: Columns chromosome, start, end (0-based, end exclusive); may overlap.
        groups: Groups of barcodes; by default each file is a group, named after it. A barcode SAMPLE#BARCODE belongs
            to the file called SAMPLE.
        lengths: Lengths of the genome's contigs; fragments beyond their ends are then left out, and counted.
        count: insertions counts cuts within the region, fragments those that share a base with it.
        duplicates: drop: fragments with the same barcode, start and end count once. auto drops only in BAM files, since
            a line of a fragment file stands for all its duplicates.
        tag: Tag of a BAM file that holds the barcode.
        quality: Smallest mapping quality of reads in a BAM file.
        profiles: Whether to count insertions at every base too.
        seed: Seed of the halves of fragments.

    Returns:
        Counts in two halves: of the cells of each group where barcodes are grouped, else of the fragments.

    Raises:
        DataError: For files that cannot be read, barcodes that match nothing, and a genome of another assembly.
        ExtraMissing: For BAM without pysam.

    Source:
        Buenrostro et al. (2013) for the shift; Miao and Kim (2024) for insertions and fragments.

    Example:
        >>> import polars as pl
        >>> from netassay.dna.reads import count_fragments
        >>> regions = pl.DataFrame({"chromosome": ["chr1"], "start": [0], "end": [2000]})
        >>> count_fragments("fragments.tsv", regions).values.tolist()
        [[4.0]]
    """
    paths = [Path(files)] if isinstance(files, str | Path) else [Path(path) for path in files]
    if not paths:
        raise DataError("there is no file of fragments; give one or more")
    for value, kind in ((count, Count), (duplicates, Duplicates)):
        if value not in get_args(kind):
            raise DataError(f"{value!r}: allowed are {', '.join(get_args(kind))}")
    names = groups.names if groups else file_names(paths)
    pieces = segments_of(regions["chromosome"].to_list(), regions["start"].to_numpy(), regions["end"].to_numpy())
    state = _Pass(pieces, len(names), lengths, count, profiles, seed, paths[0] if len(paths) == 1 else None)
    matched = None if groups is None else np.zeros((len(paths), len(groups.table)), bool)
    for number, path in enumerate(paths):
        bam = is_bam(path)
        once = duplicates == "drop" or (duplicates == "auto" and bam)
        batches = (
            read_alignments(path, tag=tag, quality=quality, left_out=state.left_out)
            if bam
            else read_fragments(path, barcodes=once or groups is not None)
        )
        lookup = Lookup.of(groups, path, number)
        state.once = Tally() if once else None
        for frame in paced(batches, f"fragments of {path.name}", size=len):
            state.add(frame, lookup)
        if matched is not None:
            matched[number] = lookup.matched
    if matched is not None and groups is not None:
        _note_barcodes(groups, matched, paths, state)
    _refuse_assembly(state, paths)
    return state.result(names)


class _Pass:
    """Running counts while the files are read."""

    def __init__(
        self,
        pieces: Segments,
        groups: int,
        lengths: Mapping[str, int] | None,
        count: Count,
        profiles: bool,
        seed: int,
        path: Path | None,
    ) -> None:
        self.pieces, self.groups, self.lengths, self.count = pieces, groups, lengths, count
        self.seed = seed
        size = (len(pieces.cuts) + 1) * 2 * groups
        self.starts, self.lasts = Tally(size), Tally(size)
        self.profiles = Profiles.empty(pieces, groups) if profiles else None
        self.once: Tally | None = None
        self.fragments = self.beyond = self.missing = 0
        self.left_out: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.barcodes: list[str] = []
        covered = pieces.covered
        self._covered = covered
        self._covered_before = np.concatenate([[0], np.cumsum(covered)])

    def add(self, frame: pl.DataFrame, lookup: Lookup) -> None:
        """Counts a batch."""
        self.fragments += len(frame)
        frame = self._on_the_genome(frame)
        frame = lookup.join(frame)
        if not self.barcodes:
            self.barcodes = frame["barcode"].drop_nulls().head(1).to_list()
        frame = self._without(frame, frame["group"].is_not_null(), "of barcodes without a group")
        names = {
            name: self.pieces.numbers.get(known_as(name, self.pieces.numbers) or "")
            for name in frame["chromosome"].unique()
        }
        frame = frame.with_columns(
            number=pl.col("chromosome").replace_strict(names, default=None, return_dtype=pl.Int64)
        )
        frame = self._without(frame, frame["number"].is_not_null(), "on chromosomes without a peak")
        chromosome, start, end, group, half = (
            frame[name].to_numpy() for name in ("number", "start", "end", "group", "half")
        )
        by_fragment = mixed_hash(chromosome, start, end, self.seed)
        column = 2 * group + np.where(half == BY_FRAGMENT, by_fragment & np.uint64(1), half).astype(np.int64)
        first, last = self.pieces.places(chromosome, start), self.pieces.places(chromosome, end - 1)
        if self.once is not None:
            new = self._first_time(frame, first, last)
            column, first, last = column[new], first[new], last[new]
        self._count_segments(first, last, column)

    def _count_segments(self, first: np.ndarray, last: np.ndarray, column: np.ndarray) -> None:
        begin, end = self.pieces.segment(first), self.pieces.segment(last)
        if self.count == "insertions":
            hit = self._covered[begin] | self._covered[end]
        else:
            hit = self._covered_before[end + 1] > self._covered_before[begin]
        self.left_out["fragments in no peak"] += int((~hit).sum())
        width = 2 * self.groups
        self.starts.add(begin * width + column)
        self.lasts.add(end * width + column)
        if self.profiles is not None:
            for places, segments in ((first, begin), (last, end)):
                within = self._covered[segments]
                self.profiles.add(places[within], segments[within], column[within] // 2)

    def _on_the_genome(self, frame: pl.DataFrame) -> pl.DataFrame:
        if self.lengths is None:
            return frame
        contigs = {name: known_as(name, self.lengths) for name in frame["chromosome"].unique()}
        longest = {name: self.lengths[contig] if contig else None for name, contig in contigs.items()}
        frame = frame.with_columns(
            length=pl.col("chromosome").replace_strict(longest, default=None, return_dtype=pl.Int64)
        )
        before = len(frame)
        frame = self._without(frame, frame["length"].is_not_null(), "on contigs that the genome does not have")
        self.missing += before - len(frame)
        before = len(frame)
        frame = self._without(frame, frame["end"] <= frame["length"], "beyond the end of their contig")
        self.beyond += before - len(frame)
        return frame

    def _without(self, frame: pl.DataFrame, mask: pl.Series, reason: str) -> pl.DataFrame:
        rest = frame.filter(mask)
        self.left_out[f"fragments {reason}"] += len(frame) - len(rest)
        return rest

    def _first_time(self, frame: pl.DataFrame, first: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Which fragments do not repeat the barcode and ends of an earlier one."""
        assert self.once is not None
        cell = frame["cell"].to_numpy() if "cell" in frame.columns else np.zeros(len(frame), np.int64)
        # 63 bits of a hash: with 10^8 fragments, two collide in one pass in 2,000
        keys = (mixed_hash(first, last, cell, 0) >> np.uint64(1)).astype(np.int64)
        earlier, _ = self.once.counts()
        where = np.searchsorted(earlier, keys)
        old = (earlier[np.minimum(where, len(earlier) - 1)] == keys) if len(earlier) else np.zeros(len(keys), bool)
        new = np.zeros(len(keys), bool)
        new[np.unique(keys, return_index=True)[1]] = True
        new &= ~old
        self.once.add(keys[new])
        self.left_out["fragments that are duplicates"] += int((~new).sum())
        return new

    def result(self, names: tuple[str, ...]) -> Counts:
        """The counts of all batches."""
        width, size = 2 * self.groups, len(self.pieces.cuts) + 1
        halves = np.empty((len(self.pieces.first), self.groups, 2), np.float32)
        starts_of, lasts_of = (_columns(tally, width) for tally in (self.starts, self.lasts))
        for column in range(width):
            starts, lasts = (np.bincount(*part(column), minlength=size) for part in (starts_of, lasts_of))
            (starts_before, starts_within), (lasts_before, lasts_within) = (
                self.pieces.over_regions(values) for values in (starts, lasts)
            )
            if self.count == "insertions":
                values = starts_within - starts_before + lasts_within - lasts_before
            else:
                values = starts_within - lasts_before
            halves[:, column // 2, column % 2] = values
        return Counts(halves, names, self.fragments, +self.left_out, +self.notes, self.profiles)


def _columns(tally: Tally, width: int) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """Segments and counts of one column after the other."""
    keys, counts = tally.counts()
    segments, columns = np.divmod(keys, width)
    order = np.argsort(columns, kind="stable")
    edges = np.searchsorted(columns[order], np.arange(width + 1))

    def of(column: int) -> tuple[np.ndarray, np.ndarray]:
        rows = order[edges[column] : edges[column + 1]]
        return segments[rows], counts[rows].astype(np.float64)

    return of


def mixed_hash(first: np.ndarray, second: np.ndarray, third: np.ndarray, seed: int) -> np.ndarray:
    """64 mixed bits of three integers and a seed (the finaliser of splitmix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        mixed = np.full(len(first), np.uint64(seed & (2**63 - 1)))
        for part in (first, second, third):
            mixed = (mixed ^ part.astype(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
            mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            mixed ^= mixed >> np.uint64(31)
    return mixed


def file_names(paths: Sequence[Path]) -> tuple[str, ...]:
    """Names of groups after their files, without folder and ending; DataError if two are the same."""
    names = tuple(stem(path) for path in paths)
    if twice := [name for name, number in Counter(names).items() if number > 1]:
        raise DataError(f"two files of fragments are called {twice[0]!r}; groups are named after files: rename one")
    return names


def stem(path: Path) -> str:
    """A file's name without the endings of fragment files."""
    name = path.name
    for ending in (".gz", ".bgz", ".tsv", ".bed", ".txt", ".bam", ".cram", ".sam"):
        name = name.removesuffix(ending)
    return name


def _note_barcodes(groups: Groups, matched: np.ndarray, paths: Sequence[Path], state: _Pass) -> None:
    """Notes how many barcodes of the table occur; DataError if none does."""
    if not matched.any():
        examples = ", ".join(groups.table["barcode"].head(2).to_list())
        theirs = ", ".join(state.barcodes) or "none"
        raise DataError(
            f"{groups.source}: none of its {len(groups.table):,} barcodes (such as {examples}) is in "
            f"{', '.join(path.name for path in paths)} (such as {theirs}); write them alike, with the -1 at the end or "
            "without it"
        )
    state.notes += groups.notes
    state.notes["barcodes of the groups without a fragment"] += int((~matched.any(axis=0)).sum())
    state.notes["barcodes that are in several files, each taken for one cell"] += int((matched.sum(axis=0) > 1).sum())


def _refuse_assembly(state: _Pass, paths: Sequence[Path]) -> None:
    files = ", ".join(path.name for path in paths)
    if state.beyond > BEYOND * state.fragments:
        raise DataError(
            f"{files}: {state.beyond / state.fragments:.1%} of the fragments lie beyond the ends of the genome's "
            "contigs; take the genome of the assembly that the reads were mapped to"
        )
    if state.missing == state.fragments:
        raise DataError(
            f"{files}: no fragment lies on a contig of the genome; take the genome that the reads were mapped to"
        )
