"""kill -9 again and again, half of the times at random moments and half within a commit, of every kind of run.

    python tests/kills.py [KIND ...] [--kills 50] [--seed 0]

A run is killed, gone on with and killed again until it ends; then its numbers, tables and newest checkpoint are held
against those of a run that nobody killed, byte for byte, and the next one begins. What a tracker wrote cannot be gone
on with: it must be readable after the kill, its rows the first ones of the undisturbed loop's. Each victim is forked
from a parent that has imported everything, under the library made from storage.c, which ends it before one of the calls
by which a commit changes storage. Prints a line of JSON for each kind.
"""

import argparse
import contextlib
import hashlib
import io
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from crash_points import BASELINE, UNTRAINED, _ids, forked, imported, library, trained

AIMED = "storage.so" in os.environ.get("LD_PRELOAD", "")
MOST_CALLS = 16
"""Calls by which one commit changes storage: somewhat more than any does."""


@dataclass(frozen=True)
class Kind:
    """A study; its config, that of the baseline's interrupted run with changes; and the runs that it is made from."""

    study: str
    number: int = 0
    changes: tuple[tuple[str, object], ...] = ()


MEMORISATION = (
    ("module", "untrained.py:make"),
    ("tokenizer", "whitespace"),
    ("corpus", "corpus.txt"),
    ("document", "line"),
    ("tokens_at_once", 8),
    ("prefix", 2),
    ("suffix", 1),
    ("resamples", 20),
)
KINDS = {
    "edge": Kind("edge", 0, (("steps", 60), ("density_steps", 0), ("central_flow", False))),
    "edge-stepsize": Kind("edge-stepsize"),
    "capacity grid": Kind("capacity", 0),
    "capacity search": Kind("capacity", 1),
    "memorisation": Kind("memorisation", 0, MEMORISATION),
    "aitac": Kind("aitac"),
    "aitac-interpret": Kind("aitac-interpret", 0, (("only", "motifs,influence"),)),
    "aitac-transfer": Kind("aitac-transfer"),
}
TRACKER = "edge-tracker"


def config_of(kind):
    from netassay import study
    from netassay.runs import Run

    of = study.find(kind.study).config
    keys = {}
    if runs := _ids("interrupted", kind.study):
        keys = dict(Run.open(BASELINE / "interrupted" / runs[kind.number]).config)
    return of.from_mapping({**keys, "study": kind.study, **dict(kind.changes)}, where=kind.study)


def prepared(folder, kind):
    """A folder with the store of a kind, and what it reads; the folder of its new run."""
    from netassay.runs import Run

    folder.mkdir()
    if kind.study in ("aitac-interpret", "aitac-transfer"):
        for run in _ids("finished", "aitac"):
            shutil.copytree(BASELINE / "finished" / run, folder / "runs" / run)
    shutil.copytree(BASELINE / "atlas", folder / "atlas")
    shutil.copy(BASELINE / "corpus.txt", folder)
    (folder / "untrained.py").write_text(UNTRAINED)
    config = config_of(kind)
    return Run.create(folder / "runs", study=config.study, config=config.mapping(), digest=config.digest).folder


def content(folder):
    """Of a run its numbers, and digests of its tables and of the tensors of its newest checkpoint."""
    from netassay.runs import Run

    run = Run.open(folder)
    assert run.verify() == [], run.verify()
    rows = [(step, name, part, value.hex()) for step, name, part, value in run.metrics().iter_rows()]
    tables = {name: run.table_path(name).read_bytes() for name in sorted(run.tables())}
    last = run.checkpoint()
    tensors = {} if last is None else {name: t.numpy().tobytes() for name, t in sorted(last.tensors.items())}
    parts = {"rows": repr(rows).encode(), **{f"table {k}": v for k, v in tables.items()}, **tensors}
    return [
        str(run.state),
        run.step,
        run.message,
        *(f"{name} {hashlib.sha256(data).hexdigest()}" for name, data in parts.items()),
    ]


def armed(storage, folder, method, call):
    """Ends this process at the storage call number `call` from the beginning of the method number `method` on."""
    from netassay.runs.writer import RunWriter

    count = itertools.count()

    def watched(function):
        def wrapped(*words, **more):
            if next(count) == method:
                storage.storage_arm(str(folder).encode(), call, 0)
            return function(*words, **more)

        return wrapped

    for name in ("__init__", "commit", "write_table", "finish"):
        setattr(RunWriter, name, watched(getattr(RunWriter, name)))


class Victims:
    """Processes that do `work(watch)`, killed one after another."""

    def __init__(self, seed, longest):
        self._draw, self._longest = random.Random(seed), longest
        self.killed = {"random": 0, "commit": 0}

    @property
    def number(self):
        return sum(self.killed.values())

    def aimed(self):
        """Whether the next kill is one within a commit; without a compiler none is."""
        return AIMED and self.killed["commit"] < self.killed["random"]

    def one(self, folder, work, within):
        """Whether a process that does `work` was killed before its end; the error that ended it, if one did."""
        import ctypes

        method, call = self._draw.randrange(self._longest), self._draw.randint(1, MOST_CALLS)
        reading, writing = os.pipe()
        said = folder.parent / "said"
        victim = os.fork()
        if not victim:
            os.close(reading)
            code = 3
            try:
                signal.alarm(600)
                os.chdir(folder)
                if within:
                    armed(ctypes.CDLL(None), folder, method, call)
                work(lambda *words: os.write(writing, b"."))
                code = 0
            except BaseException:
                said.write_text(traceback.format_exc())
            os._exit(code)
        os.close(writing)
        if not within:
            for _ in range(self._draw.randrange(self._longest)):
                if not os.read(reading, 1):
                    break
            time.sleep(self._draw.uniform(0, 0.02))
            os.kill(victim, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(victim, 0)[1])
        os.close(reading)
        if code == -signal.SIGKILL:
            self.killed["commit" if within else "random"] += 1
            return True
        assert code == 0, said.read_text() if code == 3 else f"ended by {code}"
        return False


