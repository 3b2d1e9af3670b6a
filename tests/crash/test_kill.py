"""kill -9 at random moments, again and again, then one resume: byte for byte the uninterrupted run."""

import json
import subprocess
import sys

from netassay.performing import perform
from netassay.runs import Run, State
from netassay.studies.edge.config import EdgeConfig

KILLS = 20

# each victim is forked from a process that has imported everything: kills fall into the run and not into imports
KILLER = """
import json, os, random, signal, sys, time
from netassay.performing import resume
import netassay.studies.edge.assay, sklearn.datasets
from netassay.runs import Run

folder, kills = sys.argv[1], int(sys.argv[2])
moment, steps = random.Random(0), []
for _ in range(kills):
    reader, writer = os.pipe()
    victim = os.fork()
    if not victim:
        resume(folder, threads=1, commit_seconds=0.01, watch=lambda step, values: os.write(writer, b"."))
        os._exit(0)
    os.close(writer)
    for _ in range(moment.randrange(1, 60)):
        os.read(reader, 1)
    time.sleep(moment.uniform(0, 0.01))
    os.kill(victim, signal.SIGKILL)
    os.waitpid(victim, 0)
    os.close(reader)
    run = Run.open(folder)
    assert run.verify() == [], run.verify()
    steps.append(run.step)
print(json.dumps(steps))
"""


def content(run: Run) -> tuple[bytes, ...]:
    """Metrics as stored, the newest checkpoint's file, and the finished tables, as bytes."""
    rows = repr([(step, name, part, value.hex()) for step, name, part, value in run.metrics().iter_rows()]).encode()
    files = [
        f"tensors/step-{run.checkpoint().step}.safetensors",
        "tables/metrics.parquet",
        "tables/phases.parquet",
    ]
    return rows, *[(run.folder / name).read_bytes() for name in files]


def test_killed_at_random_moments(tmp_path):
    config = EdgeConfig(examples=200, width=16, step_size=0.5, steps=800, curvature_every=5, top=2)
    run = Run.create(tmp_path / "killed", study="edge", config=config.mapping(), digest=config.digest)
    done = subprocess.run(
        [sys.executable, "-c", KILLER, str(run.folder), str(KILLS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout)
    assert steps == sorted(steps)
    assert len(set(steps)) >= KILLS // 2, "the kills did not fall into the run"
    assert run.state is State.KILLED
    resumed = perform(config, tmp_path / "killed", threads=1)
    whole = perform(config, tmp_path / "whole", threads=1)
    assert resumed.state is State.FINISHED
    assert content(resumed) == content(whole)
