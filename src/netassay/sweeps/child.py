"""One run in a process of its own: python -m netassay.sweeps.child RUN_FOLDER THREADS."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from netassay.errors import NetassayError
from netassay.performing import resume
from netassay.processes import when_parent_ends
from netassay.runs import Run


def main() -> int:
    folder, threads = Path(sys.argv[1]), int(sys.argv[2])
    when_parent_ends(lambda: os.kill(os.getpid(), signal.SIGTERM))
    try:
        # a run that was begun keeps its thread count, and with it its last bits
        resume(folder, threads=Run.open(folder).environment.get("threads", threads))
    except NetassayError as cause:
        print(cause, file=sys.stderr)
        return cause.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
