"""Classes of peaks by the correlation of prediction and observation, in words; nothing heavy is loaded here."""

import math

FEWEST = 3
"""Minimum number of values for a correlation."""

TOO_FEW = "a correlation of two values is 1 or -1 whatever they are, and of one it is not defined"
"""Why fewer values have none."""


def no_correlation(cell_types: int) -> str:
    """Why there is no r across so few cell types."""
    return f"no r across {cell_types} cell type{'s' if cell_types > 1 else ''}: {TOO_FEW}"


WELL = 0.75
"""A peak is well predicted above this correlation (Maslova et al. 2020)."""

CLASSES = {"r > 0.75": WELL, "0.5 to 0.75": 0.5, "0.25 to 0.5": 0.25, "0 to 0.25": 0.0, "r < 0": -math.inf}
"""Classes of peaks by r, each above its number and not above the one before; 0 itself is in "0 to 0.25"."""
