"""Motifs that recur among the bases which contribute most, by TF-MoDISco-lite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from netassay.dna.attributions.contributions import Attributions
from netassay.errors import DataError
from netassay.extras import require
from netassay.formats.bases import one_hot
from netassay.formats.motifs import Motifs


@dataclass(frozen=True, eq=False)
class Patterns:
    """`motifs` of positive and then negative patterns ("positive_0", ...), counted over their sites (seqlets).

    `contributions` are the mean contributions at their sites, columns as in `motifs`; `positive` is how many of the
    motifs are positive.
    """

    motifs: Motifs
    contributions: Float64[Tensor, "motifs 4 width"]
    positive: int


def find_patterns(
    attributions: Attributions,
    *,
    most_sites: int = 2000,
    file: Path | None = None,
    **options: Any,
) -> Patterns:
    """Patterns that recur among the contributions of many sequences, by TF-MoDISco; needs the extra `modisco`.

    Args:
        attributions: The contributions.
        most_sites: Maximum number of sites of each sign that are clustered; time and memory grow with it.
        file: File for the library's own HDF5, as its report command reads it.
        options: Other options of modiscolite.tfmodisco.TFMoDISco.

    Returns:
        The patterns as motifs.

    Raises:
        DataError: Where there are too few sequences, or no pattern recurs.
        ExtraMissing: Where modisco-lite is not installed.

    Source:
        Shrikumar et al. (2018), TF-MoDISco.

    Example:
        >>> import torch, netassay
        >>> from netassay.nets import AITAC
        >>> model = AITAC(3, length=100, n_filters=4, n_channels=3, n_hidden=5, generator=torch.Generator())
        >>> codes = torch.randint(4, (20, 100), dtype=torch.uint8)
        >>> from netassay.errors import DataError
        >>> try:
        ...     netassay.dna.attributions.find_patterns(netassay.attribute(model, codes, output=0))
        ... except DataError:
        ...     print("no pattern recurs")
        no pattern recurs
    """
    require("modiscolite", "modisco", "patterns")
    from modiscolite import io, tfmodisco

    hot = one_hot(attributions.codes).transpose(1, 2).contiguous().numpy()
    hypothetical = attributions.hypothetical.float().transpose(1, 2).contiguous().numpy()
    try:
        signs = tfmodisco.TFMoDISco(hot, hypothetical, max_seqlets_per_metacluster=most_sites, **options)
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise DataError(f"TF-MoDISco failed on these {len(hot)} sequences ({error}); give a hundred or more") from error
    positive, negative = ([] if patterns is None else list(patterns) for patterns in signs)
    if not positive and not negative:
        raise DataError(f"no pattern recurs among the contributions of these {len(hot)} sequences; give more")
    if file is not None:
        io.save_hdf5(str(file), *signs, window_size=hot.shape[1])
    return _patterns(positive, negative)


def _patterns(positive: Sequence[Any], negative: Sequence[Any]) -> Patterns:
    patterns = [*positive, *negative]
    names = [f"positive_{i}" for i in range(len(positive))] + [f"negative_{i}" for i in range(len(negative))]
    sites = [len(pattern.seqlets) for pattern in patterns]
    # rows of a pattern are positions, its values shares of the bases
    counts = [torch.from_numpy(np.asarray(p.sequence, np.float64).T) * n for p, n in zip(patterns, sites, strict=True)]
    matrices = [torch.from_numpy(np.asarray(p.contrib_scores, np.float64).T) for p in patterns]
    motifs = Motifs.of_matrices(names, counts, sites)
    contributions = torch.zeros_like(motifs.counts)
    for row, matrix in zip(contributions, matrices, strict=True):
        row[:, : matrix.shape[1]] = matrix
    return Patterns(motifs, contributions, len(positive))
