"""What a sweep costs beside its runs: 200 tiny runs by one worker and by two, and runs of some seconds.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/sweep.py [RUNS]. Four minutes on two cores.

Tiny runs: two steps of a network of four neurons on 60 digit images, one thread each, with everything that a run
writes. CPU seconds are those of this process and its workers, imports included; one worker and two take turns, and the
ratio of their walls is that of the fastest of each. Both stores are then compared: every metric of every run, to the
last bit. Then runs of some seconds: what two workers take beyond the seconds that the runs themselves record.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

from netassay.runs import Store
from netassay.sweeps import Plan, sweep
from netassay.sweeps.local import LocalProcesses

TINY = {"examples": 60, "width": 4, "steps": 2, "layers": False}
LONGER = {"examples": 1500, "width": 100, "steps": 1200, "curvature_every": 10, "layers": False}
ROUNDS = 2


def cpu_seconds() -> float:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in both)


def measured(plan: Plan, store: Path, workers: int) -> tuple[float, float]:
    """Wall and CPU seconds of a sweep with one thread a run."""
    wall, cpu = time.perf_counter(), cpu_seconds()
    done = sweep(plan, store, execute=LocalProcesses(workers, 1))
    assert not done.failed, done.failed
    return time.perf_counter() - wall, cpu_seconds() - cpu


def numbers(store: Path) -> dict[str, list[tuple[object, ...]]]:
    return {run.id: run.metrics().rows() for run in Store(store).runs()}


def tiny(runs: int, folder: Path) -> None:
    plan = Plan(study="edge", base=TINY, repeats=runs)
    walls: dict[int, list[float]] = {1: [], 2: []}
    cpus: dict[int, list[float]] = {1: [], 2: []}
    for number in range(ROUNDS):
        for workers in (1, 2):
            wall, cpu = measured(plan, folder / f"{workers}-{number}", workers)
            walls[workers].append(wall)
            cpus[workers].append(cpu)
    for workers in (1, 2):
        print(
            f"{runs} tiny runs, {workers} workers: {min(walls[workers]):.1f} s, "
            f"{min(cpus[workers]) / runs:.3f} CPU seconds a run"
        )
    print(f"two workers are {min(walls[1]) / min(walls[2]):.2f} times as fast as one (target 1.8)")
    print(f"same numbers: {numbers(folder / '1-0') == numbers(folder / '2-0')}")


def longer(folder: Path) -> None:
    plan = Plan(study="edge", base=LONGER, repeats=4)
    wall, _ = measured(plan, folder / "longer", 2)
    seconds = sum(run.seconds for run in Store(folder / "longer").runs())
    print(f"4 runs of {seconds / 4:.1f} s by two workers: {2 * wall - seconds:.1f} s of {2 * wall:.1f} s are no run")


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as folder:
        tiny(runs, Path(folder))
        longer(Path(folder))


if __name__ == "__main__":
    main()
