"""What a tracked training costs beside the same training untracked, at several budgets.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/tracker.py [--budgets 0.05 0.2 0.5] [--seconds 12]. One thread,
float32, half squared error. The same loop is run without and with the tracker, turn about; the whole of the tracker is
counted: opening the run, the first look, writing, closing. "Own share" is what the tracker says of itself.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
from curvature import digits, half_square, network, synthetic_images
from torch import Tensor

import netassay


class Loop(NamedTuple):
    name: str
    sizes: tuple[int, ...]
    data: Callable[[], tuple[Tensor, Tensor]]
    batch_size: int
    step_size: float


LOOPS = (
    Loop("digits, 64-200-200-10, batches of 64", (64, 200, 200, 10), digits, 64, 0.05),
    Loop(
        "1,000 images, 3072-200-200-10, full batch",
        (3072, 200, 200, 10),
        lambda: synthetic_images(1000),
        1000,
        0.01,
    ),
)


class Spent(NamedTuple):
    wall: float
    processor: float
    looks: int
    own: float


def train(loop: Loop, steps: int, budget: float | None, store: str) -> Spent:
    x, y = loop.data()
    model = network(loop.sizes)
    optimizer = torch.optim.SGD(model.parameters(), lr=loop.step_size, momentum=0.9)
    order = torch.Generator().manual_seed(0)
    wall, processor, looks, own = time.perf_counter(), time.process_time(), 0, 0.0
    tracker = None
    if budget is not None:
        tracker = netassay.SharpnessTracker(
            model, half_square, [(x, y)], optimizer, store=store, budget=budget
        )
    for _ in range(steps):
        at = torch.randint(len(x), (loop.batch_size,), generator=order)
        optimizer.zero_grad()
        value = half_square(model(x[at]), y[at])
        value.backward()
        optimizer.step()
        if tracker is not None:
            looks += tracker.step(value) is not None
    if tracker is not None:
        tracker.close()
        own = tracker.share
    return Spent(time.perf_counter() - wall, time.process_time() - processor, looks, own)


def compare(loop: Loop, budgets: list[float], seconds: float) -> None:
    with tempfile.TemporaryDirectory() as store:
        some = 50
        steps = int(some * seconds / train(loop, some, None, store).wall)
        print(f"{loop.name}: {steps:,} steps", flush=True)
        for budget in budgets:
            without = train(loop, steps, None, store)
            tracked = train(loop, steps, budget, store)
            again = train(loop, steps, None, store)
            wall = (without.wall + again.wall) / 2
            processor = (without.processor + again.processor) / 2
            print(
                f"  budget {budget:.0%}: untracked {without.wall:.1f} and {again.wall:.1f} s, tracked "
                f"{tracked.wall:.1f} s: {tracked.wall / wall - 1:+.1%} of wall time, "
                f"{tracked.processor / processor - 1:+.1%} of CPU time, own share {tracked.own:.1%}, "
                f"{tracked.looks} looks",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.05, 0.2, 0.5])
    parser.add_argument("--seconds", type=float, default=12)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for loop in LOOPS:
        compare(loop, options.budgets, options.seconds)


if __name__ == "__main__":
    main()
