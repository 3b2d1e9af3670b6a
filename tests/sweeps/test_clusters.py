"""The same plan here, by shards, on a real two-node Slurm and on a real two-node Ray: the same results, by digest."""

import json
import subprocess
import sys

import pytest
from cluster import digests

from netassay.performing import perform
from netassay.sweeps import Plan, sweep, watch
from netassay.sweeps.local import LocalProcesses

BASE = {"examples": 60, "width": 4, "steps": 6, "curvature_every": 3, "layers": False}
PLAN = Plan(study="edge", base=BASE, axes={"depth": [1, 2]}, repeats=2, slurm={"tasks": 2, "minutes": 5})


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    store = tmp_path_factory.mktemp("serial")
    for config in PLAN.configs():
        perform(config, store, threads=1)
    return digests(store)


def test_the_shards_of_a_plan_are_disjoint_and_together_all_of_it(tmp_path, serial):
    with LocalProcesses(1, 1).crew() as crew:  # one process for all shards, which imports torch once
        shares = [[run.id for run in sweep(PLAN, tmp_path, shard=f"{i}/3", execute=crew).runs] for i in (1, 2, 3)]
    assert [len(share) for share in shares] == [2, 1, 1]
    assert sorted(run for share in shares for run in share) == sorted(serial)
    assert digests(tmp_path) == serial


def test_slurm_gives_what_a_serial_sweep_gives(tmp_path, serial, slurm):
    seen = []
    done = sweep(PLAN, tmp_path, on="slurm", watch=seen.append)
    assert done.failed == {}
    assert digests(tmp_path) == serial
    assert (seen[-1].done, seen[-1].total, seen[-1].running) == (4, 4, ())
    # each task has performed its two runs by one process that imported torch once, and nothing of ours is left
    holders = [json.loads((run.folder / "lock").read_text())["pid"] for run in done.runs]
    assert (holders[0], holders[1]) == (holders[2], holders[3])
    assert not (tmp_path / ".sweeps").exists()
    assert [standing.state for standing in watch(PLAN, tmp_path)] == ["finished"] * 4


@pytest.mark.slow
def test_ray_gives_what_a_serial_sweep_gives(tmp_path, serial, ray_cluster):
    (tmp_path / "plan.json").write_text(PLAN.model_dump_json())
    words = [sys.executable, "-m", "netassay", "sweep", "plan.json", "--store", "runs", "--format", "json"]
    done = subprocess.run([*words, "--on", "ray", "--address", ray_cluster.address], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "runs") == serial
    assert {row["state"] for row in json.loads(done.stdout)} == {"finished"}
    assert not (tmp_path / "runs" / ".sweeps").exists()
