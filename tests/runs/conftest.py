"""Runs to test on, and child processes to kill."""

import hashlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from netassay.runs import Run
from netassay.training import Checkpoint


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[..., Run]:
    """Makes the run of a config, in `store` under the test's folder unless told otherwise."""

    def make(store: Path = tmp_path / "store", study: str = "edge", **config: Any) -> Run:
        values = {"study": study, **config}
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return Run.create(store, study=study, config=values, digest=hashlib.sha256(text.encode()).hexdigest())

    return make


@pytest.fixture
def state_at() -> Callable[[int], Checkpoint]:
    """The checkpoint of a step, recognisable by its content."""
    return lambda step: Checkpoint(
        step, {"weights": torch.full((3, 2), float(step)), "on": torch.tensor(True)}, {"seed": step, "x": 0.1}
    )


@pytest.fixture
def finished(new_run: Callable[..., Run], state_at: Callable[[int], Checkpoint]) -> Run:
    """A finished run with checkpoints at 0 and 2, metrics of steps 0 to 2 and one table."""
    import polars as pl

    run = new_run(width=3)
    with run.writer({"torch": "2"}) as writer:
        writer.commit(state_at(0))
        for step in (0, 1):
            writer.record(step, {"loss": 1.25 / (step + 1), ("sharpness", "layer"): 7.5})
        writer.commit(state_at(2))
        writer.record(2, {"loss": 0.1})
        writer.write_table("phases", pl.DataFrame({"phase": ["edge"], "start": [1]}))
        writer.finish("finished", step=2)
    return run


class Child:
    """A forked process that runs a function and leaves without cleaning up."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            signal.alarm(60)  # a child that hangs fails its test instead of hanging it
            try:
                torch.set_num_threads(1)  # the threads of the parent's pool do not exist here
                said = str(work())
            except BaseException as error:
                said = f"{type(error).__name__}: {error}"
            os.write(writing, said.encode())
            os._exit(0)
        os.close(writing)

    def said(self) -> str:
        """What the function returned, or its error, once the process has ended."""
        with os.fdopen(self.reading) as pipe:
            text = pipe.read()
        os.waitpid(self.pid, 0)
        return text

    def kill_after(self, seconds: float) -> None:
        time.sleep(seconds)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.reading)


@pytest.fixture
def child() -> type[Child]:
    return Child
