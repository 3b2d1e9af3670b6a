"""Raw signal to heights: logarithm, and quantile normalisation over cell types."""

from __future__ import annotations

from typing import get_args

import numpy as np
from jaxtyping import Float, Float32

from netassay.dna.atlas.choices import Normalisation
from netassay.errors import DataError

LOGARITHMS: tuple[Normalisation, ...] = ("log2", "log2-quantile")


def nearly_linear(heights: Float32[np.ndarray, "n cell_types"]) -> tuple[int, float]:
    """How many heights above 0 lie below 1, where log2(x + 1) is nearly linear, and the median of those above 0.

    The number is 0 unless these are most: a table of counts has few.
    """
    above = heights[heights > 0]
    low = int((above < 1).sum())
    return (low, float(np.median(above))) if 2 * low > len(above) else (0, 1.0)


def normalise(
    heights: Float32[np.ndarray, "n cell_types"], kind: Normalisation, pseudocount: float = 1.0
) -> Float32[np.ndarray, "n cell_types"]:
    """Heights after log2(x + 1), quantile normalisation, or both in this order.

    Args:
        heights: (n, cell types) float32.
        kind: "none", "log2", "quantile" or "log2-quantile".
        pseudocount: Number (above 0) added before the logarithm; 1 is right for counts.

    Returns:
        (n, cell types) float32.

    Raises:
        DataError: For an unknown kind, a pseudocount that is not above 0, and for a logarithm of values below zero.

    Source:
        Maslova et al. (2020); Bolstad et al. (2003).

    Example:
        >>> import numpy as np
        >>> from netassay.dna.atlas import normalise
        >>> normalise(np.array([[1.0, 3.0]], np.float32), "log2").tolist()
        [[1.0, 2.0]]
    """
    if kind not in get_args(Normalisation):
        raise DataError(f"normalisation {kind!r}: allowed are {', '.join(get_args(Normalisation))}")
    if not 0 < pseudocount < np.inf:
        raise DataError(f"pseudocount = {pseudocount} is not allowed: a number above 0 (--pseudocount, pseudocount=)")
    if kind in LOGARITHMS:
        low = float(heights.min(initial=0.0))
        if low < 0:
            raise DataError(
                f"log2(x + 1) is for counts; the lowest height is {low:g}. Leave the logarithm out if the heights have "
                "been transformed already"
            )
        heights = np.log2(heights + np.float32(pseudocount))
    return quantile(heights) if kind in ("quantile", "log2-quantile") else heights


def quantile(heights: Float[np.ndarray, "n cell_types"]) -> Float32[np.ndarray, "n cell_types"]:
    """The same distribution for every column: at each rank the mean over columns.

    Values of a column that are equal get the mean over the ranks they fill together.

    Args:
        heights: (n, cell types).

    Returns:
        (n, cell types) float32.

    Source:
        Bolstad et al. (2003).

    Example:
        >>> import numpy as np
        >>> from netassay.dna.atlas import quantile
        >>> quantile(np.array([[1.0, 6.0], [3.0, 2.0]])).tolist()
        [[1.5, 4.5], [4.5, 1.5]]
    """
    n, columns = heights.shape
    target = np.zeros(n)
    for column in range(columns):
        target += np.sort(heights[:, column])
    target /= columns
    result = np.empty((n, columns), np.float32)
    for column in range(columns):
        order = np.argsort(heights[:, column], kind="stable")
        ordered = heights[order, column]
        first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if n else np.empty(0, np.int64)
        size = np.diff(np.r_[first, n])
        means = np.add.reduceat(target, first) / size if n else target
        result[order, column] = np.repeat(means, size)
    return result
