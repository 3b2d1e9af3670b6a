"""A genome cut at the ends of regions, so that regions of any widths and overlaps are counted at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64

_PLACES = np.int64(1) << 36
"""Bases reserved for each chromosome on one axis; the longest known has 2^36."""


@dataclass(frozen=True, eq=False)
class Segments:
    """Stretches between neighbouring ends of regions, on an axis with one chromosome after the other.

    Segment k lies between the cuts k - 1 and k; the first begins before all cuts, the last ends after all.

    Attributes:
        numbers: Number of each chromosome.
        cuts: Starts and ends of the regions, each once, in order.
        first: For each region the number of the cut at its start.
        last: For each region the number of the cut at its end.
    """

    numbers: Mapping[str, int]
    cuts: Int64[np.ndarray, " cuts"]
    first: Int64[np.ndarray, " n"]
    last: Int64[np.ndarray, " n"]

    def places(self, chromosomes: Any, bases: Any) -> Any:
        """Places on the axis, for numbers or arrays."""
        return chromosomes * _PLACES + bases

    def segment(self, places: Int64[np.ndarray, " m"]) -> Int64[np.ndarray, " m"]:
        """The segment of each place, 0 to the number of cuts."""
        return np.searchsorted(self.cuts, places, side="right")

    def over_regions(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """From counts by segment: those before the start, and those before the end of each region."""
        below = np.cumsum(counts)
        return below[self.first], below[self.last]

    @property
    def regions_over(self) -> Int64[np.ndarray, " segments"]:
        """How many regions lie over each segment."""
        steps = np.zeros(len(self.cuts) + 2, np.int64)
        np.add.at(steps, self.first + 1, 1)
        np.add.at(steps, self.last + 1, -1)
        return np.cumsum(steps)[:-1]

    @property
    def covered(self) -> Bool[np.ndarray, " segments"]:
        """Whether a region lies over each segment."""
        return self.regions_over > 0


def segments_of(chromosomes: Sequence[str], starts: np.ndarray, ends: np.ndarray) -> Segments:
    """Segments of regions (0-based, end exclusive) of any widths, which may overlap."""
    names = {name: number for number, name in enumerate(sorted(set(chromosomes)))}
    code = np.array([names[name] for name in chromosomes], np.int64)
    begin = code * _PLACES + np.asarray(starts, np.int64)
    end = code * _PLACES + np.asarray(ends, np.int64)
    cuts, where = np.unique(np.concatenate([begin, end]), return_inverse=True)
    return Segments(names, cuts, where[: len(begin)], where[len(begin) :])
