"""Trace and spectral density beside their peers, in units of one full-batch gradient.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/spectrum.py. The network of `curvature.py`, 657,000 weights, on
1,000 synthetic images; CPU seconds of this process. The reference of both is netassay's own with many more products
(the tests hold it to dense matrices); peers are held to the same numbers.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import time
import warnings
from collections.abc import Callable
from statistics import median

import torch
from curvature import SIZES, half_square, network, seconds, synthetic_images
from torch import Tensor, nn

import netassay
from netassay.curvature.curvature import Curvature
from netassay.curvature.density import Density

TRACE_PRODUCTS, STEPS = 30, 50
OUTPUTS = 10
# curvlinops knows PyTorch's MSE alone, which is a fifth of half the squared error over ten outputs
HALF_SQUARE_OVER_MSE = OUTPUTS / 2


def curvlinops_operator(model: nn.Module, x: Tensor, y: Tensor) -> object:
    from curvlinops import HessianLinearOperator

    parameters = list(model.parameters())
    return HessianLinearOperator(model, nn.MSELoss(), parameters, [(x, y)], check_deterministic=False)


def by_curvlinops(model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, str]:
    from curvlinops import hutchpp_trace

    torch.manual_seed(0)
    found = hutchpp_trace(curvlinops_operator(model, x, y), num_matvecs=TRACE_PRODUCTS)
    return HALF_SQUARE_OVER_MSE * float(found), f"Hutch++, {TRACE_PRODUCTS} products, no error"


def by_pyhessian(model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, str]:
    from pyhessian import hessian

    torch.manual_seed(0)
    samples = hessian(model, half_square, data=(x, y), cuda=False).trace(maxIter=TRACE_PRODUCTS, tol=0)
    return float(sum(samples) / len(samples)), f"Hutchinson, {len(samples)} products, no error"


def by_netassay(model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, str]:
    found = netassay.trace(model, half_square, [(x, y)], products=TRACE_PRODUCTS)
    return (
        found.value,
        f"Hutch++, {found.products} products, own standard error {found.error / found.value:.1e}",
    )


def traces(model: nn.Module, x: Tensor, y: Tensor, unit: float) -> None:
    truth = netassay.trace(model, half_square, [(x, y)], products=240)
    print(f"trace, reference {truth.value:.3f} (240 products, standard error {truth.error / truth.value:.1e})")
    for name, job in {
        "netassay.trace": by_netassay,
        "curvlinops": by_curvlinops,
        "PyHessian": by_pyhessian,
    }.items():
        report(name, lambda job=job: job(model, x, y), unit, truth.value)


def report(name: str, job: Callable[[], tuple[float, str]], unit: float, truth: float) -> None:
    begin = time.process_time()
    try:
        value, note = job()
    except (ImportError, RuntimeError, TypeError, AttributeError, ValueError) as error:
        print(f"  {name:18s} could not be run: {type(error).__name__}: {str(error).splitlines()[0][:90]}")
        return
    spent = (time.process_time() - begin) / unit
    print(f"  {name:18s} {spent:6.1f} units, relative error {abs(value - truth) / abs(truth):.1e}  {note}")


def apart(found: Density, reference: Density, at: Tensor, width: float) -> float:
    """Largest difference of the two cumulative distributions, every eigenvalue a Gaussian of that width."""

    def cumulative(density: Density) -> Tensor:
        z = (at[None, None] - density.nodes[:, :, None]) / width
        return (torch.special.ndtr(z) * density.weights[:, :, None]).sum(1).mean(0)

    return float((cumulative(found) - cumulative(reference)).abs().max())


def densities(model: nn.Module, x: Tensor, y: Tensor, unit: float) -> None:
    batches = [(x, y)]
    reference = netassay.spectral_density(
        model, half_square, batches, steps=100, probes=2, generator=torch.Generator().manual_seed(1)
    )
    top = float(reference.nodes.max())
    at, width = torch.linspace(float(reference.nodes.min()) - 0.1, top, 4000, dtype=torch.float64), top / 200
    print(f"spectral density, reference of 200 products; largest eigenvalue {top:.3f}, drawn at width {width:.3f}")
    begin = time.process_time()
    found = netassay.spectral_density(model, half_square, batches, steps=STEPS)
    spent = (time.process_time() - begin) / unit
    low, high = found.cumulative(at)
    truth = (reference.nodes[:, :, None] <= at).double().mul(reference.weights[:, :, None]).sum(1).mean(0)
    held = float(((low <= truth + 1e-9) & (truth <= high + 1e-9)).double().mean())
    print(
        f"  {'netassay':18s} {spent:6.1f} units, {found.products} products, cumulative off by at most "
        f"{apart(found, reference, at, width):.1e}, largest eigenvalue by "
        f"{abs(float(found.nodes.max()) - top) / top:.1e}; its bounds hold at {100 * held:.1f} % of the points, "
        f"mean width {float((high - low).mean()):.1e}"
    )
    curvlinops_density(model, x, y, unit, reference, at, width)
    report("PyHessian", lambda: pyhessian_density(model, x, y), unit, top)


def curvlinops_density(
    model: nn.Module, x: Tensor, y: Tensor, unit: float, reference: Density, at: Tensor, width: float
) -> None:
    """Its density on its own grid, cut at its own bounds, summed up and compared with the reference there."""
    try:
        from curvlinops import lanczos_approximate_spectrum

        torch.manual_seed(0)
        begin = time.process_time()
        grid, density = lanczos_approximate_spectrum(curvlinops_operator(model, x, y), STEPS)
        spent = (time.process_time() - begin) / unit
    except (ImportError, RuntimeError, TypeError, AttributeError, ValueError) as error:
        print(f"  {'curvlinops':18s} could not be run: {type(error).__name__}: {str(error).splitlines()[0][:90]}")
        return
    grid = HALF_SQUARE_OVER_MSE * torch.as_tensor(grid).double()
    share = torch.as_tensor(density).double()
    share = share.cumsum(0) / share.sum()
    z = (grid[None, None] - reference.nodes[:, :, None]) / width
    truth = (torch.special.ndtr(z) * reference.weights[:, :, None]).sum(1).mean(0)
    print(
        f"  {'curvlinops':18s} {spent:6.1f} units, {STEPS} products and those for its bounds, cumulative off by at "
        f"most {float((share - truth).abs().max()):.1e}; no error"
    )


def pyhessian_density(model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, str]:
    from pyhessian import hessian

    nodes, _ = hessian(model, half_square, data=(x, y), cuda=False).density(iter=STEPS, n_v=1)
    return max(nodes[0]), f"{STEPS} products; of the largest eigenvalue"


def main() -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=UserWarning)
    x, y = synthetic_images(1000)
    model = network(SIZES)
    weights = list(model.parameters())
    unit = median(seconds(lambda: torch.autograd.grad(half_square(model(x), y), weights)) for _ in range(7))
    with Curvature(model, half_square, [(x, y)]) as curvature:
        v = torch.randn(curvature.size, generator=torch.Generator().manual_seed(0))
        product = median(seconds(lambda: curvature.product(v)) for _ in range(7))
        print(
            f"torch {torch.__version__}, 1 thread, float32; {'-'.join(map(str, SIZES))} tanh, half squared error, "
            f"{curvature.size:,} weights, {len(x)} synthetic images\nunit, one full-batch gradient: {1e3 * unit:.0f} "
            f"ms; a Hessian product on the kept graph {product / unit:.2f} units"
        )
    traces(model, x, y, unit)
    densities(model, x, y, unit)


if __name__ == "__main__":
    main()
