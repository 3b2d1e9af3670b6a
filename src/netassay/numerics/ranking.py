"""Areas under the curves of a ranking, bit for bit those of scikit-learn, which weighs 50 MB."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float64


def roc_area(truth: Bool[np.ndarray, " n"], scores: Float[np.ndarray, " n"]) -> float:
    """Share of pairs, one true and one false, that the scores order rightly; ties count one half.

    `truth` holds both kinds. Hanley and McNeil (1982).
    """
    hits, misses = _counts(truth, scores)
    if len(hits) > 2:  # points on a line between others leave the area, and bring rounding
        corner = np.r_[True, (np.diff(misses, 2) != 0) | (np.diff(hits, 2) != 0), True]
        hits, misses = hits[corner], misses[corner]
    heights, places = np.r_[0.0, hits] / hits[-1], np.r_[0.0, misses] / misses[-1]
    return float(np.trapezoid(heights, places))


def average_precision(truth: Bool[np.ndarray, " n"], scores: Float[np.ndarray, " n"]) -> float:
    """Area under the precision-recall curve as a mean of precisions; `truth` holds both kinds.

    Davis and Goadrich (2006).
    """
    hits, misses = _counts(truth, scores)
    precision, recall = (hits / (hits + misses))[::-1], np.r_[(hits / hits[-1])[::-1], 0.0]
    return float(max(0.0, -np.sum(np.diff(recall) * precision)))


def _counts(truth: np.ndarray, scores: np.ndarray) -> tuple[Float64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
    """True and false ones at or above each score that occurs, from the greatest score on."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True])
    hits = np.cumsum(truth[order], dtype=np.float64)[last]
    return hits, 1 + last - hits
