"""The tracker in a loop of Hugging Face Accelerate (extra [transformers])."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

from torch import nn

from netassay.curvature.forward import Batches, Loss
from netassay.errors import ConfigError
from netassay.studies.edge.tracker.forward_level import stepping
from netassay.studies.edge.tracker.tracker import SharpnessTracker


def sharpness_tracker(
    accelerator: Any,
    model: nn.Module,
    loss: Loss,
    batches: Batches,
    optimizer: Any,
    *,
    store: Path | str = "runs",
    **keywords: Any,
) -> SharpnessTracker:
    """A tracker that counts the steps of the optimiser by itself, so the loop only calls `close`.

    A step that only accumulates gradients does not count, nor does one that the gradient scaler skips. Looks are in
    full precision, whatever precision `accelerator.prepare` gave the forward pass.

    Args:
        accelerator: The `accelerate.Accelerator` of the loop.
        model: The model that `accelerator.prepare` returned.
        loss: Loss, as for `SharpnessTracker`.
        batches: Batches, as for `SharpnessTracker`, on the device of the training.
        optimizer: The optimiser that `accelerator.prepare` returned.
        store: Folder that holds the runs.
        keywords: Other arguments of `SharpnessTracker`; `level` is by default "layers".

    Returns:
        The tracker.

    Raises:
        ConfigError: For objects that were not prepared, and as `SharpnessTracker` does.
        ModelError: As `SharpnessTracker` does.
    """
    if not any(optimizer is prepared for prepared in accelerator._optimizers):
        raise ConfigError(
            "the optimizer was not prepared by this accelerator; give what accelerator.prepare(...) returned"
        )
    tracker = SharpnessTracker(model, loss, batches, optimizer, store=store, **{"level": "layers"} | keywords)
    method = weakref.WeakMethod(tracker.step)

    def count(*_: Any) -> None:
        step = method()
        if step is not None:
            step()

    stepping(optimizer).register_step_post_hook(count)
    return tracker
