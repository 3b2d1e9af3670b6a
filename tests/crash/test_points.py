"""A few crash points in every run of the tests, a seeded sample in the slow suite; all by `make crash-points`."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "crash_points.py"


def tried(results, *words):
    if sys.platform != "linux" or not (shutil.which("cc") or shutil.which("gcc")):
        pytest.skip("crash points need Linux and a C compiler")
    done = subprocess.run([sys.executable, SCRIPT, results, *words], capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return [json.loads(line) for line in results.read_text().splitlines()]


def test_a_few_refused_calls_and_kills_of_a_delete(tmp_path):
    rows = tried(tmp_path / "points.jsonl", "--only", "delete", "--sample", "4")
    assert len(rows) == 4
    assert not [row for row in rows if row["wrong"]]


@pytest.mark.slow
def test_a_sample_of_all_refused_calls_and_kills(tmp_path):
    rows = tried(tmp_path / "points.jsonl", "--sample", "150", "--seed", "2")
    assert {row["fault"] for row in rows} == {"kill", "ENOSPC", "EIO"}
