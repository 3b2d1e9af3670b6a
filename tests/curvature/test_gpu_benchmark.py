"""The benchmark of the kit on a GPU, where there is none."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


def run(*arguments):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=600, check=False
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, on which it would take minutes")
def test_without_a_gpu_it_says_so():
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert "no GPU" in done.stdout


@pytest.mark.slow
def test_all_its_lines_run_on_the_cpu():
    done = run("--device", "cpu", "--small")
    assert done.returncode == 0, done.stderr
    assert "TOO FAR" not in done.stdout
    assert "Hessian product" in done.stdout