def asked(work):
    """The answer of `work` in a process of its own: no victim may inherit the threads that reading a table starts."""
    answer = forked(work, seconds=600)
    assert not isinstance(answer, dict), answer
    return answer


def stands(folder):
    """The step of a run between two victims, which must be whole."""
    from netassay.runs import Run

    run = Run.open(folder)
    assert run.verify() == [], run.verify()
    return run.step


def undisturbed(folder):
    """The steps of a run that nobody kills, and its content."""
    from netassay.performing import resume

    steps = []
    os.chdir(folder.parents[1])
    resume(folder, threads=1, commit_seconds=0, watch=lambda step, values: steps.append(step))
    return [len(steps), content(folder)]


def killed(name, kills, seed):
    """Kills of one kind; how many fell where, and how many runs were held against the undisturbed one."""
    from netassay.performing import resume

    kind, ended = KINDS[name], 0
    with tempfile.TemporaryDirectory(prefix="kills-") as scratch:
        scratch = Path(scratch).resolve()
        unbroken = prepared(scratch / "unbroken", kind)
        steps, wanted = asked(lambda: undisturbed(unbroken))
        victims = Victims(seed, max(2, min(steps // 3, 40)))
        while victims.number < kills:
            folder, last, alive = prepared(scratch / str(ended), kind), 0, True
            while alive and victims.number < kills:
                within = victims.aimed()

                def work(watch, folder=folder, within=within):
                    resume(folder, threads=1, commit_seconds=0 if within else 0.01, watch=watch)

                if alive := victims.one(folder.parents[1], work, within):
                    step = asked(lambda folder=folder: stands(folder))
                    assert step >= last, (step, last)
                    last = step
            _, left = asked(lambda folder=folder: undisturbed(folder))  # of a finished run the leavings are swept
            assert left == wanted, f"another result: {sorted(set(map(str, left)) ^ set(map(str, wanted)))}"
            shutil.rmtree(folder.parents[1])
            ended += 1
    return {**victims.killed, "runs": ended}


def tracked(folder, watch):
    """A loop under the tracker that commits at every look; its clock counts, so that it looks at the same steps."""
    import torch

    import netassay
    from netassay.studies.edge.tracker import journal

    assert journal.COMMIT_SECONDS > 0
    journal.COMMIT_SECONDS = 0.0
    torch.manual_seed(0)
    x = torch.randn(30, 5)
    y = x.sum(dim=1, keepdim=True).sin()
    model = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    ticks = itertools.count()
    tracker = netassay.SharpnessTracker(
        model,
        torch.nn.MSELoss(),
        [(x, y)],
        optimizer,
        store=folder / "runs",
        name="s",
        clock=lambda: float(next(ticks)),
        every=1,
    )
    step = tracker.step

    def counted(loss):
        watch()
        return step(loss)

    tracker.step = counted
    assert trained(tracker, model, optimizer, torch.nn.MSELoss(), x, y)


def loops(folder):
    """The rows that the runs of a store hold, but for times; each must be whole, and shown."""
    import netassay.cli
    from netassay.runs import Store

    rows = []
    for run in Store(folder / "runs").runs() if (folder / "runs").exists() else ():
        assert run.verify() == [], run.verify()
        assert str(run.state) in ("planned", "killed", "finished"), run.state
        with contextlib.redirect_stdout(io.StringIO()):
            assert netassay.cli.main(["show", run.id, "--store", str(folder / "runs")]) == 0
        metrics = run.metrics().iter_rows()
        rows.append([[step, name, part, value.hex()] for step, name, part, value in metrics if name != "share"])
    return rows


def undisturbed_loop(folder):
    steps = []
    folder.mkdir()
    tracked(folder, lambda: steps.append(0))
    return [len(steps), loops(folder)[0]]


def killed_loops(kills, seed):
    """Kills of loops under the tracker."""
    with tempfile.TemporaryDirectory(prefix="kills-") as scratch:
        scratch = Path(scratch).resolve()
        steps, wanted = asked(lambda: undisturbed_loop(scratch / "unbroken"))
        victims, begun = Victims(seed, steps), 0
        for number in itertools.count():
            if victims.number >= kills:
                break
            folder = scratch / str(number)
            folder.mkdir()
            within = victims.aimed()
            victims.one(folder, lambda watch, folder=folder: tracked(folder, watch), within)
            for left in asked(lambda folder=folder: loops(folder)):
                assert left == wanted[: len(left)], "not the rows of the undisturbed loop"
                begun += bool(left)
            shutil.rmtree(folder)
    return {**victims.killed, "runs": begun}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    if not AIMED:
        with tempfile.TemporaryDirectory() as folder:
            made = library(folder)
            if made is not None:
                again = [sys.executable, __file__, *sys.argv[1:]]
                sys.exit(subprocess.run(again, env={**os.environ, "LD_PRELOAD": str(made)}).returncode)
    import torch

    torch.set_num_threads(1)
    imported()
    wrong = 0
    for name in words.kinds or [*KINDS, TRACKER]:
        work = (lambda: killed_loops(words.kills, words.seed)) if name == TRACKER else None
        begin = time.monotonic()
        answer = forked(work or (lambda name=name: killed(name, words.kills, words.seed)), seconds=1200)
        wrong += "runs" not in answer
        print(json.dumps({"kind": name, **answer, "took": round(time.monotonic() - begin)}), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
