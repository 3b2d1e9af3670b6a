"""The shared small inputs that concern plans and stores, and notebooks on them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from netassay.runs import Store

CASES = Path(__file__).parents[3] / "shared" / "cases" / "practice"
BASELINE = Path(__file__).parents[1] / "baseline" / "0.1.0" / "finished"

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"the shared cases are not at {CASES}")


@pytest.fixture
def shell(tmp_path):
    """Runs a script of the cases in the test's folder, `netassay` being that of this interpreter."""
    program = tmp_path / "bin" / "netassay"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m netassay "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{program.parent}:{os.environ['PATH']}"}

    def run(*command):
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False
        )

    return run


def plan(folder, steps):
    text = (CASES / "tiny.toml").read_text()
    (folder / "tiny.toml").write_text(text.replace("steps = 30", f"steps = {steps}"))


@pytest.mark.slow
def test_two_sweeps_of_one_plan_both_exit_with_0(tmp_path, shell):
    plan(tmp_path, 30)
    done = shell("sh", str(CASES / "two_sweeps.sh"))
    assert "second 0" in done.stdout
    assert "first 0" in done.stdout
    assert Store(tmp_path / "shared-store").table()["state"].to_list() == ["finished"] * 3


@pytest.mark.slow
def test_runs_of_a_stopped_sweep_are_interrupted_and_not_failed(tmp_path, shell):
    plan(tmp_path, 1_000_000)
    done = shell("sh", str(CASES / "stopped_sweep.sh"))
    assert "rc 143" in done.stdout
    states = Store(tmp_path / "stopped-store").table()["state"].to_list()
    # whether the first had begun within eight seconds is up to the machine
    assert set(states) <= {"interrupted", "planned"}
    assert "failed" not in done.stdout


def test_without_fcntl_there_is_a_lock_or_one_sentence(tmp_path, shell):
    done = shell(sys.executable, str(CASES / "without_fcntl.py"))
    assert "Traceback" not in done.stderr
    assert re.fullmatch(r"netassay: store runs: there is no such folder.*\n", done.stderr)


def test_what_a_notebook_user_types_first(tmp_path, shell):
    (tmp_path / "runs").symlink_to(BASELINE)
    run = next(path.name for path in BASELINE.iterdir() if re.fullmatch(r"aitac-[0-9a-f]{12}", path.name))
    done = shell(sys.executable, str(CASES / "notebook_wishes.py"), run)
    answers = dict(line.rsplit(" -> ", 1) for line in done.stdout.splitlines())
    assert len(answers) == 4, done.stderr
    assert not [answer for answer in answers.values() if "Error" in answer], answers
