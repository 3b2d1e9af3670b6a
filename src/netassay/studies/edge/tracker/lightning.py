"""The tracker as a callback of a Lightning Trainer (extra [lightning])."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from netassay.curvature.forward import Batches, Loss
from netassay.errors import ExtraMissing, ModelError
from netassay.studies.edge.tracker.tracker import SharpnessTracker

if TYPE_CHECKING:
    from torch import Tensor


def sharpness_callback(loss: Loss, batches: Batches, *, store: Path | str = "runs", **keywords: Any) -> Any:
    """A `lightning.pytorch.Callback` that tracks the sharpness of the module being trained.

    `loss(output, target)` and `batches` (x, y), on the device of the training, are those of `SharpnessTracker`, whose
    other keywords may follow; the module is called as `module(x)` and its one optimiser is used. The loss of each
    training step is kept if the step returns it. `callback.tracker` is the tracker once training has begun.
    Raises ExtraMissing where Lightning is not installed.
    """
    try:
        from lightning.pytorch import Callback
    except ImportError:
        raise ExtraMissing(
            "the Lightning callback needs the extra [lightning]: pip install 'netassay[lightning]'"
        ) from None

    class SharpnessCallback(Callback):
        tracker: SharpnessTracker | None = None

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            if len(trainer.optimizers) != 1:
                raise ModelError(
                    f"the module has {len(trainer.optimizers)} optimisers; the tracker follows one: use "
                    "netassay.SharpnessTracker in a loop of your own for several"
                )
            optimizer = getattr(trainer.optimizers[0], "optimizer", trainer.optimizers[0])
            self.tracker = SharpnessTracker(pl_module, loss, batches, optimizer, store=store, **keywords)

        def on_train_batch_end(
            self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            assert self.tracker is not None
            value: Tensor | None = outputs.get("loss") if isinstance(outputs, dict) else outputs
            self.tracker.step(value)

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            if self.tracker is not None:
                self.tracker.close()

        def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
            if self.tracker is not None:
                self.tracker.__exit__(type(exception), exception, None)

    return SharpnessCallback()
