import os

# a test process has one thread: numbers repeat, and two processes share two cores without getting in each other's way
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import pytest
from hypothesis import settings

# the same examples every time, and no test fails because a machine is slow
settings.register_profile("netassay", deadline=None, derandomize=True)
settings.load_profile("netassay")

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def shared_data() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"the shared test data is not at {SHARED}")
    return SHARED


@pytest.fixture(autouse=True)
def _away_from_the_checkout(tmp_path, monkeypatch):
    """Default paths such as runs/ and report.html land in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
