"""Runs on this machine, one child process each, the cores shared out among them.

A child that dies takes no other with it. When this process is stopped the children write their checkpoints and stop;
when it is killed they see their standard input close and do the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from netassay.errors import ConfigError, Interrupted, StoreError
from netassay.processes import Child, cores, stop_signals
from netassay.runs import Run

_PAUSE = 0.05


@dataclass(frozen=True)
class LocalProcesses:
    """An executor of `workers` children at a time with `threads` threads each."""

    workers: int
    threads: int

    @classmethod
    def sharing(cls, runs: int, workers: int | None = None) -> LocalProcesses:
        """As many workers as cores (or as asked, or as runs), the cores divided among them.

        ConfigError for fewer than one worker.
        """
        if workers is not None and workers < 1:
            raise ConfigError(f"workers = {workers} is not allowed: at least 1 run at a time")
        count = max(1, min(workers or cores(), runs))
        return cls(count, max(1, cores() // count))

    def __call__(
        self, folders: Sequence[Path], begun: Callable[[Path], None], ended: Callable[[Path, str], None]
    ) -> None:
        waiting = list(folders)
        children: list[_RunningChild] = []
        with stop_signals(patient=True) as received:
            while (waiting and not received) or children:
                while waiting and not received and len(children) < self.workers:
                    children.append(_RunningChild(waiting[0], self.threads))
                    begun(waiting.pop(0))
                for child in [child for child in children if child.exit_code() is not None]:
                    children.remove(child)
                    ended(child.folder, child.cause())
                if received:
                    for child in children:
                        child.stop()
                time.sleep(_PAUSE)
        if received:
            raise Interrupted(
                f"stopped with {len(waiting)} runs not begun; every checkpoint is kept: the same command goes on",
                received[0],
            )


class _RunningChild(Child):
    def __init__(self, folder: Path, threads: int) -> None:
        super().__init__("netassay.sweeps.child", [str(folder), str(threads)])
        self.folder = folder

    def cause(self) -> str:
        """Why the run is not done, or ""; to be asked once the process ended."""
        words, signal_name, code = self.last_words(), self.killed_by(), self.exit_code()
        self.close()
        try:
            if Run.open(self.folder).state.is_final:
                return ""
        except (
            StoreError
        ) as cause:  # damaged or deleted meanwhile: that is this run's failure, not the sweep's
            return str(cause)
        if signal_name:
            return f"its process was killed by {signal_name}; its last checkpoint is kept"
        return words or f"its process ended with code {code} and no message"
