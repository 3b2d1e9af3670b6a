"""The shared small inputs that concern a tracker in a loop of the user's own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).parents[3] / "shared" / "cases"

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"the shared cases are not at {CASES}")


def output(path, where):
    """What a case prints, run in a folder of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(path)],
        cwd=where,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_attention_is_trained_on(tmp_path):
    assert "trained on" in output(CASES / "practice" / "tracker_attention.py", tmp_path)


@pytest.mark.slow
def test_replicas_train_on(tmp_path):
    printed = output(CASES / "edge" / "03_ddp_hang.py", tmp_path)
    assert "rank 0: finished" in printed
    assert "rank 1: finished" in printed


@pytest.mark.slow
def test_the_first_look_costs_what_the_tutorial_says(tmp_path):
    printed = output(CASES / "edge" / "10_first_look.py", tmp_path)
    costs = [int(cost) for cost in re.findall(r"first look (\d+) gradients", printed)]
    products = [int(count) for count in re.findall(r"(\d+) products", printed)]
    assert len(costs) == 2
    # seconds are no test on a busy machine: 14 products, of two gradients and a little each, are what is promised
    assert products == [14, 14]
    assert max(costs) < 60


@pytest.fixture(scope="module")
def small_ones(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    # (a) to (h) are not about a tracker
    lines = (CASES / "edge" / "08_small_ones.py").read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("class Drop"))
    last = next(i for i, line in enumerate(lines) if line.startswith("m = mlp()"))
    (folder / "case.py").write_text("\n".join(lines[:first] + lines[last:]))
    return {part[0]: part for part in re.split(r"\n(?=[a-l]\. )", output(folder / "case.py", folder))}


@pytest.mark.parametrize("case", ["i", "j"])
def test_tracking_starts_anew(small_ones, case):
    assert "Sharpness(values=" in small_ones[case]


def test_a_subclass_has_a_ratio(small_ones):
    assert re.search(r"ratio 0\.\d+", small_ones["k"])


def test_decay_of_adamw_counts(small_ones):
    # in units of curvature: 19 times the decay of 2, of an edge of 38 / 0.05, is 5 %
    assert "weight decay in the motion 38.0" in small_ones["l"].replace("37.99999", "38.0")
