"""What a sweep costs beside its runs, and what recording costs within one.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/sweep.py [tiny | longer | recording]. Each part takes up to three
minutes on two idle cores; without a word all three are run.

tiny: 200 runs of two steps of a network of four neurons on 60 digit images, one thread each, with everything that a run
writes, by one worker and by two. CPU seconds are those of this process and its workers, imports included. Both stores
are then compared: every metric of every run, to the last bit. longer: what two workers take beyond the seconds that
runs of a minute themselves record. recording: the CPU time within the calls by which a run of ten seconds and more
opens, records, commits and ends, over all its CPU time.
"""

import contextlib
import functools
import resource
import sys
import tempfile
import time
from pathlib import Path

from netassay import EdgeConfig, perform
from netassay.runs import RunWriter, Store
from netassay.sweeps import Plan, sweep
from netassay.sweeps.local import LocalProcesses

TINY = {"examples": 60, "width": 4, "steps": 2, "layers": False}
LONGER = {"examples": 1500, "width": 100, "steps": 6000, "curvature_every": 10, "layers": False}
RECORDED = {"examples": 500, "width": 60, "steps": 3000, "curvature_every": 10, "layers": False}
CALLS = ("__init__", "record", "commit", "write_table", "settle", "finish", "close")


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


def tiny(folder: Path, runs: int = 200) -> None:
    plan = Plan(study="edge", base=TINY, repeats=runs)
    walls = {}
    for workers in (1, 2):
        walls[workers], cpu = measured(plan, folder / str(workers), workers)
        print(f"{runs} tiny runs, {workers} at a time: {walls[workers]:.1f} s, {cpu / runs:.3f} CPU seconds a run")
    print(f"two workers are {walls[1] / walls[2]:.2f} times as fast as one (target 1.8)")
    print(f"same numbers: {numbers(folder / '1') == numbers(folder / '2')}")


def longer(folder: Path) -> None:
    plan = Plan(study="edge", base=LONGER, repeats=4)
    wall, cpu = measured(plan, folder / "longer", 2)
    seconds = sum(run.seconds for run in Store(folder / "longer").runs())
    print(f"4 runs of {seconds / 4:.1f} s, two at a time: {wall:.1f} s, {cpu:.1f} CPU seconds")
    print(f"not within a run: {2 * wall - seconds:.1f} of {2 * wall:.1f} s, {1 - seconds / 2 / wall:.1%} (target 2 %)")


def recording(folder: Path) -> None:
    spent, depth = [0.0], [0]

    def timed(call):  # type: ignore[no-untyped-def]
        @functools.wraps(call)
        def wrapped(*words, **more):  # type: ignore[no-untyped-def]
            begun, depth[0] = time.process_time(), depth[0] + 1
            try:
                return call(*words, **more)
            finally:
                depth[0] -= 1
                if not depth[0]:  # calls within calls count once
                    spent[0] += time.process_time() - begun

        return wrapped

    for config in (EdgeConfig(**RECORDED), EdgeConfig(**{**RECORDED, "seed": 1})):
        spent[0] = 0.0
        with contextlib.ExitStack() as stack:
            for name in CALLS:
                call = getattr(RunWriter, name)
                setattr(RunWriter, name, timed(call))
                stack.callback(setattr, RunWriter, name, call)
            begun = time.process_time()
            perform(config, folder / "recorded", threads=1)
            cpu = time.process_time() - begun
        print(f"recording: {spent[0]:.2f} of {cpu:.1f} CPU seconds, {spent[0] / cpu:.2%} (target 2 %)")


PARTS = {"tiny": tiny, "longer": longer, "recording": recording}


def main() -> None:
    for name in sys.argv[1:] or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            PARTS[name](Path(folder))


if __name__ == "__main__":
    main()
