"""Motifs as tables of counts, and back; drawing them on a page needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from netassay.formats.matrices import Matrix

if TYPE_CHECKING:
    from torch import Tensor

    from netassay.formats.motifs import Motifs

LEAST_COLUMNS = 5
"""Motifs with fewer columns between their flanks resemble anything and are not compared."""

UNSURE = "unsure"
"""Label of a motif that resembles a known one, but no more than permuted ones do."""


def matrix_table(motifs: Motifs) -> pl.DataFrame:
    """Counts, a row for each column with sites of each motif: motif, title, sites, position (from 0), A, C, G, T."""
    index = motifs.seen.nonzero()
    counts = motifs.counts.transpose(1, 2)[motifs.seen]
    rows = index[:, 0].tolist()
    return pl.DataFrame(
        {
            "motif": [motifs.names[i] for i in rows],
            "title": [motifs.titles[i] for i in rows],
            "sites": column(motifs.sites[index[:, 0]]),
            "position": column(index[:, 1]),
            **{base: column(counts[:, i]) for i, base in enumerate("ACGT")},
        },
        schema_overrides={"motif": pl.String, "title": pl.String},
    )


def matrices_of_table(table: pl.DataFrame) -> dict[str, Matrix]:
    """Counts (4, own width) of each motif of a `matrix_table`, by name, in the order of their first rows."""
    matrices = {}
    for part in table.partition_by("motif", maintain_order=True):
        positions = part["position"].to_numpy()
        counts = np.zeros((4, int(positions.max()) + 1))
        counts[:, positions] = part.select("A", "C", "G", "T").to_numpy().T
        matrices[part["motif"][0]] = counts
    return matrices


def motifs_of_table(table: pl.DataFrame) -> Motifs:
    """The motifs of a `matrix_table`, in the order of their first rows."""
    import torch

    from netassay.formats.motifs import Motifs

    matrices = matrices_of_table(table)
    firsts = table.unique("motif", keep="first", maintain_order=True)
    return Motifs.of_matrices(
        list(matrices),
        [torch.from_numpy(counts) for counts in matrices.values()],
        firsts["sites"].to_list(),
        firsts["title"].to_list(),
    )


def cluster_motifs_of(clusters: pl.DataFrame, table: pl.DataFrame) -> Motifs:
    """The merged motifs of `clusters` (columns cluster, sites), by the counts of a `matrix_table`."""
    import torch

    from netassay.formats.motifs import Motifs

    matrices, names = matrices_of_table(table), clusters["cluster"].to_list()
    return Motifs.of_matrices(names, [torch.from_numpy(matrices[name]) for name in names], clusters["sites"].to_list())


def column(values: Tensor) -> pl.Series:
    """A tensor of one dimension as a column, its type kept."""
    return pl.Series(values.numpy())
