"""What a worker says of a run that it was given."""

from __future__ import annotations

import json
from typing import NamedTuple

DONE, LOCKED, STOPPED, FAILED = "done", "locked", "stopped", "failed"


class Answer(NamedTuple):
    """What became of the run, why it is not done, and the memory in bytes that the worker holds after it.

    A run is LOCKED while another process performs it, and STOPPED by a signal.
    """

    end: str
    cause: str
    resident: int | None

    def line(self) -> str:
        return json.dumps(self)

    @classmethod
    def read(cls, line: str) -> Answer:
        return cls(*json.loads(line))
