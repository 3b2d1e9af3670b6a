"""kill -9 at random moments and within commits, again and again, then one resume: byte for byte the unbroken run."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from kills import KINDS, TRACKER

SCRIPT = Path(__file__).parents[1] / "kills.py"


def killed(kind, kills):
    done = subprocess.run([sys.executable, SCRIPT, kind, "--kills", str(kills)], capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    answer = json.loads(done.stdout)
    assert answer["random"] + answer["commit"] == kills
    if sys.platform == "linux" and (shutil.which("cc") or shutil.which("gcc")):
        assert abs(answer["random"] - answer["commit"]) <= 1
    assert answer["runs"] > 0


def test_killed_at_random_moments():
    killed("edge", 12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*KINDS, TRACKER])
def test_killed_at_random_moments_and_within_commits(kind):
    killed(kind, 50)
