"""Cost and accuracy of the curvature engine beside its peers, in units of one full-batch gradient.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/curvature.py [--steps 100]. Times are CPU seconds of this
process (so that other processes on the machine disturb less), medians of interleaved repeats.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import copy
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from statistics import median

import numpy as np
import torch
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh
from sklearn.datasets import load_digits
from torch import Tensor, nn

import netassay
from netassay.curvature.curvature import Curvature
from netassay.curvature.following import Follower

SIZES = (3072, 200, 200, 10)


def half_square(output: Tensor, target: Tensor) -> Tensor:
    return 0.5 * (output - target).square().sum(1).mean()


def synthetic_images(n: int = 5000, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Gaussian 32 x 32 colour fields of amplitude 1/frequency, as in natural images, around ten class
    means.
    """
    g = torch.Generator().manual_seed(seed)
    frequency = torch.hypot(torch.fft.fftfreq(32)[:, None], torch.fft.rfftfreq(32)[None])
    amplitude = 1 / frequency.clamp_min(1 / 80)

    def fields(count: int) -> Tensor:
        colour = torch.randn(count, 3, 32, 32, generator=g)
        common = torch.randn(count, 1, 32, 32, generator=g)
        spectrum = torch.fft.rfft2(0.25 * colour + (1 - 0.25**2) ** 0.5 * common) * amplitude
        return torch.fft.irfft2(spectrum, s=(32, 32)).flatten(1)

    means, label = fields(10), torch.randint(0, 10, (n,), generator=g)
    x = fields(n) + 0.25 * means[label]
    return (x - x.mean(0)) / x.std(), nn.functional.one_hot(label, 10).float()


def digits() -> tuple[Tensor, Tensor]:
    data = load_digits()
    x = torch.tensor(data.data / 16.0, dtype=torch.float32)
    return x - x.mean(0), nn.functional.one_hot(torch.tensor(data.target), 10).float()


