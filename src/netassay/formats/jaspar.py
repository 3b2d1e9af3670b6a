"""Motifs of JASPAR: vertebrates of 2024 within this package, the rest by one that carries all releases."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float64

from netassay.errors import DataError, ExtraMissing
from netassay.formats.meme import read_meme
from netassay.formats.motifs import Motifs

RELEASE = "JASPAR2024"

TAXA = ("vertebrates", "plants", "insects", "fungi", "nematodes", "urochordates")
GROUPS = tuple(f"jaspar-{name}" for name in TAXA)
"""Groups of species with a collection in JASPAR CORE."""

# one query for all counts: through the library's objects, a motif at a time, it takes ten times as long
_COUNTS = """
    WITH latest AS (SELECT BASE_ID, MAX(VERSION) AS VERSION FROM MATRIX GROUP BY BASE_ID)
    SELECT m.BASE_ID || '.' || m.VERSION, m.NAME, d.row, d.col, d.val
    FROM MATRIX m
    JOIN latest ON latest.BASE_ID = m.BASE_ID AND latest.VERSION = m.VERSION
    JOIN MATRIX_ANNOTATION a ON a.ID = m.ID AND a.TAG = 'tax_group' AND a.VAL = ?
    JOIN MATRIX_DATA d ON d.ID = m.ID
    WHERE m.COLLECTION = 'CORE'
    ORDER BY m.BASE_ID, m.VERSION, d.col
"""


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
    """The motifs of these identifiers (such as MA0080.7), in their order.

    Raises DataError for one that is not there, ExtraMissing for one that is not shipped where pyjaspar is missing.
    """
    names = list(ids)
    if release == RELEASE:
        shipped = {row["id"]: row for row in _shipped().filter(pl.col("id").is_in(names)).to_dicts()}
        if shipped.keys() >= set(names):
            rows = [shipped[name] for name in names]
            return [Motif(row["id"], row["name"], np.array([row[base] for base in "ACGT"])) for row in rows]
    base = _open(release)
    from Bio import BiopythonWarning

    with closing(base.conn), warnings.catch_warnings():
        # the library warns of motifs that are not there; below they are refused
        warnings.simplefilter("ignore", BiopythonWarning)
        return [_motif(base.fetch_motif_by_id(name), name, release) for name in names]


def read_database(source: str | Path, release: str = RELEASE) -> Motifs:
    """Known motifs: the newest versions of JASPAR CORE of a group, or those of a MEME file.

    JASPAR's counts are left as they are; `sites` is the largest sum of a column.

    Args:
        source: A group such as "jaspar-vertebrates", or a file in MEME format.
        release: Release of JASPAR.

    Returns:
        The motifs.

    Raises:
        DataError: For a group that does not exist and a file that `read_meme` refuses.

    Source:
        Rauluseviciute et al. (2024), JASPAR 2024.

    Example:
        >>> import netassay
        >>> len(netassay.read_database("jaspar-vertebrates").names) > 800
        True
    """
    if str(source) in GROUPS:
        return _collection(str(source).removeprefix("jaspar-"), release)
    if Path(source).is_file():
        return read_meme(source)
    raise DataError(
        f"motif database {str(source)!r}: give one of {', '.join(GROUPS)}, or a file in MEME format that exists"
    )


def _shipped() -> pl.DataFrame:
    """Columns id, name, and A, C, G, T with the counts column by column, of the newest vertebrate motifs of RELEASE."""
    with resources.as_file(resources.files("netassay") / "shipped" / "jaspar2024-vertebrates.parquet") as file:
        return pl.read_parquet(file)


def _collection(group: str, release: str) -> Motifs:
    if (group, release) == ("vertebrates", RELEASE):
        rows = _shipped().to_dicts()
        counts = [torch.tensor([row[base] for base in "ACGT"], dtype=torch.float64) for row in rows]
        return _motifs([row["id"] for row in rows], [row["name"] for row in rows], counts)
    base = _open(release)
    with closing(base.conn):
        rows = base.conn.execute(_COUNTS, (group,)).fetchall()
    collection: dict[str, tuple[str, list[list[float]]]] = {}
    for name, title, letter, _, value in rows:
        collection.setdefault(name, (title, [[], [], [], []]))[1]["ACGT".index(letter)].append(float(value))
    matrices = [torch.tensor(counts, dtype=torch.float64) for _, counts in collection.values()]
    return _motifs(list(collection), [title for title, _ in collection.values()], matrices)


def _motifs(names: list[str], titles: list[str], matrices: list[torch.Tensor]) -> Motifs:
    sites = [round(float(counts.sum(0).max())) for counts in matrices]
    return Motifs.of_matrices(names, matrices, sites, titles)


def _open(release: str) -> Any:
    try:
        from pyjaspar import jaspar_releases, jaspardb
    except ImportError:
        raise ExtraMissing(
            f"only the vertebrate motifs of {RELEASE} come with netassay; for others install the extra: "
            "pip install 'netassay[jaspar]'"
        ) from None

    if release not in jaspar_releases:
        raise DataError(f"release {release!r}: allowed are {', '.join(sorted(jaspar_releases))}")
    return jaspardb(release=release)


def _motif(record: object, name: str, release: str) -> Motif:
    if record is None:
        raise DataError(f"motif {name!r} is not in {release}")
    counts = np.array([record.counts[letter] for letter in "ACGT"], dtype=np.float64)  # type: ignore[attr-defined]
    return Motif(record.matrix_id, record.name, counts)  # type: ignore[attr-defined]
