"""Classes of peaks by the correlation of prediction and observation, in words; nothing heavy is loaded here."""

import math

WELL = 0.75
"""A peak is well predicted above this correlation (Maslova et al. 2020)."""

CLASSES = {"r > 0.75": WELL, "0.5 to 0.75": 0.5, "0.25 to 0.5": 0.25, "0 to 0.25": 0.0, "r < 0": -math.inf}
"""Classes of peaks by r, each above its number and not above the one before; 0 itself is in "0 to 0.25"."""
