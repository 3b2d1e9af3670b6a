"""Writes the runs, the atlas and the model that `tests/test_baseline.py` holds every later version to.

    python tests/baseline/make.py

writes `tests/baseline/<version>/`, which must not be there yet, with the netassay that is imported. Every release adds
its own and leaves the others as they are: what a user has on disk was written by one of them. Folder 0.1.0 was written
by commit 2511a21; `written.json` in each folder names the commit, the Python and the libraries.

    finished/           a store with a finished run of every kind
    interrupted/        runs of the same configs, stopped on the way by SIGINT, each with its checkpoint
    atlas/              the atlas of the aitac runs, whose configs name it as "atlas": relative to where they run
    corpus.txt          the corpus of the capacity runs, named in the same way
    model/              a saved model
    model-output.json   contexts, and what the model says after them

A run that is made from others has its subjects in `finished`; it goes on in a store that holds both. Only public names
are used here. Configs are small and calm, so that another processor moves no more than last digits; they name no corpus
that comes with Python, which differs from one to the next, and no simulated atlas, whose digits are the processor's.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import netassay
from netassay import study
from netassay.errors import Interrupted

HERE = Path(__file__).parent
LIBRARIES = ("torch", "numpy", "scipy", "polars", "safetensors", "pyjaspar", "universalmotif", "scikit-learn")

EDGE = {
    "study": "edge", "examples": 40, "test_examples": 20, "depth": 1, "width": 4, "step_size": 0.1, "steps": 12,
    "curvature_every": 4, "top": 2, "gauss_newton": True, "alignment": True, "trace_products": 6, "density_steps": 4,
    "projections": 2, "flow": True, "central_flow": True,
}  # fmt: skip
STEPSIZE = {
    "study": "edge-stepsize", "examples": 40, "test_examples": 20, "width": 4, "depth": 1, "seeds": 2, "goal": 0.9,
    "steps": 30, "resolution": 2.0, "flow_steps": 30,
}  # fmt: skip
CAPACITY = {"study": "capacity", "corpus": "corpus.txt", "document": "line", "length": 4}
GRID = CAPACITY | {"widths": "doubling", "narrowest": 2, "width": 4, "gap": 0.001, "try_steps": 12}
SEARCH = CAPACITY | {
    "widths": "bisection", "narrowest": 2, "width": 8, "trained": "feed_forward", "gap": 1.0, "try_steps": 30,
}  # fmt: skip
AITAC = {
    "study": "aitac", "atlas": "atlas", "split": "random", "test_share": 0.3, "validation_share": 0.2, "n_filters": 4,
    "n_channels": 3, "n_hidden": 6, "dropout": 0.1, "strands": "augmented", "shift": 2, "epochs": 3, "batch_size": 20,
    "weight_average": 0.9, "precision": "float32",
}  # fmt: skip
INTERPRET = {
    "peaks": "all", "well_predicted": -0.99, "motif_permutations": 1, "permutations": 50, "backgrounds": 2,
    "scanned_pairs": 1, "pair_factors": 2, "attribution_cell_types": 1, "attribution_peaks": 2,
    "attribution_references": 2, "motif_logos": 2, "reproducible_q": 0.5, "least_bits": 0.0, "least_sites": 1,
}  # fmt: skip
TRANSFER = {"influence_peaks": 20, "permutations": 3}

TRAINED = ((EDGE, 6), (STEPSIZE, 2), (GRID, 16), (SEARCH, 36), (AITAC | {"seed": 1}, 3))
"""Configs, and the step at which SIGINT comes to the run in `interrupted`."""


def main() -> None:
    folder = HERE / netassay.__version__
    folder.mkdir()
    os.chdir(folder)
    socket.gethostname = lambda: "baseline"  # a run's lock names process and host of its last writer
    finished, interrupted = Path("finished"), Path("interrupted")
    corpus()
    netassay.simulate_atlas(60, length=100).save("atlas")
    model()
    for config, _ in TRAINED:
        netassay.perform(study.configure(config), finished, threads=1)
    subject = netassay.perform(study.configure(AITAC), finished, threads=1)
    (peer,) = netassay.repetitions(subject)
    interpret(subject, peer)
    transfer(subject)
    tracked(finished)

    subjects = [run.id for run in (subject, peer)]
    for run in subjects:
        shutil.copytree(finished / run, interrupted / run)
    subject, peer = (netassay.Run.open(interrupted / run) for run in subjects)
    stopped(lambda watch: interpret(subject, peer, watch=watch), 1)
    stopped(lambda watch: transfer(subject, watch=watch), 0)
    netassay.Store(interrupted).delete(subjects)
    for config, step in TRAINED:
        stopped(
            lambda watch, c=config: netassay.perform(study.configure(c), interrupted, threads=1, watch=watch),
            step,
        )
    Path("written.json").write_text(json.dumps(written(), indent=1) + "\n")


def interpret(subject: netassay.Run, peer: netassay.Run, **keywords: Any) -> None:
    netassay.interpret(subject, [peer], threads=1, **INTERPRET, **keywords)


def transfer(subject: netassay.Run, **keywords: Any) -> None:
    cell_types = netassay.find_atlas("atlas").cell_types
    pairs = [(name, name) for name in cell_types]
    netassay.transfer(subject, "atlas", pairs, threads=1, **TRANSFER, **keywords)


def stopped(begin: Callable[[Callable[[int, Mapping[Any, float]], None]], Any], at: int) -> None:
    """Begins a run that SIGINT reaches at step `at`."""

    def watch(step: int, values: Mapping[Any, float]) -> None:
        if step == at:
            os.kill(os.getpid(), signal.SIGINT)

    with suppress(Interrupted):
        begin(watch)


def tracked(store: Path) -> None:
    """A loop of one's own with the tracker; its clock counts looks at it, so that it looks at the same steps always."""
    ticks = itertools.count()
    torch.manual_seed(0)
    x = torch.randn(30, 5)
    y = x.sum(dim=1, keepdim=True).sin()
    net = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    loss, optimizer = torch.nn.MSELoss(), torch.optim.SGD(net.parameters(), lr=0.1)
    with netassay.SharpnessTracker(
        net, loss, [(x, y)], optimizer, store=store, name="sines", clock=lambda: float(next(ticks))
    ) as tracker:
        for _ in range(60):
            optimizer.zero_grad()
            value = loss(net(x), y)
            value.backward()
            optimizer.step()
            tracker.step(value)


