"""What a tracked training costs beside the same training untracked, at several budgets.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/tracker.py [--budgets 0.05 0.2 0.5] [--steps 10000]. One thread,
float32, half squared error. Two trainings of one process, one of them tracked, take turns of 50 steps, so that a busy
machine slows both; CPU time, with all of the tracker: opening the run, the first look, writing, closing. "Own share" is
what the tracker says of itself; its clock stands still while the other training has its turn.
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


TURN = 50


class Training:
    """One training and the CPU time that it took."""

    def __init__(self, loop: Loop) -> None:
        torch.manual_seed(0)
        self.loop, (self.x, self.y) = loop, loop.data()
        self.model = network(loop.sizes)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=loop.step_size, momentum=0.9)
        self.order = torch.Generator().manual_seed(0)
        self.tracker: netassay.SharpnessTracker | None = None
        self.seconds, self.looks = 0.0, 0

    def steps(self, count: int) -> None:
        begin = time.process_time()
        for _ in range(count):
            at = torch.randint(len(self.x), (self.loop.batch_size,), generator=self.order)
            self.optimizer.zero_grad()
            value = half_square(self.model(self.x[at]), self.y[at])
            value.backward()
            self.optimizer.step()
            if self.tracker is not None:
                self.looks += self.tracker.step(value) is not None
        self.seconds += time.process_time() - begin


def compare(loop: Loop, budget: float, steps: int) -> None:
    plain, tracked = Training(loop), Training(loop)
    plain.steps(TURN)
    plain.seconds = 0.0
    tracker_class = netassay.SharpnessTracker  # importing it is no part of a training
    with tempfile.TemporaryDirectory() as store:
        begin = time.process_time()
        tracked.tracker = tracker_class(
            tracked.model,
            half_square,
            [(tracked.x, tracked.y)],
            tracked.optimizer,
            store=store,
            budget=budget,
            clock=lambda: time.process_time() - plain.seconds,
        )
        tracked.seconds += time.process_time() - begin
        for _ in range(steps // TURN):
            tracked.steps(TURN)
            plain.steps(TURN)
        begin = time.process_time()
        tracked.tracker.close()
        tracked.seconds += time.process_time() - begin
    print(
        f"  budget {budget:.0%}: untracked {plain.seconds:.1f} s, tracked {tracked.seconds:.1f} s: "
        f"{tracked.seconds / plain.seconds - 1:+.1%} of CPU time, own share {tracked.tracker.share:.1%}, "
        f"{tracked.looks} looks",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.05, 0.2, 0.5])
    parser.add_argument("--steps", type=int, default=10_000, help="of the first loop; the second takes a tenth")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for loop, steps in zip(LOOPS, (options.steps, max(TURN, options.steps // 10)), strict=True):
        print(f"{loop.name}: {steps:,} steps", flush=True)
        for budget in options.budgets:
            compare(loop, budget, steps)


if __name__ == "__main__":
    main()
