"""The tracker as a callback of a Lightning Trainer (extra [lightning])."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from netassay.curvature.forward import Batches, Loss
from netassay.errors import NetassayError
from netassay.extras import require
from netassay.studies.edge.tracker.tracker import SharpnessTracker, TrackerWarning


def sharpness_callback(loss: Loss, batches: Batches, *, store: Path | str = "runs", **keywords: Any) -> Any:
    """A `lightning.pytorch.Callback` that tracks the sharpness of the module being trained.

    `loss(output, target)` and `batches` (x, y), on the device of the training, are those of `SharpnessTracker`, whose
    other keywords may follow; the module is called as `module(x)` and its one optimiser is used. Steps are those of the
    optimiser, `trainer.global_step`; if several batches make one, the mean of their losses is recorded.
    `callback.tracker` is the tracker once training has begun, in the first process only. A module that cannot be
    tracked gives a TrackerWarning. Raises ExtraMissing if Lightning is not installed.
    """
    require("lightning", "lightning", "the Lightning callback")
    from lightning.pytorch import Callback

    class SharpnessCallback(Callback):
        tracker: SharpnessTracker | None = None

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            self.tracker, self.taken = None, trainer.global_step
            self.losses: list[Tensor] = []
            # the modules of all processes are replicas; the first looks for all
            if not trainer.is_global_zero:
                return
            if len(trainer.optimizers) != 1:
                warnings.warn(
                    f"the sharpness is not tracked: the module has {len(trainer.optimizers)} optimisers, and the "
                    "tracker follows one; use netassay.SharpnessTracker in a loop of your own for several",
                    TrackerWarning,
                    stacklevel=2,
                )
                return
            try:
                self.tracker = SharpnessTracker(
                    pl_module, loss, batches, trainer.optimizers[0], store=store, **keywords
                )
            except NetassayError as cause:
                warnings.warn(f"the sharpness is not tracked: {cause}", TrackerWarning, stacklevel=2)

        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            if self.tracker is not None:
                self.tracker.steps = trainer.global_step
                self.tracker.before_step()

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if self.tracker is None:
                return
            value: Any = outputs.get("loss") if isinstance(outputs, dict) else outputs
            if isinstance(value, Tensor) and value.numel() == 1:
                # Lightning divides the loss by the number of batches that a step accumulates
                self.losses.append(value.detach() * getattr(trainer, "accumulate_grad_batches", 1))
            # several batches may make one step of the optimiser
            if trainer.global_step > self.taken:
                self.taken = trainer.global_step
                mean = torch.stack([number.reshape(()) for number in self.losses]).mean() if self.losses else None
                self.losses = []
                self.tracker.steps = self.taken - 1
                self.tracker.step(mean)

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            if self.tracker is not None:
                self.tracker.close()

        def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
            if self.tracker is not None:
                self.tracker.__exit__(type(exception), exception, None)

    return SharpnessCallback()