def corpus() -> None:
    """Sentences of one form, of words drawn with a seed: few enough contexts for a few neurons."""
    draw = random.Random(0)
    kinds = (("a", "the"), ("cat", "dog", "bird"), ("sees", "hears"), ("me", "you", "it"))
    lines = [" ".join(draw.choice(words) for words in kinds) for _ in range(24)]
    Path("corpus.txt").write_text("\n".join(lines) + "\n")


def model() -> None:
    """A model that memorises the corpus by construction, and the logits it gives after some contexts."""
    documents = netassay.read_corpus("corpus.txt", document="line", limit=4).documents
    made = netassay.construct(netassay.contexts(documents), embedding=4)
    netassay.save_model("model", made.model, {"bound": made.bound})
    contexts = torch.arange(made.vocabulary)[:, None] + torch.arange(3)
    contexts %= made.vocabulary
    with torch.no_grad():
        logits = made.model(contexts)
    Path("model-output.json").write_text(json.dumps({"contexts": contexts.tolist(), "logits": logits.tolist()}) + "\n")


def written() -> dict[str, Any]:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=True)
    return {
        "netassay": netassay.__version__,
        "commit": commit.stdout.strip(),
        "kinds": sorted({run.study for run in netassay.Store("finished").runs()}),
        "python": platform.python_version(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "libraries": {name: version(name) for name in LIBRARIES},
    }


if __name__ == "__main__":
    main()
