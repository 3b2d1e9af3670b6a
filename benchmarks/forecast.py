"""How good the forecast of the edge is, on trainings that were not used to build it.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/forecast.py [--trainings 40] [--build]. One thread, full-batch
digits. With --build, trainings of the kinds that the quantiles of `netassay.curvature.outlook` come from; without,
others: other seeds, activations, depths and widths. Looks are 5 or 10 steps apart, the horizon is 100 steps.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import math
import random
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from curvature import digits, half_square
from torch import nn

import netassay
from netassay.curvature.combined import Preconditioned
from netassay.curvature.curvature import Curvature
from netassay.curvature.following import Follower
from netassay.curvature.outlook import BEYOND, forecast
from netassay.errors import NotFinite
from netassay.studies.edge.tracker.motion import motion

ACTIVATIONS = {
    "build": {"tanh": nn.Tanh, "gelu": nn.GELU, "softplus": nn.Softplus},
    "others": {"silu": nn.SiLU, "elu": nn.ELU, "relu": nn.ReLU, "sigmoid": nn.Sigmoid},
}
DEPTHS, WIDTHS = {"build": (1, 2, 3), "others": (2, 4)}, {"build": (30, 80), "others": (50, 120)}
STEPS, AFTER = 1200, 12


class Training(NamedTuple):
    name: str
    looks: list[tuple[int, float]]  # step and ratio to the edge
    crossing: int | None


def trainings(kind: str, number: int) -> Iterator[Training]:
    draws = random.Random(kind)
    for seed in range(number):
        activation = draws.choice(sorted(ACTIVATIONS[kind]))
        depth, width = draws.choice(DEPTHS[kind]), draws.choice(WIDTHS[kind])
        method, loss = (
            draws.choice(("gd", "gd", "momentum", "adam")),
            draws.choice(("mse", "mse", "cross-entropy")),
        )
        ratio, every, examples = draws.uniform(0.1, 0.8), draws.choice((5, 10)), draws.choice((200, 400))
        name = f"{method} {loss} {activation} {depth}x{width}"
        looks = train(ACTIVATIONS[kind][activation], depth, width, method, loss, ratio, every, examples, seed)
        above = [step for step, value in looks if value >= 1]
        yield Training(name, looks, above[0] if above else None)


def train(activation, depth, width, method, loss_name, ratio, every, examples, seed):  # type: ignore[no-untyped-def]
    """Steps and edge ratios; the step size is such that the ratio is `ratio` at the second look, of the first P."""
    torch.manual_seed(seed)
    x, target = (t[:examples] for t in digits())
    sizes = [x.shape[1], *[width] * depth, target.shape[1]]
    layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), activation())]
    model = nn.Sequential(*layers[:-1])
    labels = target.argmax(1)
    loss, y = (half_square, target) if loss_name == "mse" else (nn.functional.cross_entropy, labels)
    method_of = {"gd": torch.optim.SGD, "momentum": torch.optim.SGD, "adam": torch.optim.Adam}[method]
    settings = {"momentum": 0.9} if method == "momentum" else {}
    optimizer = method_of(model.parameters(), lr=1e-6 if method == "adam" else 1e-9, **settings)
    follower, looks = Follower(tolerance=1e-2, probe_every=5), []
    for step in range(STEPS):
        if step % every == 0 and (step or method != "adam"):
            try:
                moving, value = largest(model, loss, (x, y), optimizer, follower)
            except NotFinite:  # it diverges
                break
            if not looks:
                optimizer.param_groups[0]["lr"] = ratio * moving.limit / max(value, 1e-6)
                looks.append((step, ratio))
            else:
                looks.append((step, moving.edge_ratio(value)))
        if sum(r >= 1 for _, r in looks) > AFTER:
            break
        optimizer.zero_grad()
        value_now = loss(model(x), y)
        if not math.isfinite(float(value_now.detach())):
            break
        value_now.backward()
        optimizer.step()
    return looks


def largest(model, loss, batch, optimizer, follower):  # type: ignore[no-untyped-def]
    with Curvature(model, loss, [batch]) as curvature:
        curvature.trust()
        moving = motion(optimizer, dict(model.named_parameters()))
        p = moving.preconditioner
        return moving, float(follower.follow(curvature if p is None else Preconditioned(curvature, p)).values[0])


def scored(several: list[Training]) -> None:
    """Prints how often the intervals held and how far off the predictions were."""
    within, off, silent, false = [], [], 0, 0
    later_within, later_off = [], []
    largest = []
    for training in several:
        steps, ratios = zip(*training.looks, strict=True)
        last = training.crossing if training.crossing is not None else steps[-1]
        for i in range(len(steps)):
            if steps[i] > last - 1 or ratios[i] >= 1:
                break
            said = forecast(steps[: i + 1], ratios[: i + 1])
            now = steps[i]
            if said.crossing is not None and training.crossing is not None:
                off.append(math.log((training.crossing - now) / (said.crossing.value - now)))
                within.append(said.crossing.low <= training.crossing <= said.crossing.high)
            elif said.crossing is not None:
                false += 1
            elif training.crossing is not None and training.crossing - now <= BEYOND * said.horizon:
                silent += 1
            ahead = [r for s, r in training.looks if abs(s - now - said.horizon) <= 2]
            if said.ratio_later is not None and ahead:
                later_off.append(math.log(ahead[0] / said.ratio_later.value))
                later_within.append(said.ratio_later.low <= ahead[0] <= said.ratio_later.high)
            if ahead:
                stable = [r * said.rate_later for s, r in training.looks if now <= s <= now + said.horizon]
                largest.append(max(stable) <= 1)
    crossed = sum(t.crossing is not None for t in several)
    print(f"{len(several)} trainings, {crossed} reach the edge")
    print(
        f"crossing: {len(off)} predictions that came true, actual / predicted steps to go: median "
        f"{math.exp(np.median(off)):.2f}, 10 to 90 % {math.exp(np.quantile(off, 0.1)):.2f} to "
        f"{math.exp(np.quantile(off, 0.9)):.2f}; the interval held {np.mean(within):.0%}"
    )
    print(f"  {false} predictions in trainings that did not reach it in {STEPS} steps; {silent} crossings unannounced")
    print(
        f"ratio a horizon later: {len(later_off)} predictions, actual / predicted: median "
        f"{math.exp(np.median(later_off)):.2f}, 10 to 90 % {math.exp(np.quantile(later_off, 0.1)):.2f} to "
        f"{math.exp(np.quantile(later_off, 0.9)):.2f}; the interval held {np.mean(later_within):.0%}"
    )
    print(f"step size named for the horizon stays below the edge all along: {np.mean(largest):.0%} of {len(largest)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trainings", type=int, default=40)
    parser.add_argument("--build", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"netassay {netassay.__version__}, torch {torch.__version__}")
    scored([*trainings("build" if given.build else "others", given.trainings)])


if __name__ == "__main__":
    main()
