"""What is wrong with a cluster is said before anything is submitted."""

import json
import sys
import warnings
from importlib import util

import pytest

from netassay.errors import ConfigError, ExtraMissing
from netassay.sweeps import Plan, nodes, slurm, sweep
from netassay.sweeps.orders import Orders
from netassay.sweeps.resources import RayResources, SlurmResources
from netassay.sweeps.shard import Shard
from netassay.sweeps.versions import versions

BASE = {"examples": 60, "width": 4, "steps": 2, "layers": False}
RUNS = ("edge-0123456789ab", "edge-ba9876543210")


def plan(**more):
    return Plan(study="edge", base=BASE, **more)


def refused(store, words, chosen=None, error=ConfigError, **where):
    with pytest.raises(error, match=words):
        sweep(chosen or plan(), store, **where)
    assert not list(store.glob("edge-*"))


@pytest.mark.parametrize("word", ["0/3", "4/3", "0/0", "3", "a/b", "1/-3", "-1/3", "1/3/4", "", "1 / 3", "1/³"])
def test_a_bad_shard_is_refused(word, tmp_path):
    refused(tmp_path, "shard", shard=word)


def test_shards_are_disjoint_and_together_all():
    for total in (1, 2, 3, 20, 30):
        shards = [Shard(number, total).of(range(23)) for number in range(1, total + 1)]
        assert sorted(item for shard in shards for item in shard) == list(range(23))


def test_flags_of_another_place_are_refused(tmp_path):
    refused(tmp_path, "did you mean 'slurm'", on="slrum")
    refused(tmp_path, "add --on ray", address="auto")
    refused(tmp_path, "add --on slurm or --on ray", cluster="cluster.toml")
    refused(tmp_path, "tasks and at_once", on="slurm", workers=2)


def test_keys_of_the_tables_are_checked(tmp_path):
    with pytest.raises(ConfigError, match=r"'minuts' in \[slurm\]: did you mean 'minutes'"):
        plan(slurm={"minuts": 3})
    with pytest.raises(ConfigError, match=r"\[ray\] cpus.*given 0"):
        plan(ray={"cpus": 0})
    file = tmp_path / "cluster.toml"
    file.write_text("[slurm]\nminutes = 7\n[ray]\ncpus = 3\n")
    assert SlurmResources(partition="gpu").with_file(file, "slurm") == SlurmResources(partition="gpu", minutes=7)
    assert RayResources(cpus=2, gpus=1).with_file(file, "ray") == RayResources(cpus=3, gpus=1)
    file.write_text("[slurn]\nminutes = 7\n")
    with pytest.raises(ConfigError, match="did you mean 'slurm'"):
        SlurmResources().with_file(file, "slurm")


def test_no_slurm_says_what_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    refused(tmp_path, r"sbatch, srun, squeue, sinfo, scontrol not found on PATH.*module load slurm", on="slurm")


def test_no_library_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm.shutil, "which", lambda tool: tool)
    monkeypatch.setattr(slurm, "find_spec", lambda name: None)
    refused(tmp_path, r"pip install \"netassay\[slurm\]\"", error=ExtraMissing, on="slurm")
    ray = pytest.importorskip("netassay.sweeps.connection")
    monkeypatch.setattr(ray, "find_spec", lambda name: None)
    refused(tmp_path, r"pip install \"netassay\[ray\]\"", error=ExtraMissing, on="ray")


