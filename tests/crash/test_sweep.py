"""kill -9 of workers, of the sweep, of both, at random: the same command ends with all done, to the same bytes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from netassay.runs import State, Store
from netassay.runs.disk import is_held
from netassay.sweeps import Plan, sweep
from netassay.sweeps.local import LocalProcesses

BASE = {"examples": 200, "width": 16, "curvature_every": 5, "top": 2, "layers": False}
SWEEP = """
import json, sys
from netassay.sweeps import Plan, sweep
from netassay.sweeps.local import LocalProcesses

done = sweep(Plan(**json.loads(sys.argv[1])), sys.argv[2], execute=LocalProcesses(2, 1, commit_seconds=0.05))
sys.exit(bool(done.failed))
"""


def plan(steps):
    axes = {"step_size": [0.05, 0.1, 0.2], "depth": [1, 2]}
    return Plan(study="edge", base=BASE | {"steps": steps}, axes=axes, repeats=2)


def content(store):
    """Of every run its numbers, the bytes of its tables, and those of its newest checkpoint."""
    return {
        run.id: (
            [(step, name, part, value.hex()) for step, name, part, value in run.metrics().iter_rows()],
            {name: run.table_path(name).read_bytes() for name in sorted(run.tables())},
            {name: t.numpy().tobytes() for name, t in run.checkpoint().tensors.items()},
        )
        for run in Store(store).runs()
    }


def test_serial_and_parallel_give_the_same_bytes(tmp_path):
    for workers in (1, 2):
        sweep(plan(steps=3), tmp_path / str(workers), execute=LocalProcesses(workers, 1))
    assert len(content(tmp_path / "1")) == 12
    assert content(tmp_path / "1") == content(tmp_path / "2")


@pytest.mark.slow
def test_whatever_is_killed_the_same_command_ends_with_all_done(tmp_path):
    chosen = plan(steps=300)
    sweep(chosen, tmp_path / "whole", execute=LocalProcesses(2, 1))
    whole = content(tmp_path / "whole")
    for seed in range(5):
        store = tmp_path / str(seed)
        checkpoints = _kill_at_random(chosen, store, random.Random(seed))
        assert {run.state for run in Store(store).runs()} == {State.FINISHED}
        assert content(store) == whole
        _none_began_anew(store, checkpoints)


def _kill_at_random(chosen, store, draw, kills=6):
    """Sweeps until all is done, killing on the way; gives the steps of the checkpoints that each kill left."""
    command = [sys.executable, "-c", SWEEP, chosen.model_dump_json(), str(store)]
    checkpoints = {}
    process = subprocess.Popen(command)
    for _ in range(kills):
        writers = _writers(process, store)
        time.sleep(draw.uniform(0, 1))
        victims = draw.choice(["worker", "sweep", "both"])
        if victims != "sweep":
            for pid in writers:
                with suppress(ProcessLookupError):  # it had ended by itself
                    os.kill(pid, signal.SIGKILL)
        for run in Store(store).runs() if store.exists() else ():
            checkpoints.setdefault(run.id, []).extend(run.checkpoints()[-1:])
        if victims != "worker":
            process.kill()
            process.wait()
            process = subprocess.Popen(command)
    assert process.wait() == 0
    return checkpoints


def _writers(process, store):
    """The workers of this sweep that write a run, as soon as there is one; none once the sweep has ended."""
    while process.poll() is None:
        folders = [run.folder for run in Store(store).runs() if is_held(run.folder)]
        with suppress(FileNotFoundError, ValueError):
            if folders:
                return [json.loads((folder / "lock").read_text())["pid"] for folder in folders]
        time.sleep(0.05)
    return []


def _none_began_anew(store, checkpoints):
    begun = 0
    for run in Store(store).runs():
        events = run.events().rows(named=True)
        assert [row["what"] for row in events].count("started") == 1
        resumed = [row["step"] for row in events if row["what"] == "resumed"]
        begun += len(resumed)
        assert resumed == sorted(resumed)
        assert not resumed or max(resumed) >= max(checkpoints[run.id], default=0)
    assert begun, "no kill fell into a run"
