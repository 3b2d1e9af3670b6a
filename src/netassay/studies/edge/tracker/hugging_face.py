"""The tracker as a callback of a Hugging Face Trainer (extra [transformers])."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from torch import Tensor

from netassay.curvature.forward import Batches, Loss
from netassay.curvature.shards import is_sharded
from netassay.errors import NetassayError
from netassay.extras import require
from netassay.studies.edge.tracker.tracker import SharpnessTracker, TrackerWarning


def own_loss(output: Any, target: Any) -> Tensor:
    """The loss that a Hugging Face model returns if its batch has labels."""
    return output["loss"] if isinstance(output, dict) else output.loss


def sharpness_callback(batches: Batches, loss: Loss = own_loss, *, store: Path | str = "runs", **keywords: Any) -> Any:
    """A `transformers.TrainerCallback` that tracks the sharpness of the model being trained.

    Looks along the optimiser's next update come just before its step, when gradients are accumulated, unscaled and
    clipped (`level`, by default "layers"); exact ones after it. Steps are those of the optimiser, `state.global_step`.
    `callback.tracker` is the tracker once training has begun. The first process of replicas looks; a model that
    cannot be tracked gives a TrackerWarning.

    Args:
        batches: Batches such as the data collator makes, with labels, on the device of the training.
        loss: Loss, as for `SharpnessTracker`; by default the one that the model returns.
        store: Folder that holds the runs.
        keywords: Other arguments of `SharpnessTracker`.

    Returns:
        The callback, for `Trainer(..., callbacks=[callback])`.

    Raises:
        ExtraMissing: If transformers is not installed.
    """
    require("transformers", "transformers", "the Trainer callback")
    from transformers import TrainerCallback

    class SharpnessCallback(TrainerCallback):  # type: ignore[misc,unused-ignore]
        tracker: SharpnessTracker | None = None

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.tracker = None
            model, optimizer = kwargs["model"], kwargs["optimizer"]
            # the modules of all processes are replicas, unless each has a part of the weights
            if not state.is_world_process_zero and not is_sharded(model):
                return
            try:
                self.tracker = SharpnessTracker(
                    model, loss, batches, optimizer, store=store, **{"level": "layers"} | keywords
                )
            except NetassayError as cause:
                warnings.warn(f"the sharpness is not tracked: {cause}", TrackerWarning, stacklevel=2)

        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if self.tracker is not None:
                self.tracker.steps = state.global_step
                self.tracker.before_step()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if self.tracker is not None:
                self.tracker.steps = state.global_step - 1
                self.tracker.step()

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if self.tracker is not None:
                self.tracker.close()

    return SharpnessCallback()
