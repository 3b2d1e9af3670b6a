"""Runs on this machine, one child process each, the cores shared out among them.

A child that dies takes no other with it. When this process is stopped the children write their checkpoints and stop;
when it is killed they see their standard input close and do the same.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from netassay.errors import ConfigError, Interrupted, StoreError
from netassay.runs import Run

_PAUSE = 0.05
_LAST_WORDS = 2000


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
        children: list[_Child] = []
        with _stop_signals() as received:
            while (waiting and not received) or children:
                while waiting and not received and len(children) < self.workers:
                    children.append(_Child(waiting[0], self.threads))
                    begun(waiting.pop(0))
                for child in [child for child in children if child.process.poll() is not None]:
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


class _Child:
    def __init__(self, folder: Path, threads: int) -> None:
        self.folder = folder
        self._asked = False
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", "netassay.sweeps.child", str(folder), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,  # the terminal's Ctrl-C reaches this process alone, which passes it on once
        )

    def stop(self) -> None:
        """Asks the child once to write its checkpoint and stop; a second signal would kill it."""
        if not self._asked:
            self._asked = True
            self.process.terminate()

    def cause(self) -> str:
        """Why the run is not done, or ""."""
        code = self.process.returncode
        self._errors.seek(0)
        words = self._errors.read().decode(errors="replace").strip()[-_LAST_WORDS:]
        self._errors.close()
        if self.process.stdin:
            self.process.stdin.close()
        try:
            if Run.open(self.folder).state.is_final:
                return ""
        except (
            StoreError
        ) as cause:  # damaged or deleted meanwhile: that is this run's failure, not the sweep's
            return str(cause)
        if code < 0:
            return f"its process was killed by {signal.Signals(-code).name}; its last checkpoint is kept"
        return words or f"its process ended with code {code} and no message"


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
