"""The one object that submitit serialises: a command line, and how it is stopped before it is queued again.

submitit reads it on the node and calls it; when Slurm sends USR2 (time limit, preemption) it calls `checkpoint` and has
Slurm queue the job again. What the call returns is None and is never read.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

STOPPED = 128 + signal.SIGTERM
"""Exit code of a command that SIGTERM stopped at its checkpoints."""
GRACE = 60.0
"""Seconds that a task waits after SIGTERM: Slurm ends or queues it again, or sends USR2, by which submitit does."""


class Submission:
    """A module of the node's own Python with its arguments; calling it runs it to its end."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)

    def __call__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", *self.words],
            # Slurm sends USR2 to every process of the job; this one answers it for all
            preexec_fn=lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN),
        )
        if self._process.wait() == STOPPED:
            time.sleep(GRACE)
        if self._process.returncode:
            sys.exit(self._process.returncode)

    def checkpoint(self) -> Any:
        """Stops the command at its checkpoints; what submitit is to submit again."""
        from submitit.helpers import DelayedSubmission

        process = getattr(self, "_process", None)
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError, ChildProcessError):  # it has ended meanwhile
                os.kill(process.pid, signal.SIGTERM)
                # not process.wait: a signal handler calls this within that call, which holds a lock
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        return DelayedSubmission(Submission(self.words))
