"""Workers, nodes, the controller and the command are killed in the middle; the same command ends with all runs done."""

import os
import signal
import subprocess
import sys

import pytest
from cluster import digests, until

from netassay.runs import State, Store
from netassay.sweeps import Plan, sweep
from netassay.sweeps.local import LocalProcesses

pytestmark = pytest.mark.slow

BASE = {"examples": 60, "width": 4, "steps": 250, "curvature_every": 250, "layers": False}
PLAN = Plan(
    study="edge",
    base=BASE,
    axes={"depth": [1, 2]},
    repeats=6,
    slurm={"tasks": 4, "minutes": 20, "commit_seconds": 0.2},
    ray={"commit_seconds": 0.2},
)


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    store = tmp_path_factory.mktemp("serial")
    assert not sweep(PLAN, store, execute=LocalProcesses(2, 1)).failed
    return digests(store)


class Sweep:
    """The command, in a process of its own, and the store."""

    def __init__(self, folder, *words):
        self.store, self._process = folder / "runs", None
        (folder / "plan.json").write_text(PLAN.model_dump_json())
        self._words = [sys.executable, "-m", "netassay", "sweep", str(folder / "plan.json"), "--store", str(self.store)]
        self._words += words
        self._log = folder / "log"

    def start(self):
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._words, stdout=log, stderr=log)

    def kill(self):
        self._process.kill()
        self._process.wait()

    def ends_well(self):
        code = self._process.wait()
        assert code == 0, self._log.read_text()[-3000:]

    def advanced(self, count=1):
        """Runs under way that have a checkpoint beyond the start."""
        runs = Store(self.store).runs() if self.store.exists() else []
        under_way = [run for run in runs if run.state is State.RUNNING and run.step > 0]
        return under_way if len(under_way) >= count else []

    def in_the_middle(self):
        until(self.advanced)
        return self.advanced() or self.in_the_middle()


def assert_all_done(store, serial):
    runs = Store(store).runs()
    assert [str(run.state) for run in runs] == ["finished"] * 12
    assert digests(store) == serial
    for run in runs:
        # whoever took a run up that had a checkpoint began from it
        starts = run.events().filter(run.events()["what"].is_in(["started", "resumed"]))
        assert starts["what"].to_list().count("started") == 1
        assert starts["step"].to_list() == sorted(starts["step"].to_list())
    return sum(run.events()["what"].to_list().count("resumed") for run in runs)


def pid_of(run):
    import json

    return json.loads((run.folder / "lock").read_text())["pid"]


@pytest.mark.parametrize("victim", ["worker", "node", "controller", "command", "preempted"])
def test_slurm_goes_on(victim, tmp_path, serial, slurm):
    sweeping = Sweep(tmp_path, "--on", "slurm")
    sweeping.start()
    under_way = sweeping.in_the_middle()
    if victim == "worker":
        os.kill(pid_of(under_way[0]), signal.SIGKILL)
    elif victim == "node":
        slurm.says("scontrol", "update", "NodeName=n2", "State=DOWN", "Reason=test")
        until(lambda: "down" in slurm.says("sinfo", "-h", "-N", "-o", "%t"))
        slurm.says("scontrol", "update", "NodeName=n2", "State=RESUME")
    elif victim == "controller":
        slurm.kill("slurmctld")
        sweeping.in_the_middle()
        slurm.start_daemon("slurmctld", "slurmctld", "-D")
    elif victim == "command":
        sweeping.kill()
        sweeping.start()
    else:
        job = slurm.says("squeue", "-h", "-r", "-t", "R", "-o", "%i").split()[0]
        slurm.says("scancel", "--signal=USR2", job)
    sweeping.ends_well()
    resumed = assert_all_done(sweeping.store, serial)
    assert resumed or victim in ("controller", "command")


@pytest.mark.parametrize("victim", ["worker", "node", "command"])
def test_ray_goes_on(victim, tmp_path, serial, ray_cluster):
    sweeping = Sweep(tmp_path, "--on", "ray", "--address", ray_cluster.address)
    sweeping.start()
    under_way = sweeping.in_the_middle()
    if victim == "worker":
        os.kill(pid_of(under_way[0]), signal.SIGKILL)
    elif victim == "node":
        until(lambda: sweeping.advanced(2))
        ray_cluster.lose_second()
    else:
        sweeping.kill()
        sweeping.start()
    sweeping.ends_well()
    if victim == "node":
        ray_cluster.bring_back()
    assert assert_all_done(sweeping.store, serial)
