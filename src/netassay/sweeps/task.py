"""One task of a cluster: python -m netassay.sweeps.task ORDERS NUMBER, and the same within a worker of Ray.

The runs of the task are performed by the executor of this machine, with one worker process that imports torch once.
"""

from __future__ import annotations

import signal
import sys
from functools import cache
from pathlib import Path

from netassay.errors import NetassayError
from netassay.sweeps.local import Crew, LocalProcesses
from netassay.sweeps.orders import Orders
from netassay.sweeps.versions import difference, versions


def main() -> int:
    if hasattr(signal, "SIGUSR2"):
        # what Slurm sends to all processes of a job before its time limit; submitit passes it on as SIGTERM, once
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        orders = Orders.read(Path(sys.argv[1]))
        with LocalProcesses(1, orders.threads, commit_seconds=orders.commit_seconds).crew() as crew:
            perform(orders, int(sys.argv[2]), crew)
    except NetassayError as cause:
        print(cause, file=sys.stderr)
        return cause.exit_code
    return 0


def perform(orders: Orders, number: int, crew: Crew) -> None:
    """Makes the runs of a task done, or answers why not."""
    orders.arrive(number)
    if differs := difference(orders.versions, versions()):
        for folder in orders.folders(number):
            orders.answer(folder, f"versions differ between the command and its workers: {differs}; install the same")
        return
    crew(orders.folders(number), lambda folder: None, orders.answer)


def arrive_in_ray(folder: str, number: int) -> None:
    """Says in the store which versions a node has."""
    Orders.read(Path(folder)).arrive(number)


def perform_in_ray(folder: str, number: int) -> None:
    """As `perform`, with a worker process that stays for the next task of this process."""
    orders = Orders.read(Path(folder))
    perform(orders, number, _crew(orders.threads, orders.commit_seconds))


@cache
def _crew(threads: int, commit_seconds: float) -> Crew:
    # never closed: its worker ends, with a checkpoint, when this process does
    return LocalProcesses(1, threads, commit_seconds=commit_seconds).crew()


if __name__ == "__main__":
    sys.exit(main())
