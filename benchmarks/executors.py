"""What each executor costs beside the runs: local workers, a real two-node Slurm, a real two-node Ray; one thread each.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/executors.py [SECONDS] [RUNS] [PLACE ...]. As root, with slurm-wlm,
munge and the extras slurm and ray; a minute and a half for each place on two cores.

The runs are sized on this machine to take about SECONDS each. Two workers, or two nodes of a core each, perform RUNS of
them on a cluster that is up. A look ten times a second says how many are under way. The time that a worker spends
without a run has four parts: until both have one (a Python and torch on each node, the queue, the checks before a
submission; paid once), between runs (what grows with their number), while the other worker has the last run, and until
the command ends.
"""

import os
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
os.environ |= {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"}

from cluster import RayCluster, SlurmCluster, digests

from netassay.runs.disk import is_held
from netassay.sweeps import Plan, sweep
from netassay.sweeps.local import LocalProcesses

BASE = {"examples": 1500, "width": 100, "curvature_every": 100, "layers": False}


def plan(steps: int, runs: int) -> Plan:
    return Plan(study="edge", base={**BASE, "steps": steps}, repeats=runs, slurm={"tasks": 2, "minutes": 10})


def steps_for(seconds: float, folder: Path) -> int:
    """Steps that take so long where two runs share this machine."""
    tried = 1000  # the time of fewer is that of a run's beginning and end
    runs = sweep(plan(tried, 2), folder / "tried", execute=LocalProcesses(2, 1)).runs
    return int(tried * seconds / max(run.seconds for run in runs))


class Looks:
    """How many runs are under way, again and again: a run begins when it is held and ends with its tables."""

    def __init__(self, store: Path) -> None:
        self.store, self.rows, self.over = store, [], threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()

    def look(self) -> None:
        while not self.over.wait(0.1):
            folders = [path.parent for path in self.store.glob("*/lock")]
            ended = {folder for folder in folders if (folder / "tables" / "metrics.parquet").exists()}
            begun = {folder for folder in folders if is_held(folder)} | ended
            self.rows.append((time.perf_counter(), len(begun), len(ended)))

    def idle(self, runs: int, begin: float, end: float) -> tuple[float, float, float, float]:
        """Seconds of a worker without a run: before both have one, between runs, after the last begins, at the end."""
        self.over.set()
        self.thread.join()
        seconds = [0.0, 0.0, 0.0, 0.0]
        before = (begin, 0, 0)
        for row in [*self.rows, (end, runs, runs)]:
            _, begun, ended = before
            part = 0 if begun < 2 else 3 if ended == runs else 2 if begun == runs else 1
            seconds[part] += (2 - (begun - ended)) * (row[0] - before[0])
            before = row
        return tuple(seconds)


def measure(place: str, chosen: Plan, store: Path, **where: object) -> None:
    looks, begin = Looks(store), time.perf_counter()
    done = sweep(chosen, store, **where)
    end = time.perf_counter()
    assert not done.failed, done.failed
    runs, work = len(done.runs), sum(run.seconds for run in done.runs)
    start, between, last, tail = looks.idle(runs, begin, end)
    rest = 2 * (end - begin) - work - start - between - last - tail
    print(
        f"{place}: {runs} runs of {work / runs:.1f} s. Two workers were without a run for {start:.1f} s at the start, "
        f"{between:.1f} s between runs = {100 * between / work:.1f} % of the work, {last:.1f} s beside the last run, "
        f"{tail:.1f} s at the end; within runs, beside the seconds that they record: {rest:.1f} s",
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
