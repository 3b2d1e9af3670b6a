"""Runs on disk, and the only code that writes them: `Run` reads one, `RunWriter` writes one, `Store` holds many."""

from netassay.runs.folders import State, run_id
from netassay.runs.run import Run
from netassay.runs.store import Store, find_run
from netassay.runs.verify import Problem
from netassay.runs.writer import RunWriter

__all__ = ["Problem", "Run", "RunWriter", "State", "Store", "find_run", "run_id"]
