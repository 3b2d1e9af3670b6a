"""States and ids of runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from netassay.errors import RunDamaged
from netassay.runs import disk, ledger

DIGITS = 12
"""Number of hex digits of the config's digest in a run's id."""


class State(StrEnum):
    """State of a run. KILLED is never stored: it is a run stored as running whose lock is free."""

    PLANNED = "planned"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    FINISHED = "finished"
    DIVERGED = "diverged"
    FAILED = "failed"
    KILLED = "killed"

    @property
    def is_final(self) -> bool:
        """Whether nothing is left to compute."""
        return self in (State.FINISHED, State.DIVERGED)


def stored_state(folder: Path, status: ledger.Status) -> State:
    """The state in a status row; RunDamaged for a word that no writer stores."""
    try:
        return State(status.state)
    except ValueError as unknown:
        raise RunDamaged(f"{folder / ledger.NAME}: is damaged ({unknown}); restore it from a copy") from None


def run_id(study: str, digest: str) -> str:
    """The id of the run of a config: its study and the beginning of its digest."""
    return f"{disk.checked_name('study', study)}-{digest[:DIGITS]}"
