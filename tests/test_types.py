"""A type checker sees the package's types from a user's file: py.typed, and stubs for names that load on first use."""

import os
import subprocess
import sys
from pathlib import Path

import netassay

USER = """
from pathlib import Path
from typing import assert_type

import torch

import netassay
from netassay import Contexts, Plan, Run, Sharpness, Store, contexts
from netassay.curvature import Follower

model = torch.nn.Linear(3, 1)
data = [(torch.ones(4, 3), torch.ones(4, 1))]
measured = netassay.sharpness(model, torch.nn.functional.mse_loss, data, k=2)
assert_type(measured, Sharpness)
assert_type(measured.products, int)
assert_type(netassay.__version__, str)
assert_type(netassay.report([], "page.html"), Path)


def finished(plan: Plan, store: Store) -> list[Run]:
    done = netassay.sweep(plan, store.folder, workers=2)
    assert_type(done.runs, tuple[Run, ...])
    return [run for run in store.runs() if run.state is netassay.runs.State.FINISHED]


follower: Follower = netassay.Follower(k=1)
made: Contexts = netassay.contexts([[1, 2], [1, 3]], length=1)
"""

WRONG = """
import netassay

netassay.sharpness("no model", 3, [])
netassay.no_such_name
number: int = netassay.report([])
"""


def test_a_users_file_has_types(tmp_path):
    (tmp_path / "user.py").write_text(USER)
    (tmp_path / "wrong.py").write_text(WRONG)
    cache = Path(__file__).parents[1] / ".mypy_cache" / "user"
    words = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(cache), "user.py", "wrong.py"]
    # the package as it is installed, not as source: types are then taken from it only with py.typed
    environment = os.environ | {"PYTHONPATH": str(Path(netassay.__file__).parents[1])}
    environment.pop("MYPYPATH", None)
    said = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True).stdout
    *lines, last = said.splitlines()
    assert all(line.startswith("wrong.py:") for line in lines), said
    assert last.startswith(f"Found {len(lines)} errors in 1 file"), said
    assert 'wrong.py:4: error: Argument 1 to "sharpness" has incompatible type "str"' in said
    assert 'wrong.py:5: error: Module has no attribute "no_such_name"' in said
    assert 'wrong.py:6: error: Incompatible types in assignment (expression has type "Path"' in said
