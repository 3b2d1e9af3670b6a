"""Workers, nodes, the controller and the command are killed in the middle; the same command ends with all runs done."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cluster import digests, until

from netassay.runs import State, Store
from netassay.sweeps import Plan, sweep
from netassay.sweeps.local import LocalProcesses

pytestmark = pytest.mark.slow

STEPS = 4000
BASE = {"examples": 60, "width": 4, "steps": STEPS, "curvature_every": STEPS, "layers": False}
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
        self.log = folder / "log"

    def start(self):
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._words, stdout=log, stderr=log)

    def kill(self):
        self._process.kill()
        self._process.wait()

    def ends_well(self):
        code = self._process.wait(600)  # only ends a test that hangs
        assert code == 0, self.log.read_text()[-3000:]

    def under_way(self):
        """Runs that have a checkpoint beyond the start and more than a quarter before them."""
        runs = Store(self.store).runs() if self.store.exists() else []
        return [run for run in runs if run.state is State.RUNNING and 0 < run.step < 0.75 * STEPS]

    def in_the_middle(self, count=1):
        """Waits for so many runs under way; they, and the processes that perform them."""
        runs = []

        def enough():
            runs[:] = self.under_way()
            assert len(runs) >= count or self._process.poll() is None, "the sweep ended before so many were under way"
            return len(runs) >= count

        until(enough)
        return {run: json.loads((run.folder / "lock").read_text())["pid"] for run in runs}


def lives(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def cut_off(holders):
    """Waits until a run has lost its process before its end; the newest checkpoints of such runs."""

    lost = {}

    def over():
        runs = [run for run, process in holders.items() if not lives(process)]
        lost.update({run.id: run.checkpoints()[-1] for run in runs if not run.state.is_final})
        return lost or len(runs) == len(holders)

    until(over)
    return lost


def assert_all_done(store, serial, lost):
    """All done, with the same numbers, each run begun once, and those that lost their process gone on with."""
    runs = Store(store).runs()
    assert [str(run.state) for run in runs] == ["finished"] * 12
    assert digests(store) == serial
    for run in runs:
        rows = run.events().select("what", "step").rows()
        assert [what for what, _ in rows].count("started") == 1
        resumed = [step for what, step in rows if what == "resumed"]
        assert resumed == sorted(resumed)
        if run.id in lost:
            assert resumed[0] == lost[run.id] > 0
        # no checkpoint is passed over: a run that is stopped goes on from where it was stopped
        stops = [step for what, step in rows if what in ("interrupted", "killed")]
        assert stops == resumed


def test_slurm_says_what_it_waits_for(tmp_path, serial, slurm):
    sweeping = Sweep(tmp_path, "--on", "slurm")
    slurm.says("scontrol", "update", "NodeName=n1,n2", "State=DRAIN", "Reason=test")
    try:
        sweeping.start()
        until(lambda: "Slurm holds back all 4 tasks of this sweep (" in sweeping.log.read_text())
    finally:
        slurm.says("scontrol", "update", "NodeName=n1,n2", "State=RESUME")
    sweeping.ends_well()
    assert sweeping.log.read_text().count("Slurm holds back") == 1
    assert_all_done(sweeping.store, serial, {})


@pytest.mark.parametrize("victim", ["worker", "node", "controller", "command", "preempted"])
def test_slurm_goes_on(victim, tmp_path, serial, slurm):
    sweeping = Sweep(tmp_path, "--on", "slurm")
    sweeping.start()
    holders, lost = sweeping.in_the_middle(2 if victim in ("node", "preempted") else 1), {}
    if victim == "worker":
        os.kill(next(iter(holders.values())), signal.SIGKILL)
        lost = cut_off(holders)
    elif victim == "node":
        slurm.says("scontrol", "update", "NodeName=n2", "State=DOWN", "Reason=test")
        lost = cut_off(holders)
        slurm.says("scontrol", "update", "NodeName=n2", "State=RESUME")
    elif victim == "controller":
        slurm.keeps_its_jobs()
        slurm.kill("slurmctld")
        sweeping.in_the_middle()
        slurm.start_daemon("slurmctld", "slurmctld", "-D")
    elif victim == "command":
        sweeping.kill()
        sweeping.start()
    else:
        job = slurm.says("squeue", "-h", "-r", "-t", "R", "-o", "%i").split()[0]
        slurm.says("scancel", "--signal=USR2", job)
        lost = cut_off(holders)
    sweeping.ends_well()
    assert lost or victim in ("controller", "command")
    assert_all_done(sweeping.store, serial, lost)


@pytest.mark.parametrize("victim", ["worker", "node", "command"])
def test_ray_goes_on(victim, tmp_path, serial, ray_cluster):
    sweeping = Sweep(tmp_path, "--on", "ray", "--address", ray_cluster.address)
    sweeping.start()
    # both nodes have a run before one is lost; else one run will do, since a node may be slow to start its Python
    holders = sweeping.in_the_middle(2 if victim == "node" else 1)
    if victim == "worker":
        os.kill(next(iter(holders.values())), signal.SIGKILL)
    elif victim == "node":
        ray_cluster.lose_second()
    else:
        sweeping.kill()
    lost = cut_off(holders)
    if victim == "command":
        sweeping.start()
    sweeping.ends_well()
    if victim == "node":
        ray_cluster.bring_back()
    assert lost
    assert_all_done(sweeping.store, serial, lost)
