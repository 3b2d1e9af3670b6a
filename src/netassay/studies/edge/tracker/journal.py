"""What a tracker writes: the numbers and events of its run, and a warning for each kind of failure."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from netassay.runs import Run, State
from netassay.studies.edge.tracker.alarm import TrackerWarning, in_words
from netassay.training import Checkpoint, Metric

COMMIT_SECONDS = 30.0


class Journal:
    """Numbers and events of a tracked training, by the writer of its run.

    What cannot be written, and any other error within `going_on`, is a warning, once for each kind, as the training
    must go on. `run` is None in processes that do not write.
    """

    def __init__(self, run: Run | None, writer: Any) -> None:
        self.run, self.writer = run, writer
        self.step = 0  # of the training, for events and warnings
        self._noted: set[object] = set()
        self._losses: list[tuple[int, Tensor | float]] = []
        self._committed = time.monotonic()

    def open(self, run: Run, writer: Any) -> None:
        """Writes to a run from now on."""
        self.run, self.writer = run, writer

    def keep_loss(self, step: int, loss: Tensor | float) -> None:
        """The loop's own loss, to be recorded with the next numbers.

        As a copy, since the loop may overwrite its own; on another device reading the number would wait for it.
        """
        if isinstance(loss, Tensor):
            loss = loss.item() if loss.is_cpu and loss.numel() == 1 else loss.detach().clone()
        self._losses.append((step, loss))

    def record(self, values: dict[Metric, float]) -> None:
        """Keeps the losses so far, and the numbers of this step."""
        self._record_losses()
        with self.going_on(self._write_failure):
            if values:
                self.writer.record(self.step, values)
            if time.monotonic() - self._committed >= COMMIT_SECONDS:
                # what cannot be written now is kept for the next commit
                self._committed = time.monotonic()
                self.writer.commit(Checkpoint(self.step + 1, {}, {}))

    def note(self, kind: str, text: str, *, again: bool = False) -> None:
        """An event of the run, each text once."""
        if text and (again or text not in self._noted):
            self._noted.add(text)
            with self.going_on(f"an event could not be written to {self._folder}"):
                self.writer.note(self.step, kind, text)

    def finish(self, state: State, message: str) -> None:
        """Ends the run."""
        self._record_losses()
        with self.going_on(f"the run could not be ended in {self._folder}"):
            try:
                self.writer.finish(state, step=self.step, message=message)
            finally:
                self.writer.close()

    @contextmanager
    def going_on(self, failing: str) -> Iterator[None]:
        """An error inside becomes a warning, and the training goes on."""
        try:
            yield
        except Exception as cause:
            self.warn(failing, cause, stacklevel=5)

    def warn(self, failure: str, cause: Exception, stacklevel: int = 4) -> None:
        """A warning, once for each kind of failure."""
        kind = failure, type(cause)
        if kind not in self._noted:
            self._noted.add(kind)
            warnings.warn(
                f"step {self.step}: {failure}: {in_words(cause)}; the training goes on",
                TrackerWarning,
                stacklevel=stacklevel,
            )

    def _record_losses(self) -> None:
        losses, self._losses = self._losses, []
        for step, loss in losses:
            try:
                values: Mapping[Metric, float] = {"loss": float(loss)}
            except Exception as cause:
                self.warn("the loss was not kept", cause)
                continue
            try:
                self.writer.record(step, values)
            except Exception as cause:
                self.warn(self._write_failure, cause)

    @property
    def _write_failure(self) -> str:
        return f"the numbers could not be written to {self._folder}"

    @property
    def _folder(self) -> str:
        return "" if self.run is None else str(self.run.folder)
