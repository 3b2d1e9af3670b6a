"""Following runs that a cluster performs: what is done is read from the run folders, never from the scheduler."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from netassay.errors import Interrupted, NetassayError, StoreError
from netassay.processes import stop_signals
from netassay.runs import Run, State
from netassay.runs.disk import is_held
from netassay.runs.glance import mark
from netassay.sweeps.local import PATIENCE, is_complete

LOOK, SHARE = 0.5, 0.05
"""Least seconds between two looks at the folders, and the most that looking may take of the time."""
SILENCE = 600.0
"""Seconds without an answer of the scheduler or a change in a folder after which the sweep gives up waiting."""


class Scheduler(Protocol):
    """A cluster, as far as a sweep needs it."""

    def submit(self, folders: Sequence[Path]) -> None:
        """Has the runs performed; NetassayError where that is refused."""

    def under_way(self) -> set[Path] | None:
        """Runs whose tasks wait or go on, those of an earlier command too; None where it gives no answer."""

    def cause(self, folder: Path) -> tuple[str, bool]:
        """Why a run whose task is over is not done, and whether it may be tried again."""

    def after_stop(self) -> str:
        """What becomes of the runs when this command is stopped, in words."""

    def close(self, well: bool) -> None:
        """Lets go of the cluster; `well` where all runs are done."""


def follow(
    scheduler: Scheduler,
    folders: Sequence[Path],
    begun: Callable[[Path], None],
    ended: Callable[[Path, str], None],
) -> None:
    """Has a scheduler make the runs done, and tells of each when it begins and ends."""
    watch = _Watch(scheduler, list(folders), begun, ended)
    with stop_signals(patient=True) as received:
        try:
            watch.submit(folders)
            while watch.left and not received:
                began = time.monotonic()
                watch.look()
                took = time.monotonic() - began
                time.sleep(max(LOOK, took / SHARE) if watch.left else 0)
        finally:
            scheduler.close(not watch.left and not watch.failed)
    if received:
        raise Interrupted(
            f"stopped with {len(watch.left)} runs left; {scheduler.after_stop()}; the same command goes on", received[0]
        )


@dataclass
class _Watch:
    scheduler: Scheduler
    left: list[Path]
    begun: Callable[[Path], None]
    ended: Callable[[Path, str], None]
    failed: int = 0
    marks: dict[Path, tuple[float, ...]] = field(default_factory=dict)
    shown: set[Path] = field(default_factory=set)
    lost: Counter[tuple[Path, int]] = field(default_factory=Counter)
    heard: float = field(default_factory=time.monotonic)

    def submit(self, folders: Sequence[Path]) -> None:
        """Submits what no earlier command has submitted already."""
        under_way = self.scheduler.under_way()
        if under_way is None:
            raise StoreError("the scheduler gives no answer; nothing was submitted: start the command again later")
        if new := [folder for folder in folders if folder not in under_way]:
            self.scheduler.submit(new)

    def look(self) -> None:
        # asked first: what has left the queue by now has written all that it was going to write
        under_way = self.scheduler.under_way()
        for folder in list(self.left):
            self._look_at(folder)
        if under_way is None:
            self._wait_for_answer()
            return
        self.heard = time.monotonic()
        again = [folder for folder in self.left if folder not in under_way and self._is_lost(folder)]
        if again:
            self.submit(again)

    def _look_at(self, folder: Path) -> None:
        now = mark(folder)
        if self.marks.get(folder) == now:
            return
        self.marks[folder], self.heard = now, time.monotonic()
        try:
            state = Run.open(folder).state
        except StoreError:
            return  # judged once its task is over
        if state is State.RUNNING and folder not in self.shown:
            self.shown.add(folder)
            self.begun(folder)
        if state.is_final and is_complete(folder):
            self._end(folder, "")

    def _is_lost(self, folder: Path) -> bool:
        """Whether a run whose task is over must be submitted again; otherwise it has ended, or another performs it."""
        if is_complete(folder):
            self._end(folder, "")
            return False
        if is_held(folder):
            return False
        cause, again = self.scheduler.cause(folder)
        try:
            place = (folder, Run.open(folder).step)
        except StoreError as damage:
            self._end(folder, str(damage))
            return False
        self.lost[place] += 1
        if again and self.lost[place] < PATIENCE:
            return True
        self._end(folder, f"{cause}, {PATIENCE} times at step {place[1]}" if again else cause)
        return False

    def _end(self, folder: Path, cause: str) -> None:
        self.left.remove(folder)
        if folder not in self.shown:
            self.shown.add(folder)
            self.begun(folder)
        self.failed += bool(cause)
        self.ended(folder, cause)

    def _wait_for_answer(self) -> None:
        if time.monotonic() - self.heard > SILENCE:
            raise NetassayError(
                f"the scheduler has given no answer for {SILENCE / 60:.0f} minutes, and no run has moved; jobs that it "
                "holds may go on all the same: start the same command again once it answers"
            )
