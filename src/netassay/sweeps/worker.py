"""A process that imports once and performs many runs: python -m netassay.sweeps.worker THREADS COMMIT_SECONDS.

It reads the folder of a run from each line of standard input and answers each with a line of JSON (`Answer`) on
standard output. It ends with its input, and after a stop signal, with a checkpoint written in both cases.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import IO

from netassay.errors import Interrupted, NetassayError, RunLocked
from netassay.performing import resume
from netassay.processes import resident_bytes, stop_signals, stop_this_process
from netassay.runs import Run
from netassay.sweeps.answer import DONE, FAILED, LOCKED, STOPPED, Answer


def main() -> int:
    threads, commit_seconds, answers = int(sys.argv[1]), float(sys.argv[2]), _own_output()
    folders: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_listen, args=[folders], daemon=True).start()
    with stop_signals(lambda: folders.put(""), patient=True) as received:
        for folder in iter(folders.get, ""):
            if received:
                break
            end, cause = _performed(Path(folder), threads, commit_seconds)
            gc.collect()
            print(Answer(end, cause, resident_bytes()).line(), file=answers, flush=True)
            if end == STOPPED:
                break
    return 0


def _performed(folder: Path, threads: int, commit_seconds: float) -> tuple[str, str]:
    try:
        # a run that was begun keeps its thread count, and with it its last bits
        threads = Run.open(folder).environment.get("threads", threads)
        resume(folder, threads=threads, commit_seconds=commit_seconds)
    except RunLocked as cause:
        return LOCKED, str(cause)
    except Interrupted as cause:
        return STOPPED, str(cause)
    except NetassayError as cause:
        return FAILED, str(cause)
    return DONE, ""


def _own_output() -> IO[str]:
    """Standard output for the answers alone; what else is printed goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _listen(folders: SimpleQueue[str]) -> None:
    # os.read: a thread inside sys.stdin's own lock would abort the interpreter on its way out
    unread = b""
    while block := os.read(0, 1 << 16):
        *lines, unread = (unread + block).split(b"\n")
        for line in lines:
            folders.put(json.loads(line))
    folders.put("")
    stop_this_process()


if __name__ == "__main__":
    sys.exit(main())
