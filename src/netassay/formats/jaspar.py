"""Motifs of JASPAR, from the package that carries its releases."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from netassay.errors import DataError

RELEASE = "JASPAR2024"


@dataclass(frozen=True, eq=False)
class Motif:
    """A matrix of counts (4, width), rows A, C, G, T, with its JASPAR identifier and the factor's name."""

    id: str
    name: str
    counts: Float64[np.ndarray, "4 width"]

    def probabilities(self) -> Float64[np.ndarray, "4 width"]:
        """Columns that sum to one; with N sequences, a quarter of sqrt(N) is added to each count."""
        raised = self.counts + np.sqrt(self.counts.sum(axis=0)) / 4
        return raised / raised.sum(axis=0)


def read_jaspar(ids: Iterable[str], release: str = RELEASE) -> list[Motif]:
    """The motifs of these identifiers (such as MA0080.7), in their order; DataError for one that is not there."""
    from Bio import BiopythonWarning
    from pyjaspar import jaspar_releases, jaspardb

    if release not in jaspar_releases:
        raise DataError(f"release {release!r}: allowed are {', '.join(sorted(jaspar_releases))}")
    base = jaspardb(release=release)
    with closing(base.conn), warnings.catch_warnings():
        # the library warns of motifs that are not there; below they are refused
        warnings.simplefilter("ignore", BiopythonWarning)
        return [_motif(base.fetch_motif_by_id(name), name, release) for name in ids]


def _motif(found: object, name: str, release: str) -> Motif:
    if found is None:
        raise DataError(f"motif {name!r} is not in {release}")
    counts = np.array([found.counts[letter] for letter in "ACGT"], dtype=np.float64)  # type: ignore[attr-defined]
    return Motif(found.matrix_id, found.name, counts)  # type: ignore[attr-defined]
