"""Does it pay to descend several networks at once, and does the tracker keep its budget? Ratios measured in one run.

python benchmarks/stepsize.py            # under a minute on one core
"""

from __future__ import annotations

import statistics
import tempfile
import time

import torch
from torch import nn

import netassay
from netassay.studies.edge.data import load
from netassay.studies.edge.networks import LOSSES, network
from netassay.studies.edge.stepsize.config import StepSizeConfig
from netassay.studies.edge.stepsize.descents import BATCHED_UP_TO, descend

STEPS, NETWORKS, ROUNDS = 20, 3, 3
SHAPES = [(2, 32, 300), (2, 64, 300), (8, 64, 300), (2, 100, 500), (2, 200, 1500)]


def batching() -> None:
    """CPU time of three networks one after the other over that of the three at once; above 1 sharing pays."""
    print(f"{'depth':>5} {'width':>5} {'examples':>8} {'layer output':>12} {'alone / together':>16}  shared")
    for depth, width, examples in SHAPES:
        config = StepSizeConfig(depth=depth, width=width, examples=examples)
        data = load(config, dtype=torch.float32)
        models = [network(config, data, dtype=torch.float32, seed=seed) for seed in range(NETWORKS)]

        def seconds(groups: list[list[nn.Module]], data=data) -> float:
            begun = time.process_time()
            for group in groups:
                descend(
                    group, LOSSES["mse"], data.train, [1e-4] * len(group), goal=0.0, steps=STEPS, divergence_factor=1e3
                )
            return time.process_time() - begun

        alone, together = [[m] for m in models], [models]
        seconds(alone), seconds(together)
        ratios = [seconds(alone) / seconds(together) for _ in range(ROUNDS)]
        shared = "yes" if width * examples <= BATCHED_UP_TO else "no"
        print(f"{depth:5} {width:5} {examples:8} {width * examples:12,} {statistics.median(ratios):16.2f}  {shared}")


def tracking(budget: float = 0.2, seconds: float = 10.0) -> None:
    """Time that the tracker took over time of training, mini-batches of 64 on 1,500 digits, whole and layers."""
    data = load(StepSizeConfig(), dtype=torch.float32).train
    for rate, name in ((0.1, "calm"), (0.5, "at the edge")):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh(), nn.Linear(200, 10))
        loss = nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        with tempfile.TemporaryDirectory() as store:
            batches = [(data.inputs, data.labels)]
            tracker = netassay.SharpnessTracker(
                model, loss, batches, optimizer, store=store, budget=budget, on_edge=lambda tracker: None
            )
            looks, step, begun = 0, 0, time.perf_counter()
            while time.perf_counter() - begun < seconds:
                some = torch.randint(len(data.labels), (64,))
                optimizer.zero_grad()
                loss(model(data.inputs[some]), data.labels[some]).backward()
                optimizer.step()
                looks += tracker.step() is not None
                step += 1
            tracker.close()
            print(f"tracker, {name}: {step:,} steps, {looks} looks, share {tracker.share:.3f} of a budget of {budget}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    batching()
    tracking()
