"""Critical sharpness beside the exact sharpness, on digits through sharpening and edge, in one run.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/critical.py [--steps 1000] [--every 10] [--figure docs]. One thread,
float32, 64-100-100-10 tanh, half squares, all 1,797 digits. Gradient descent is compared with the largest eigenvalue of
the Hessian, momentum and Adam with that of the preconditioned one, all three along the optimiser's next update. Costs
are ratios of CPU times in this run.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import math
import time
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

import polars as pl
import torch
from curvature import digits, half_square, network
from scipy.stats import spearmanr

import netassay
from netassay.curvature.combined import Preconditioned
from netassay.curvature.critical import CriticalFollower
from netassay.curvature.curvature import Curvature
from netassay.curvature.directions import directional
from netassay.curvature.following import Follower
from netassay.reporting import Axis, Figure, Rule, small_multiples
from netassay.reporting.export import save_figure
from netassay.studies.edge.tracker.motion import motion

SIZES = (64, 100, 100, 10)
METHODS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "gradient descent": lambda p: torch.optim.SGD(p, lr=0.3),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.2, momentum=0.9),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.002),
}


class Look(NamedTuple):
    step: int
    ratio: float  # of the exact sharpness to the optimiser's edge
    exact: float
    along: float  # directional sharpness, by a product
    critical: netassay.CriticalSharpness
    cold: netassay.CriticalSharpness
    by_gradient: netassay.CriticalSharpness
    seconds: float
    gradient_seconds: float
    step_seconds: float  # of the training, the gradient included


def train(make: Callable[..., torch.optim.Optimizer], steps: int, every: int) -> list[Look]:
    x, y = digits()
    model = network(SIZES)
    optimizer = make([*model.parameters()])
    exact, forward, looks = Follower(tolerance=1e-3, probe_every=5), CriticalFollower(direction=optimizer), []
    for step in range(steps):
        begin = time.process_time()
        optimizer.zero_grad()
        loss = half_square(model(x), y)
        loss.backward()
        ahead = time.process_time() - begin
        if step % every == 0 and step:
            looks.append(look(step, model, (x, y), optimizer, exact, forward, float(loss.detach()), ahead))
        begin = time.process_time()
        optimizer.step()
        if looks and looks[-1].step == step:
            looks[-1] = looks[-1]._replace(step_seconds=ahead + time.process_time() - begin)
    return looks


def look(step, model, batch, optimizer, exact, forward, loss, ahead) -> Look:  # type: ignore[no-untyped-def]
    begin = time.process_time()
    now = forward.follow(model, half_square, [batch], present_loss=loss)
    seconds = time.process_time() - begin
    cold = netassay.critical_sharpness(model, half_square, [batch], direction=optimizer)
    plain = netassay.critical_sharpness(model, half_square, [batch], directional="product")
    with Curvature(model, half_square, [batch]) as curvature:
        moving = motion(optimizer, dict(model.named_parameters()))
        p = moving.preconditioner
        value = float(exact.follow(curvature if p is None else Preconditioned(curvature, p)).values[0])
        g = curvature.gradient
        along = directional(curvature.product, g)
    return Look(step, moving.edge_ratio(value), value, along, now, cold, plain, seconds, ahead, ahead)


def spread(values: list[float]) -> str:
    numbers = sorted(v for v in values if math.isfinite(v))
    if not numbers:
        return "none"
    low, high = numbers[len(numbers) // 10], numbers[-1 - len(numbers) // 10]
    return f"{median(numbers):.3g} ({low:.3g} to {high:.3g})"


def agreement(looks: list[Look]) -> tuple[float, float]:
    """Rank correlation and median ratio of critical to exact sharpness."""
    both = [(one.critical.value, one.exact) for one in looks if one.critical.status == "measured"]
    if len(both) < 5:
        return math.nan, math.nan
    return float(spearmanr(*zip(*both, strict=True)).statistic), median(c / e for c, e in both)


def report(name: str, looks: list[Look], steps: int) -> None:
    crossing = next((one.step for one in looks if one.ratio >= 1), steps)
    phases = {
        "before the edge": [o for o in looks if o.step < crossing],
        "from it on": [o for o in looks if o.step >= crossing],
    }
    print(f"\n{name}: reaches its edge at step {crossing if crossing < steps else 'none'}")
    for phase, part in {**phases, "all": looks}.items():
        if not part:
            continue
        correlation, ratio = agreement(part)
        rates = [o.critical.edge_ratio for o in part]
        print(
            f"  {phase}: {len(part)} looks; critical / exact median {ratio:.3g}, rank correlation {correlation:.2f}; "
            f"exact edge ratio {spread([o.ratio for o in part])}, step size / critical {spread(rates)}"
        )
    ascents = sum(one.critical.status != "measured" for one in looks)
    print(f"  looks without a number (not a descent direction): {ascents} of {len(looks)}")
    quadratic = [o.by_gradient.value / o.by_gradient.directional.value for o in looks if o.by_gradient.directional]
    print(
        f"  along the gradient: critical / directional sharpness {spread(quadratic)}; "
        f"critical / exact {spread([o.by_gradient.value / o.exact for o in looks])}"
    )
    warm, cold = [o.critical.passes for o in looks[1:]], [o.cold.passes for o in looks]
    few = sum(w <= 3 for w in warm) / len(warm)
    print(
        f"  passes: warm median {median(warm)}, at most 3 in {few:.0%}, most {max(warm)}"
        f"; cold median {median(cold)}, most {max(cold)}"
    )
    apart = [
        max(o.critical.value / o.cold.value, o.cold.value / o.critical.value)
        for o in looks
        if o.critical.status == o.cold.status == "measured"
    ]
    print(
        f"  warm against cold: at most {max(apart) - 1:.1%} apart; "
        f"cost of a warm look {spread([o.seconds / o.gradient_seconds for o in looks[1:]])} gradients, "
        f"{spread([o.seconds / o.step_seconds for o in looks[1:]])} training steps"
    )


def figure(several: dict[str, list[Look]]) -> Figure:
    rows = []
    for name, looks in several.items():
        correlation, ratio = agreement(looks)
        panel = f"{name}: rank correlation {correlation:.2f}, ratio {ratio:.2g}"
        for one in looks:
            rows.append((panel, "exact, λ over its threshold", one.step, one.ratio))
            rows.append((panel, "critical, step size over the critical one", one.step, one.critical.edge_ratio))
    data = pl.DataFrame(rows, schema=["method", "sharpness", "step", "ratio"], orient="row")
    chart = small_multiples(
        data,
        Axis("step", title="step"),
        Axis("ratio", title="share of the edge", log=True),
        "method",
        Axis("sharpness", title="sharpness"),
        rules=[Rule(1.0, "edge")],
        columns=1,
        width=560,
        height=190,
    )
    return Figure(
        "edge-critical",
        "Critical sharpness beside the sharpness",
        "Digits, full batches, a network of 64-100-100-10 with tanh. Critical sharpness is taken along the optimiser's "
        "next update; the sharpness is the largest eigenvalue of the Hessian, for Adam of the preconditioned one. In "
        "the titles: the rank correlation of the two over all looks, and the median of critical over exact.",
        chart,
        data,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--figure", help="folder for the figure")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"netassay {netassay.__version__}, torch {torch.__version__}, one thread; brackets of 5 % either way, looks "
        f"{given.every} steps apart; medians (10 to 90 %)"
    )
    several = {name: train(make, given.steps, given.every) for name, make in METHODS.items()}
    for name, looks in several.items():
        report(name, looks, given.steps)
    if given.figure:
        save_figure(figure(several), given.figure, ("png",))


if __name__ == "__main__":
    main()
