"""Factors that make counts of cell types of unequal depth comparable."""

from __future__ import annotations

from typing import get_args

import numpy as np
from jaxtyping import Float, Float64

from netassay.dna.reads.choices import Scale
from netassay.errors import DataError

MILLION = 1e6
TOP_SHARE, DEVIATIONS = 0.01, 1.0
"""CREsted's: share of the highest peaks of a cell type, and standard deviations below the mean Gini index."""


def scale_factors(counts: Float[np.ndarray, "n cell_types"], kind: Scale) -> Float64[np.ndarray, " cell_types"]:
    """Factors by which the counts of each cell type are multiplied.

    Args:
        counts: (n, cell types), 0 or more.
        kind: none: 1. cpm: to a sum of a million over the peaks. size-factors: one over the median over peaks of the
            ratio to the geometric mean of the cell types. specificity: so that the highest peaks that are alike in all
            cell types have the same mean.

    Returns:
        A factor for each cell type, above 0.

    Raises:
        DataError: For an unknown kind, counts below 0, a cell type without counts, and where no peak is fit for the
            factors.

    Source:
        Anders and Huber (2010) for size factors; Kempynck et al. (2024), CREsted, for specificity.

    Example:
        >>> import numpy as np
        >>> from netassay.dna.reads import scale_factors
        >>> scale_factors(np.array([[10.0, 20.0], [30.0, 60.0]]), "cpm").tolist()
        [25000.0, 12500.0]
    """
    if kind not in get_args(Scale):
        raise DataError(f"scale {kind!r}: allowed are {', '.join(get_args(Scale))}")
    exact = np.asarray(counts, np.float64)
    if kind == "none":
        return np.ones(exact.shape[1])
    if (exact < 0).any():
        raise DataError(
            f"scale {kind}: is for counts; the lowest height is {exact.min():g}. Leave --scale (scale=) out"
        )
    sums = exact.sum(axis=0)
    if (sums == 0).any():
        raise DataError(
            f"scale {kind}: cell type number {int((sums == 0).argmax()) + 1} has no count in any peak; leave it out"
        )
    if kind == "cpm":
        return MILLION / sums
    return _size_factors(exact) if kind == "size-factors" else _specificity(exact)


def _size_factors(counts: np.ndarray) -> np.ndarray:
    everywhere = counts[(counts > 0).all(axis=1)]
    if not len(everywhere):
        raise DataError("scale size-factors: no peak has a count in every cell type; take cpm")
    logs = np.log(everywhere)
    return np.exp(-np.median(logs - logs.mean(axis=1, keepdims=True), axis=0))


def gini(counts: Float[np.ndarray, "n cell_types"]) -> Float64[np.ndarray, " n"]:
    """The Gini index of each row, 0 where all values are equal, towards 1 where one value has the whole sum."""
    ordered = np.sort(np.clip(counts, 0, None) + 1e-7, axis=1)
    size = ordered.shape[1]
    weights = 2 * np.arange(1, size + 1) - size - 1
    return (ordered * weights).sum(axis=1) / (size * ordered.sum(axis=1))


def _specificity(counts: np.ndarray) -> np.ndarray:
    """Largest mean over the own mean of the highest peaks of each cell type whose Gini index is low."""
    indices = gini(counts)
    threshold = indices.mean() - DEVIATIONS * indices.std()
    means = np.zeros(counts.shape[1])
    for column in range(counts.shape[1]):
        values = counts[:, column]
        top = int((values > 0).sum() * TOP_SHARE)
        highest = np.argsort(-values, kind="stable")[:top]
        alike = highest[indices[highest] < threshold]
        if not len(alike):
            raise DataError(
                f"scale specificity: among the highest {TOP_SHARE:.0%} of the peaks of cell type number {column + 1} "
                "none is alike in all cell types; give more peaks, or take size-factors"
            )
        means[column] = values[alike].mean()
    return means.max() / means