def fake_tools(folder, monkeypatch, **answers):
    """Programs with the names of Slurm's that answer so, on PATH before all others."""
    folder.mkdir()
    for tool in slurm.TOOLS:
        (folder / tool).write_text(f"#!/bin/sh\n{answers.get(tool, 'exit 0')}\n")
        (folder / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(slurm, "find_spec", lambda name: True)


def test_a_slurm_that_cannot_be_reached(tmp_path, monkeypatch):
    fake_tools(tmp_path / "bin", monkeypatch, sinfo="echo 'Unable to contact slurm controller' >&2; exit 1")
    refused(tmp_path, "cannot be reached: sinfo says: Unable to contact", on="slurm")


def test_a_partition_that_is_not_there(tmp_path, monkeypatch):
    fake_tools(tmp_path / "bin", monkeypatch, sinfo="echo main; echo long")
    refused(tmp_path, "partition = 'gpu' is not allowed: long, main", plan(slurm={"partition": "gpu"}), on="slurm")


def test_a_time_limit_without_time_for_a_checkpoint(tmp_path, monkeypatch):
    fake_tools(tmp_path / "bin", monkeypatch)
    short = plan(slurm={"minutes": 1, "signal_seconds": 30, "commit_seconds": 60})
    refused(tmp_path, r"minutes = 1 is too short.*at least 2 minutes", short, on="slurm")


def test_a_store_that_the_nodes_do_not_see(tmp_path, monkeypatch):
    answer = "echo 'NodeName=a NodeHostName=far-away'"
    fake_tools(tmp_path / "bin", monkeypatch, scontrol=answer, sinfo="echo main")
    monkeypatch.setattr(slurm, "lives_here_alone", lambda folder: True)
    refused(tmp_path, r"file system of this machine alone.*far-away.*shared = true", on="slurm")
    assert slurm.Slurm(SlurmResources(shared=True), tmp_path).workers == 256


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ("echo no module named netassay >&2; exit 1", "does not start.*no module named netassay"),
        ("echo Hello", "'Hello' where versions were asked"),
        (f"echo '{json.dumps({**versions(), 'torch': '1.0', 'submitit': '1'})}'", "torch .* here and 1.0 there"),
        (f"echo '{json.dumps({**versions(), 'python': '3.9', 'submitit': '1'})}'", "python .* here and 3.9 there"),
        (f"echo '{json.dumps({**versions(), 'submitit': ''})}'", "submitit is missing"),
    ],
)
def test_a_python_of_the_nodes_that_is_another(tmp_path, monkeypatch, there, words):
    fake_tools(tmp_path / "bin", monkeypatch, sinfo="echo main")
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{there}\n")
    python.chmod(0o755)
    refused(tmp_path, words, plan(slurm={"python": str(python)}), on="slurm")


def test_lines_of_setup_that_fail(tmp_path):
    with pytest.raises(ConfigError, match="does not start"):
        nodes.try_python(SlurmResources(setup=["module-that-is-not-there load cuda"]))
    if util.find_spec("submitit"):
        nodes.try_python(SlurmResources(setup=["export READY=1"], prefix="env", python=sys.executable))


def test_a_ray_that_cannot_be_reached(tmp_path):
    pytest.importorskip("ray")
    refused(tmp_path, "auto or HOST:PORT", on="ray", address="ray://x")
    refused(tmp_path, "no Ray cluster answers at 127.0.0.1:9.*ray start --head", on="ray", address="127.0.0.1:9")


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ([("PD", "JobHeldUser"), ("PD", "JobHeldUser")], 1),
        ([("PD", "JobHeldUser"), ("PD", "Nodes required for job are DOWN, DRAINED")], 2),
        ([("PD", "JobHeldUser"), ("R", "None")], 0),
        ([("PD", "Priority"), ("PD", "Resources")], 0),
    ],
)
def test_reasons_to_wait_that_may_need_a_person_are_said_once(states, said, tmp_path, monkeypatch):
    orders = Orders.write(tmp_path, [[RUNS[0]], [RUNS[1]]], 1, 0.2)
    lines = [f"7_{i}|{state}|{reason}|{slurm.NAME}{orders.token}" for i, (state, reason) in enumerate(states)]
    monkeypatch.setattr(slurm, "ask", lambda *words: "\n".join(lines))
    monkeypatch.setattr(slurm, "_ASK", 0.0)
    queue = slurm.Queue(SlurmResources(), tmp_path)
    with warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always")
        for _ in range(3):
            assert {folder.name for folder in queue.under_way()} == {*RUNS}
    begin = "Slurm holds back all 2 tasks of this sweep ("
    assert [str(remark.message).startswith(begin) for remark in remarks] == [True] * said
