"""Insertions at every base of regions, by group, sparse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from netassay.dna.reads.segments import Segments
from netassay.dna.reads.tally import Tally


@dataclass(frozen=True, eq=False)
class Profiles:
    """Insertions of each group at single bases that lie within regions; only those that occur take memory.

    Example:
        >>> import polars as pl
        >>> from netassay.dna.reads import count_fragments
        >>> regions = pl.DataFrame({"chromosome": ["chr1"], "start": [300], "end": [351]})
        >>> counts = count_fragments("fragments.tsv", regions, profiles=True)
        >>> counts.profiles.of([0])[0, 0].nonzero()[0].tolist()
        [10, 20, 44]
    """

    pieces: Segments
    groups: int
    tally: Tally = field(default_factory=Tally)
    offsets: Int64[np.ndarray, " segments"] = field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def empty(cls, pieces: Segments, groups: int) -> Profiles:
        """Profiles without counts."""
        lengths = np.zeros(len(pieces.cuts) + 1, np.int64)
        lengths[1:-1] = np.diff(pieces.cuts)
        lengths[~pieces.covered] = 0
        return cls(pieces, groups, offsets=np.concatenate([[0], np.cumsum(lengths)]))

    def add(self, places: np.ndarray, segments: np.ndarray, group: np.ndarray) -> None:
        """Counts insertions within regions, each in its group."""
        within = places - self.pieces.cuts[segments - 1]
        self.tally.add((self.offsets[segments] + within) * self.groups + group)

    def of(self, regions: Sequence[int] | np.ndarray) -> Float32[np.ndarray, "n groups width"]:
        """Profiles of some regions, all of one width: (regions, groups, bases)."""
        keys, counts = self.tally.counts()
        cuts = self.pieces.cuts
        index = np.asarray(regions, np.int64)
        widths = cuts[self.pieces.last[index]] - cuts[self.pieces.first[index]]
        width = int(widths.max(initial=0))
        profiles = np.zeros((len(index), self.groups, width), np.float32)
        for row, (first, size) in enumerate(zip(self.pieces.first[index], widths, strict=True)):
            # regions are covered throughout, so their bases follow each other on the axis of covered bases
            begin = self.offsets[first + 1]
            low, high = np.searchsorted(keys, (begin * self.groups, (begin + size) * self.groups))
            base, group = np.divmod(keys[low:high] - begin * self.groups, self.groups)
            profiles[row, group, base] = counts[low:high]
        return profiles

    def stretches(self, group: int) -> Iterator[tuple[str, Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]]:
        """For each chromosome its bases with an insertion of a group, in order, and how many."""
        keys, counts = self.tally.counts()
        base, of_group = np.divmod(keys, self.groups)
        mine = of_group == group
        base, counts = base[mine], counts[mine]
        segments = np.searchsorted(self.offsets, base, side="right") - 1
        places = self.pieces.cuts[segments - 1] + base - self.offsets[segments]
        for name, number in self.pieces.numbers.items():
            low, high = np.searchsorted(places, (self.pieces.places(number, 0), self.pieces.places(number + 1, 0)))
            if high > low:
                yield (
                    name,
                    places[low:high] - self.pieces.places(number, 0),
                    counts[low:high],
                )


def write_profiles(profiles: Profiles, names: Sequence[str], lengths: dict[str, int], folder: Path) -> list[Path]:
    """Insertions at single bases as a bigWig for each group, named after it, in an existing folder."""
    from netassay.formats.bases import known_as
    from netassay.formats.tracks import Stretch, Track, write_bigwig

    paths = []
    for number, name in enumerate(names):
        stretches = [
            Stretch(known_as(chromosome, lengths) or chromosome, places, counts.astype(np.float64))
            for chromosome, places, counts in profiles.stretches(number)
        ]
        if stretches:
            path = folder / f"{name}.bw"
            write_bigwig(path, Track(tuple(sorted(stretches, key=lambda stretch: stretch.chromosome)), 0), lengths)
            paths.append(path)
    return paths
