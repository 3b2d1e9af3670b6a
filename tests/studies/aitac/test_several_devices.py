"""Two processes on the CPU against one: the same step, stops, lost processes, refusals."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from easy_atlas import SMALL, easy_atlas
from memory import Memory

from netassay import training
from netassay.errors import ConfigError, ExtraMissing, Interrupted, RunFailed
from netassay.performing import perform
from netassay.runs import State, Store
from netassay.studies.aitac.config import AitacConfig
from netassay.studies.aitac.devices.leader import leading
from netassay.studies.aitac.devices.shared_fit import part_of
from netassay.studies.aitac.fit import Fit, material

TWO = {**SMALL, "dropout": 0.2, "devices": 2}


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    return str(easy_atlas().save(tmp_path_factory.mktemp("atlas") / "easy"))


@pytest.fixture(scope="module")
def two_processes():
    pytest.importorskip("lightning_fabric", reason="the extra [devices] is not installed")
    if (os.cpu_count() or 1) < 2:
        pytest.skip("two processes are for machines of two cores or more")


def others():
    """Ids of the other processes of a training."""
    found = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True)
    return [int(line.split()[0]) for line in found.stdout.splitlines() if "netassay.studies.aitac.devices.rank" in line]


@pytest.fixture(scope="module")
def config(atlas):
    """Every epoch is a large batch and one of a single peak, of which one process has none."""
    peaks = len(material(AitacConfig(atlas=atlas)).split.train)
    return AitacConfig(atlas=atlas, **{**TWO, "batch_size": peaks - 1, "epochs": 4}, strands="averaged", shift=2)


@pytest.fixture(scope="module")
def in_one_context(config, two_processes):
    """The first two steps by one process and by two, and a run by two that is stopped before step 6."""
    data, steps = material(config), []
    alone = Fit(config.replace(devices=1), data)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with leading(config, data) as shared:
        begin = shared.state()
        begin = ({name: t.clone() for name, t in begin[0].items()}, begin[1])
        for step in range(2):
            shared.load(*alone.state())
            losses = [fit.measure(step)["loss"] for fit in (alone, shared)]
            for fit in (alone, shared):
                fit.advance()
            slopes = [torch.cat([p.grad.flatten() for p in fit.model.parameters()]) for fit in (alone, shared)]
            buffers = [[t.clone() for t in fit.model.buffers()] for fit in (alone, shared)]
            weights = [torch.cat([p.flatten() for p in fit.model.parameters()]) for fit in (alone, shared)]
            steps.append((losses, slopes, buffers, weights))
        shared.load(*begin)
        memory = Memory()
        memory.stop = lambda: len(memory.steps) == 6
        training.train(shared, memory, steps=shared.steps)
        memory.checkpoint = replace(
            memory.checkpoint, tensors={name: t.clone() for name, t in memory.checkpoint.tensors.items()}
        )
        assert len(others()) == 1
    torch.set_num_threads(before)
    return steps, memory


def test_a_step_of_two_processes_is_that_of_one(in_one_context):
    """Also where a batch has one peak and a process none; batch norm and dropout are those of the whole batch."""
    assert not others()
    assert not torch.distributed.is_initialized()
    for losses, slopes, buffers, weights in in_one_context[0]:
        assert losses[1] == pytest.approx(losses[0], rel=1e-6)
        # in float64 they agree to 4e-14; equal weights for unequal parts would be off by 2e-3
        assert (slopes[1] - slopes[0]).norm() < 1e-4 * slopes[0].norm()
        for a, b in zip(*buffers, strict=True):
            assert torch.allclose(a, b, rtol=1e-5, atol=1e-6)
        # Adam makes much of slopes that are nothing but rounding
        assert ((weights[1] - weights[0]).abs() > 1e-5).float().mean() < 0.02


def test_a_lost_process_fails_the_run_which_goes_on_bit_for_bit(config, in_one_context, tmp_path, capfd):
    def until(step, act):
        return lambda at, values: act() if at == step else None

    def stop():
        os.kill(os.getpid(), signal.SIGTERM)

    def kill():
        os.kill(others()[0], signal.SIGKILL)

    with pytest.raises(RunFailed, match=r"process 2 of 2 \(cpu\) was killed by SIGKILL; .*resume"):
        perform(config, tmp_path, threads=2, commit_seconds=0, watch=until(2, kill))
    assert not others()
    run = Store(tmp_path).runs()[0]
    assert run.state is State.FAILED
    with pytest.raises(Interrupted):
        perform(config, tmp_path, watch=until(5, stop))
    assert not others()
    memory = in_one_context[1]
    found = {(step, name, part): value for step, name, part, value in run.metrics().iter_rows()}
    wanted = {
        (step, *((key, "") if isinstance(key, str) else key)): value
        for step, values in memory.steps.items()
        for key, value in values.items()
    }
    assert found == wanted
    a, b = memory.checkpoint, run.checkpoint()
    assert a.step == b.step == 6
    assert a.tensors.keys() == b.tensors.keys()
    assert all(torch.equal(t, b.tensors[name]) for name, t in a.tensors.items())
    assert capfd.readouterr() == ("", "")


def test_a_process_ends_with_its_leader():
    words = [sys.executable, "-m", "netassay.studies.aitac.devices.rank", "1", "1", "1"]
    left = subprocess.Popen(words, stdin=subprocess.PIPE)
    left.stdin.close()
    assert left.wait(30) == 1


def test_what_cannot_be_had_is_refused_before_a_run_is_begun(atlas, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    for change, words in (
        ({"devices": 3}, "devices = 3 is not allowed: this machine has 2 cores"),
        ({"devices": 2, "device": "cuda:1"}, "give device = 'cuda'"),
    ):
        with pytest.raises(ConfigError, match=words):
            perform(AitacConfig(**{"atlas": atlas, **SMALL, **change}), tmp_path / "runs")
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(ExtraMissing, match=r"netassay\[devices\]"):
        perform(AitacConfig(atlas=atlas, **TWO), tmp_path / "runs")
    assert not Store(tmp_path / "runs").runs()


def test_one_device_is_no_new_config():
    old = AitacConfig()
    assert "devices" not in old.mapping()
    assert AitacConfig.from_mapping(old.mapping()) == old
    assert AitacConfig(devices=2).mapping()["devices"] == 2
    assert AitacConfig(devices=2).digest != old.digest


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_parts_are_the_whole_and_nearly_equal(size):
    for peaks in range(20):
        parts = [part_of(peaks, rank, size) for rank in range(size)]
        assert [at for first, last in parts for at in range(first, last)] == list(range(peaks))
        assert max(b - a for a, b in parts) - min(b - a for a, b in parts) <= 1
