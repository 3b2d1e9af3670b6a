"""Counts of simulated cells: each cell's reads fall on peaks as its type's accessibility says, and nothing else."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch

from netassay.dna.atlas.atlas import Atlas, with_values
from netassay.errors import DataError
from netassay.numerics.devices import generator

LARGEST = 2**62


def draw_cells(atlas: Atlas, cells: int, depth: int, *, seed: int = 0) -> Atlas:
    """A simulated atlas whose heights are log2(counts + 1) of cells that are drawn.

    The counts of a cell are multinomial over the peaks, in proportion to 2 to the power of the signal of its cell type.
    Sums of such cells are multinomial too, so a half of the cells is drawn at once. With it the true ceiling is known:
    the score of the truth table `signal`, which then holds log2(expected counts + 1).

    Args:
        atlas: A simulated atlas, with the truth table `signal`.
        cells: Cells of each type (2 or more).
        depth: Counts of each cell in peaks (1 or more).
        seed: Seed of the draws.

    Returns:
        The atlas with heights, halves and signal of the cells.

    Raises:
        DataError: For numbers out of range, and an atlas without a signal.

    Example:
        >>> from netassay.dna.atlas import draw_cells, simulate_atlas
        >>> draw_cells(simulate_atlas(40, length=80), 10, 500).halves.shape
        torch.Size([40, 19, 2])
    """
    if "signal" not in atlas.truth:
        raise DataError("cells are drawn for simulated atlases, whose truth holds a signal")
    if cells < 2 or depth < 1 or cells * depth >= LARGEST:
        raise DataError(f"cells = {cells}, depth = {depth}: allowed are 2 cells or more of 1 count or more")
    chances = np.exp2(atlas.truth["signal"].to_numpy().astype(np.float64))
    chances /= chances.sum(axis=0)
    draws = np.random.default_rng(generator(seed, "simulate", "cells").initial_seed())
    sizes = (depth * (cells - cells // 2), depth * (cells // 2))
    counts = np.stack(
        [np.stack([draws.multinomial(size, column) for column in chances.T], axis=1) for size in sizes],
        axis=2,
    )
    heights = np.log2(counts.sum(axis=2) + 1.0)
    signal = np.log2(depth * cells * chances + 1.0).astype(np.float32)
    # doubled, a half has the depth of both
    halves = np.log2(counts * (depth * cells / np.array(sizes)) + 1.0)
    return with_values(
        atlas,
        heights=torch.from_numpy(heights.astype(np.float32)),
        halves=torch.from_numpy(halves.astype(np.float32)),
        source=f"{atlas.source}, {cells} cells of each type with {depth} counts",
        truth={**atlas.truth, "signal": pl.DataFrame(signal, schema=list(atlas.cell_types))},
    )
