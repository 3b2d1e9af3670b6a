"""Warnings of the tracker: a training near its edge, and a part of the tracking that failed."""

from __future__ import annotations

from typing import Any

from netassay.errors import NetassayError


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


def optimiser_name(optimizer: Any) -> str:
    if optimizer is None:
        return "not given"
    return f"step size {optimizer:g}" if isinstance(optimizer, int | float) else type(optimizer).__name__


def in_words(cause: Exception) -> str:
    return str(cause) if isinstance(cause, NetassayError) else f"{type(cause).__name__}: {cause}"
