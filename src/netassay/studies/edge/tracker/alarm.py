"""Warnings of the tracker: a training near its edge, and a part of the tracking that failed."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from netassay.errors import NetassayError

if TYPE_CHECKING:
    from netassay.studies.edge.tracker.tracker import SharpnessTracker


class EdgeWarning(UserWarning):
    """A tracked training is close to its edge of stability.

    Example:
        >>> import warnings, netassay
        >>> warnings.simplefilter("error", netassay.EdgeWarning)
    """


class TrackerWarning(UserWarning):
    """Part of the tracking failed; the training goes on.

    Example:
        >>> import warnings, netassay
        >>> warnings.simplefilter("error", netassay.TrackerWarning)
    """


def warn_of_edge(tracker: SharpnessTracker) -> None:
    """The warning that replaces `on_edge` where none is given."""
    if tracker.sharpness is None:
        assert tracker.critical is not None
        warnings.warn(
            f"step {tracker.steps}: the learning rate is at {tracker.critical.edge_ratio:.2f} of the critical one "
            "along the next update (above 1 that step raises the loss on the tracked examples): warm up longer or "
            "lower it",
            EdgeWarning,
            stacklevel=3,
        )
        return
    ahead = tracker.forecast()
    advice = "" if ahead is None else f": {ahead.in_words(optimiser_name(tracker.optimizer))}"
    warnings.warn(
        f"step {tracker.measured_at}: the sharpness {float(tracker.sharpness.values[0]):.4g} is at "
        f"{tracker.edge_ratio:.2f} of the edge of stability (1: the loss may rise, and above it training oscillates or "
        f"diverges){advice}",
        EdgeWarning,
        stacklevel=3,
    )


def optimiser_name(optimizer: Any) -> str:
    if optimizer is None:
        return "not given"
    return f"step size {optimizer:g}" if isinstance(optimizer, int | float) else type(optimizer).__name__


def in_words(cause: Exception) -> str:
    return str(cause) if isinstance(cause, NetassayError) else f"{type(cause).__name__}: {cause}"
