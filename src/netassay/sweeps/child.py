"""One run in a process of its own: python -m netassay.sweeps.child RUN_FOLDER THREADS."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from netassay.errors import NetassayError
from netassay.performing import resume
from netassay.runs import Run


def main() -> int:
    folder, threads = Path(sys.argv[1]), int(sys.argv[2])
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    try:
        # a run that was begun keeps its thread count, and with it its last bits
        resume(folder, threads=Run.open(folder).environment.get("threads", threads))
    except NetassayError as cause:
        print(cause, file=sys.stderr)
        return cause.exit_code
    return 0


def _stop_with_parent() -> None:
    # standard input is a pipe that only the parent holds: it ends when the parent does
    # (os.read: a thread inside sys.stdin's own lock would abort the interpreter on its way out)
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