def network(sizes: tuple[int, ...], seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def seconds(job: Callable[[], object]) -> float:
    begin = time.process_time()
    job()
    return time.process_time() - begin


def interleaved(jobs: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median over repeats of each job's time as a multiple of the gradient's in the same repeat."""
    times = [{name: seconds(job) for name, job in jobs.items()} for _ in range(repeats)]
    return {name: median(t[name] / t["gradient"] for t in times) for name in jobs}


def multiplications(sizes: tuple[int, ...]) -> dict[str, float]:
    """Floors by operations: multiply-adds of matrix products alone, in units of one gradient."""
    a = [m * n for m, n in pairwise(sizes)]
    gradient = 3 * sum(a) - a[0]  # forward, slopes of weights, slopes of layer inputs but the first
    # forward, backward and weight slopes each twice, as both factors move; into the input neither moves
    product = 2 * a[0] + 6 * sum(a[1:])
    # forward and weight slope of the layer itself; forward and backward through the layers above
    blocks = sum(2 * sum(a[i:]) for i in range(len(a)))
    return {"product": product / gradient, "blocks": blocks / gradient}


def products(model: nn.Module, x: Tensor, y: Tensor) -> None:
    weights = list(model.parameters())
    curvature = Curvature(model, half_square, [(x, y)], blocks="layer")
    ggn = Curvature(model, half_square, [(x, y)], kind="ggn", blocks="layer")
    v = torch.randn(curvature.size, generator=torch.Generator().manual_seed(0))
    parts = {n: v[: curvature.block_size(n)] for n in curvature.blocks}
    ratios = interleaved(
        {
            "gradient": lambda: torch.autograd.grad(half_square(model(x), y), weights),
            "build": lambda: Curvature(model, half_square, [(x, y)], blocks="layer"),
            "product": lambda: curvature.product(v),
            "blocks": lambda: [curvature.block_product(n, w) for n, w in parts.items()],
            "ggn product": lambda: ggn.product(v),
            "ggn blocks": lambda: [ggn.block_product(n, w) for n, w in parts.items()],
        },
        repeats=9,
    )
    floor = multiplications(SIZES)
    print(f"graph of the step (loss, gradient, graph kept)  {ratios['build']:.2f} units (a gradient is 1)")
    print(
        f"Hessian product on the kept graph               {ratios['product']:.2f} units, target 1.3, "
        f"floor {floor['product']:.2f}"
    )
    print(
        f"three layer blocks, one product each            {ratios['blocks']:.2f} units, target 1.6, "
        f"floor {floor['blocks']:.2f}"
    )
    print(
        f"Gauss-Newton product, and three blocks          {ratios['ggn product']:.2f}, {ratios['ggn blocks']:.2f} units"
    )


def rebuilt_product(model: nn.Module, x: Tensor, y: Tensor) -> tuple[LinearOperator, list[int]]:
    """The plain loop: gradient and double backward anew for every product, through NumPy."""
    weights, count = list(model.parameters()), [0]
    size = sum(p.numel() for p in weights)

    def apply(v: np.ndarray) -> np.ndarray:
        count[0] += 1
        slopes = torch.autograd.grad(half_square(model(x), y), weights, create_graph=True)
        flat = torch.cat([s.reshape(-1) for s in slopes])
        found = torch.autograd.grad(flat @ torch.from_numpy(v.astype(np.float32).reshape(-1)), weights)
        return torch.cat([f.reshape(-1) for f in found]).numpy()

    return LinearOperator((size, size), matvec=apply, dtype=np.float32), count


def by_netassay(model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, str]:
    found = netassay.sharpness(model, half_square, [(x, y)])
    return float(
        found.values[0]
    ), f"{found.products} products, own error {float(found.errors[0] / found.values[0]):.0e}"


def by_scipy(tolerance: float) -> Callable[[nn.Module, Tensor, Tensor], tuple[float, str]]:
    def solve(model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, str]:
        operator, count = rebuilt_product(model, x, y)
        start = np.random.default_rng(0).standard_normal(operator.shape[0]).astype(np.float32)
        value = eigsh(operator, k=1, which="LA", tol=tolerance, v0=start, return_eigenvectors=False)[0]
        return float(value), f"{count[0]} products"

    return solve


def by_curvlinops(tolerance: float) -> Callable[[nn.Module, Tensor, Tensor], tuple[float, str]]:
    def solve(model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, str]:
        from curvlinops import HessianLinearOperator

        # it knows PyTorch's MSE alone, which is a fifth of half the squared error over ten outputs
        operator = HessianLinearOperator(
            model, nn.MSELoss(), list(model.parameters()), [(x, y)], check_deterministic=False
        )
        view = operator.to_scipy()
        start = np.random.default_rng(0).standard_normal(view.shape[0]).astype(np.float32)
        value = eigsh(view, k=1, which="LA", tol=tolerance, v0=start, return_eigenvectors=False)[0]
        return 5 * float(value), ""

    return solve


def by_pyhessian(model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, str]:
    from pyhessian import hessian

    torch.manual_seed(0)
    values, _ = hessian(model, half_square, data=(x, y), cuda=False).eigenvalues(maxIter=100, tol=1e-3, top_n=1)
    return float(values[0]), "power iteration, tol 1e-3"


def cold(model: nn.Module, x: Tensor, y: Tensor, repeats: int) -> None:
    double = copy.deepcopy(model).double()
    truth = float(netassay.sharpness(double, half_square, [(x.double(), y.double())], tolerance=1e-9, k=2).values[0])
    weights = list(model.parameters())
    solvers = {
        "netassay.sharpness": by_netassay,
        "eigsh tol 1e-3, product rebuilt": by_scipy(1e-3),
        "eigsh default tol, product rebuilt": by_scipy(0),
        "curvlinops + eigsh tol 1e-3": by_curvlinops(1e-3),
        "curvlinops + eigsh default tol": by_curvlinops(0),
        "PyHessian": by_pyhessian,
    }
    print(f"cold top eigenvalue, converged in float64 {truth:.6f}; target 15 units at 1e-3")
    for name, solve in solvers.items():
        found: list[tuple[float, str]] = []
        try:
            times = []
            for _ in range(repeats):
                unit = median(seconds(lambda: torch.autograd.grad(half_square(model(x), y), weights)) for _ in range(3))
                times.append(seconds(lambda solve=solve, found=found: found.append(solve(model, x, y))) / unit)
        except (ImportError, ArpackError, RuntimeError, TypeError, AttributeError, ValueError) as error:
            print(f"  {name:36s} could not be run: {type(error).__name__}: {error}")
            continue
        value, note = found[-1]
        print(f"  {name:36s} {median(times):6.1f} units, relative error {abs(value - truth) / truth:.1e}  {note}")


def following(model: nn.Module, x: Tensor, y: Tensor, step_size: float, steps: int, check_every: int) -> None:
    weights, follower = list(model.parameters()), Follower()
    spent: list[list[int]] = []
    units: list[float] = []
    gradients: list[float] = []
    wrong: list[float] = []
    stated: list[float] = []
    for step in range(steps):
        gradients.append(seconds(lambda: torch.autograd.grad(half_square(model(x), y), weights)))
        begin = time.process_time()
        curvature = Curvature(model, half_square, [(x, y)], blocks="layer")
        found = follower.follow(curvature)
        units.append(time.process_time() - begin)
        spent.append([found.products, *(p.products for p in found.blocks.values())])
        if step % check_every == check_every - 2:
            double = copy.deepcopy(model).double()
            truth = netassay.sharpness(double, half_square, [(x.double(), y.double())], blocks="layer", tolerance=1e-6)
            for name in (None, *found.blocks):
                mine = found if name is None else found.blocks[name]
                exact = truth.values[0] if name is None else truth.blocks[name].values[0]
                wrong.append(float((mine.values[0] - exact).abs() / exact))
                stated.append(float(mine.errors[0] / exact))
        for p, g in zip(weights, curvature.gradient.split([p.numel() for p in weights]), strict=True):
            p.data.sub_(step_size * g.view_as(p))
        curvature.release()
    unit = median(gradients)
    honest = sum(w <= s for w, s in zip(wrong, stated, strict=True)) / len(wrong)
    print(
        f"  first step (cold) {units[0] / unit:.1f} units; then {sum(units[1:]) / unit / (steps - 1):.2f} "
        "units a step "
        f"(median {median(units[1:]) / unit:.2f}, floor 1 gradient + 1 product + 1 a block); target 5"
    )
    print(
        f"  products a step after the first, whole and blocks: "
        f"{', '.join(f'{m:.2f}' for m in np.mean(spent[1:], axis=0))}"
    )
    print(
        f"  {len(wrong)} checks against converged float64: median error {median(wrong):.1e}, largest "
        f"{max(wrong):.1e}; "
        f"stated error covers {100 * honest:.1f} %, median stated {median(stated):.1e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=UserWarning, module="torch")
    x, y = synthetic_images()
    shares = torch.linalg.eigvalsh(x.T @ x).flip(0)
    shares = ", ".join(f"{s:.2f}" for s in (shares / shares.sum())[:4])
    print(
        f"torch {torch.__version__}, 1 thread, float32; {'-'.join(map(str, SIZES))} tanh, half squared "
        "error, "
        f"{len(x)} synthetic images (1/f spectrum; leading principal shares {shares})"
    )
    model = network(SIZES)
    weights = list(model.parameters())
    unit = median(seconds(lambda: torch.autograd.grad(half_square(model(x), y), weights)) for _ in range(5))
    print(f"unit, one full-batch gradient: {1e3 * unit:.0f} ms")
    products(model, x, y)
    cold(model, x, y, options.repeats)
    print(f"following whole and every layer, {options.steps} steps of 0.01 (2/step size is twice the sharpness)")
    following(network(SIZES), x, y, 0.01, options.steps, check_every=10)
    sizes = (64, 200, 200, 10)
    x, y = digits()
    for step_size in (0.1, 0.5):
        print(f"following on scikit-learn digits, {'-'.join(map(str, sizes))}, 200 steps of {step_size}")
        following(network(sizes), x, y, step_size, 200, check_every=10)


if __name__ == "__main__":
    main()
