"""What each executor costs beside the runs: local workers, a real two-node Slurm, a real two-node Ray; one thread each.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/executors.py [SECONDS] [RUNS] [PLACE ...]. As root, with slurm-wlm,
munge and the extras slurm and ray; a minute and a half for each place on two cores.

The runs are sized on this machine to take about SECONDS each. Two workers, or two nodes of a core each, perform RUNS of
them. Overhead: the wall time from a cluster that is up to the last run, times two workers, less the seconds that the
runs themselves record, as a share of these. Of it, the start is what passes until the second worker begins (a Python
and torch on each node, the queue, the checks before a submission); it is paid once, whatever the number of runs. The
rest grows with their number, and is the share for long lists of runs.
"""

import os
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
os.environ |= {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"}

from cluster import RayCluster, SlurmCluster, digests

from netassay.runs import Run
from netassay.sweeps import Plan, sweep
from netassay.sweeps.local import LocalProcesses

BASE = {"examples": 1500, "width": 100, "curvature_every": 100, "layers": False}


def plan(steps: int, runs: int) -> Plan:
    return Plan(study="edge", base={**BASE, "steps": steps}, repeats=runs, slurm={"tasks": 2, "minutes": 10})


def steps_for(seconds: float, folder: Path) -> int:
    """Steps that take so long where two runs share this machine."""
    tried = 300
    runs = sweep(plan(tried, 2), folder / "tried", execute=LocalProcesses(2, 1)).runs
    return int(tried * seconds / max(run.seconds for run in runs))


def begun(run: Run) -> float:
    """When its first writer began, in seconds since 1970; whole seconds."""
    return datetime.fromisoformat(run.events()["time"][0]).timestamp()


def measure(place: str, chosen: Plan, store: Path, **where: object) -> None:
    moment, clock = time.time(), time.perf_counter()
    done = sweep(chosen, store, **where)
    wall = time.perf_counter() - clock
    assert not done.failed, done.failed
    work = sum(run.seconds for run in done.runs)
    start = max(0.0, sorted(begun(run) for run in done.runs)[1] - moment)
    rest = (2 * wall - work - 2 * start) / len(done.runs)
    print(
        f"{place}: {len(done.runs)} runs of {work / len(done.runs):.1f} s: {100 * (2 * wall - work) / work:.1f} % "
        f"beside the work; start {start:.0f} s, then {rest:.2f} s a run = {100 * rest * len(done.runs) / work:.1f} %",
        flush=True,
    )


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    places = sys.argv[3:] or ["local", "slurm", "ray"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chosen = plan(steps_for(seconds, folder), runs)
        if "local" in places:
            measure("local", chosen, folder / "local", execute=LocalProcesses(2, 1))
        if "slurm" in places:
            (folder / "cluster").mkdir()
            slurm = SlurmCluster(folder / "cluster")
            try:
                slurm.start()
                os.environ["SLURM_CONF"] = slurm.environment["SLURM_CONF"]
                measure("slurm", chosen, folder / "slurm", on="slurm")
            finally:
                slurm.stop()
        if "ray" in places:
            ray = RayCluster()
            try:
                measure("ray", chosen, folder / "ray", on="ray", address=ray.address)
            finally:
                ray.stop()
        stores = [digests(folder / place) for place in places]
        print(f"same numbers: {all(store == stores[0] for store in stores)}")


if __name__ == "__main__":
    main()
