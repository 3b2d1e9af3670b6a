"""Following the whole network and every layer at every step, from depth 2 to 8, calm and turbulent.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/following.py [--depths 2 4 8] [--steps 60]. Scikit-learn digits, tanh
networks of width 200, half squared error, float32. The floor is measured in the same run: gradient graph, one product
of the whole, one of each block. Times are CPU seconds of this process.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import copy
from statistics import median

import numpy as np
import torch
from curvature import digits, half_square, network, seconds
from torch import Tensor, nn

import netassay
from netassay.curvature.curvature import Curvature
from netassay.curvature.eigen import lanczos
from netassay.curvature.following import Follower

CHECK_EVERY = 15
# depth -> (step size, steps before): long before the edge, and at it
CALM, TURBULENT = (0.1, 50), (0.5, 300)


def floor(model: nn.Module, x: Tensor, y: Tensor) -> None:
    """The least that one step of following can be."""
    curvature = Curvature(model, half_square, [(x, y)], blocks="layer")
    curvature.trust()  # symmetry is checked in the first step alone
    v = torch.ones(curvature.size)
    curvature.product(v)
    for name in curvature.blocks:
        curvature.block_product(name, v[: curvature.block_size(name)])


def descend(model: nn.Module, gradient: Tensor, step_size: float) -> None:
    weights = list(model.parameters())
    for p, g in zip(weights, gradient.split([p.numel() for p in weights]), strict=True):
        p.data.sub_(step_size * g.view_as(p))


def converged(model: nn.Module, x: Tensor, y: Tensor, k: int = 1) -> netassay.Sharpness:
    double = copy.deepcopy(model).double()
    batches = [(x.double(), y.double())]
    return netassay.sharpness(double, half_square, batches, k=k, blocks="layer", tolerance=1e-5)


def crowd(model: nn.Module, x: Tensor, y: Tensor) -> str:
    """The leading eigenvalues over the first, and how many of them lie within 8 % of it."""
    curvature = Curvature(copy.deepcopy(model).double(), half_square, [(x.double(), y.double())])
    values = lanczos(curvature.product, curvature.size, k=7, tolerance=1e-4).values
    shares = values / values[0]
    return f"{', '.join(f'{s:.3f}' for s in shares.tolist())}; {int((shares > 0.92).sum())} within 8 %"


def follow(depth: int, step_size: float, before: int, steps: int, probe_every: int) -> None:
    x, y = digits()
    model = network((64, *[200] * depth, 10))
    weights = list(model.parameters())
    for _ in range(before):
        slopes = torch.autograd.grad(half_square(model(x), y), weights)
        descend(model, torch.cat([s.reshape(-1) for s in slopes]), step_size)
    print(f"depth {depth}, step size {step_size} after {before} steps: {crowd(model, x, y)}", flush=True)
    follower = Follower(probe_every=probe_every)
    units, gradients, floors = [], [], []
    spent, wrong, stated = [], [], []
    for step in range(steps):
        gradients.append(seconds(lambda: torch.autograd.grad(half_square(model(x), y), weights)))
        if step % 10 == 5:
            floors.append(seconds(lambda: floor(model, x, y)))
        held: list[tuple[Curvature, netassay.Sharpness]] = []

        def look(held: list[tuple[Curvature, netassay.Sharpness]] = held) -> None:
            curvature = Curvature(model, half_square, [(x, y)], blocks="layer")
            held.append((curvature, follower.follow(curvature)))

        units.append(seconds(look))
        curvature, found = held[0]
        spent.append([found.products, *(p.products for p in found.blocks.values())])
        if step % CHECK_EVERY == CHECK_EVERY - 2:
            truth = converged(model, x, y)
            for mine, exact in ((found, truth), *((found.blocks[n], truth.blocks[n]) for n in found.blocks)):
                wrong.append(float((mine.values[0] - exact.values[0]).abs() / exact.values[0]))
                stated.append(float((mine.errors[0] + exact.errors[0]) / exact.values[0]))
        descend(model, curvature.gradient, step_size)
        curvature.release()
    unit, least = median(gradients), median(floors)
    mean, middle = sum(units[1:]) / (steps - 1), median(units[1:])
    honest = sum(w <= s for w, s in zip(wrong, stated, strict=True)) / len(wrong)
    print(
        f"  search every {probe_every}: {mean / unit:.2f} units a step, {mean / least:.2f}x the floor of "
        f"{least / unit:.2f} (median {middle / least:.2f}x); products, whole and mean of a block "
        f"{np.mean([s[0] for s in spent[1:]]):.2f}, {np.mean([s[1:] for s in spent[1:]]):.2f}\n"
        f"  relative error, median {median(wrong):.1e}, 95 % {np.quantile(wrong, 0.95):.1e}, largest "
        f"{max(wrong):.1e} of {len(wrong)}; stated error covers {100 * honest:.0f} %, median stated "
        f"{median(stated):.1e}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--depths", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--probe-every", type=int, default=25)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for depth in options.depths:
        for step_size, before in (CALM, TURBULENT):
            follow(depth, step_size, before, options.steps, options.probe_every)


if __name__ == "__main__":
    main()
