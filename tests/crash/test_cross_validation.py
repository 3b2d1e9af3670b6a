"""kill -9 of a cross-validation, several times, then the same sweep again: byte for byte the unbroken one."""

import json
import subprocess
import sys

from easy_atlas import SMALL, easy_atlas

from netassay.performing import resume
from netassay.runs import State, Store
from netassay.studies.aitac.cross_validation import peak_means
from netassay.sweeps import Plan, outlook, sweep

# each victim is forked from a process that has imported everything: kills fall into the runs and not into imports
KILLER = """
import json, os, signal, sys
from netassay.performing import resume
from netassay.runs import Store
from netassay.sweeps import Plan, sweep
import netassay.studies.aitac.assay

plan, store, seen = Plan(**json.loads(sys.argv[1])), sys.argv[2], []

def alone(folders, begun, ended):
    for folder in folders:
        begun(folder)
        resume(folder, threads=1, commit_seconds=0.01, watch=lambda step, values: os.write(writer, b"."))
        ended(folder, "")

for steps in (3, 14, 10):
    reader, writer = os.pipe()
    victim = os.fork()
    if not victim:
        sweep(plan, store, execute=alone)
        os._exit(0)
    os.close(writer)
    for _ in range(steps):
        os.read(reader, 1)
    os.kill(victim, signal.SIGKILL)
    os.waitpid(victim, 0)
    os.close(reader)
    seen.append([str(run.state) for run in Store(store).runs()])
print(json.dumps(seen))
"""


def alone(folders, begun, ended):
    for folder in folders:
        begun(folder)
        resume(folder, threads=1)
        ended(folder, "")


def content(store):
    """Of every run its numbers, the bytes of its tables, and those of its newest checkpoint."""
    return {
        run.id: (
            [(step, name, part, value.hex()) for step, name, part, value in run.metrics().iter_rows()],
            {name: run.table_path(name).read_bytes() for name in sorted(run.tables())},
            {name: t.numpy().tobytes() for name, t in run.checkpoint().tensors.items()},
        )
        for run in store.runs()
    }


def test_a_cross_validation_killed_and_continued_is_the_unbroken_one(tmp_path):
    atlas = str(easy_atlas(n=240).save(tmp_path / "atlas"))
    base = {**SMALL, "atlas": atlas, "split": "folds", "folds": 3, "epochs": 3, "dropout": 0.1}
    words = {"study": "aitac", "base": base, "axes": {"repeat": [1], "fold": [0, 1, 2]}}
    plan = Plan(**words)
    done = subprocess.run(
        [sys.executable, "-c", KILLER, json.dumps(words), str(tmp_path / "killed")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert all(states.count("killed") == 1 for states in seen), seen
    assert 0 < seen[-1].count("finished") < 3, seen
    before = outlook(plan, tmp_path / "killed")
    assert before.total == 3
    killed, whole = (sweep(plan, tmp_path / name, execute=alone) for name in ("killed", "whole"))
    assert {run.state for run in killed.runs} == {State.FINISHED}
    assert content(Store(tmp_path / "killed")) == content(Store(tmp_path / "whole"))
    means = [peak_means(list(laid.runs)) for laid in (killed, whole)]
    assert means[0].equals(means[1])
    assert len(means[0]) == 240
