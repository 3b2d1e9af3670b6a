"""How unlikely it is that two motifs are as much alike by chance, for many pairs at once."""

from __future__ import annotations

from typing import Any

import polars as pl
import torch
from jaxtyping import Float64
from torch import Tensor

from netassay.formats.motifs import Motifs

LEAST_COLUMNS = 5
"""Motifs with fewer columns between their flanks are like anything: p = 1."""


def likeness(queries: Motifs, targets: Motifs) -> Float64[Tensor, "queries targets"]:
    """Tomtom's p-value of every query against every target (Gupta et al. 2007), 1 where either is too short.

    Flanks are cut off; whole queries are scored, on both strands; the law of chance is that of columns drawn about
    equal shares of the bases, so that it does not depend on which motifs are compared. By universalmotif.
    """
    import universalmotif

    rows, columns = _long_enough(queries), _long_enough(targets)
    p = torch.ones(len(queries), len(targets), dtype=torch.float64)
    if not rows or not columns:
        return p
    held = [*_cut_out(queries, rows), *_cut_out(targets, columns)]
    found = universalmotif.compare_motifs(
        held,
        compare_to=list(range(len(rows))),
        complete=True,
        null="parametric",
        qvalue=1.0,
        min_overlap=LEAST_COLUMNS,
    )
    here = found.filter(pl.col("target_i") >= len(rows))
    query = torch.tensor(rows)[here["subject_i"].cast(pl.Int64).to_torch()]
    target = torch.tensor(columns)[here["target_i"].cast(pl.Int64).to_torch() - len(rows)]
    p[query, target] = here["pvalue"].to_torch().clamp(0, 1)
    return p


def _long_enough(motifs: Motifs) -> list[int]:
    return [i for i, (start, stop) in enumerate(motifs.spans) if stop - start >= LEAST_COLUMNS]


def _cut_out(motifs: Motifs, rows: list[int]) -> list[Any]:
    import universalmotif

    return [
        universalmotif.create_motif(
            motifs.pwm[i, :, slice(*motifs.spans[i])].numpy(), alphabet="DNA", type="PPM", name=str(i)
        )
        for i in rows
    ]


def adjusted(p: Float64[Tensor, "queries targets"]) -> Float64[Tensor, "queries targets"]:
    """q-values of each query over its targets (Benjamini and Hochberg 1995)."""
    order = p.argsort(dim=1)
    ranks = torch.arange(1, p.shape[1] + 1, dtype=torch.float64)
    raised = p.gather(1, order) * p.shape[1] / ranks
    least = raised.flip(1).cummin(dim=1).values.flip(1)
    return torch.empty_like(p).scatter(1, order, least).clamp(max=1)
