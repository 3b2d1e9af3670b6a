"""The same numbers to a stated bound: under one and two threads, and in float32 and float64.

Single evaluations, and steps before the edge of stability: beyond it trajectories are chaotic, and no bound holds.
Bounds are relative to the largest number of its kind.
"""

from copy import deepcopy

import numpy as np
import pytest
import torch
from easy_atlas import SMALL, easy_atlas

import netassay
from netassay.corpus.target import exact_loss, targets
from netassay.nets import AITAC
from netassay.nets.decoder import ExperimentDecoder
from netassay.numerics import devices

EDGE = {
    "examples": 200,
    "width": 32,
    "depth": 2,
    "steps": 30,
    "step_size": 0.02,
    "curvature_every": 15,
    "top": 1,
    "layers": False,
}
BOTH = (torch.float32, torch.float64)
SINGLE = {"threads, float32": 1e-6, "threads, float64": 1e-13, "dtypes": 1e-5}
"""Bounds on single evaluations, whatever is evaluated."""


def farthest(one, other):
    """The largest difference over the largest number."""
    one, other = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    assert one.shape == other.shape
    assert np.abs(other).max() > 0
    return float(np.abs(one - other).max() / np.abs(other).max())


def distances(compute):
    """How far apart a computation, given a dtype, is under one and two threads, and in the two dtypes."""
    values = {}
    for dtype in BOTH:
        for threads in (1, 2):
            with devices.settings(threads), torch.no_grad():
                values[dtype, threads] = compute(dtype)
    single, double = BOTH
    return {
        "threads, float32": farthest(values[single, 1], values[single, 2]),
        "threads, float64": farthest(values[double, 1], values[double, 2]),
        "dtypes": farthest(values[single, 1], values[double, 1]),
    }


def summed_loss():
    draw = np.random.default_rng(0)
    to = targets(netassay.contexts(draw.zipf(1.3, (3000, 6)).clip(max=500).tolist()))
    model = ExperimentDecoder(to.vocabulary, 64, generator=torch.Generator().manual_seed(0))
    return lambda dtype: exact_loss(model.to(dtype), to)


def predictions():
    model = AITAC(4, length=60, n_filters=64, n_channels=32, n_hidden=64, generator=torch.Generator().manual_seed(0))
    codes = easy_atlas(n=100).codes
    one_hot = torch.nn.functional.one_hot(codes.long(), 4).transpose(1, 2)
    return lambda dtype: model.eval().to(dtype)(one_hot.to(dtype)).numpy()


def one_product():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.Tanh(), torch.nn.Linear(64, 3))
    x, y = torch.randn(20_000, 20), torch.randn(20_000, 3)
    direction = torch.randn(sum(p.numel() for p in model.parameters()))

    def compute(dtype):
        with torch.enable_grad():
            operator = netassay.hessian_operator(model.to(dtype), torch.nn.MSELoss(), [(x.to(dtype), y.to(dtype))])
            return (operator @ direction.to(dtype)).numpy()

    return compute


@pytest.mark.parametrize("make", [summed_loss, predictions, one_product])
def test_single_evaluations(make):
    for name, distance in distances(make()).items():
        assert distance < SINGLE[name], name


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("float64", 1e-12)])
def test_steps_before_the_edge_under_one_and_two_threads(tmp_path, dtype, bound):
    config = netassay.EdgeConfig(**EDGE, dtype=dtype)
    losses, sharpness = [], []
    for threads in (1, 2):
        metrics = netassay.perform(config, tmp_path / str(threads), threads=threads).metrics()
        for name, values in (("loss", losses), ("sharpness", sharpness)):
            values.append(metrics.filter((metrics["name"] == name) & (metrics["part"] == ""))["value"].to_numpy())
    assert sharpness[0].max() * config.step_size / 2 < 0.9  # before the edge
    assert len(losses[0]) == config.steps + 1
    assert farthest(*losses) < bound
    assert farthest(*sharpness) < 1e-3  # the tolerance to which it is found


def test_steps_before_the_edge_in_float32_and_float64():
    # runs of the two dtypes begin at other weights, as each draws its own; here both begin at the same
    torch.manual_seed(0)
    start = torch.nn.Sequential(torch.nn.Linear(20, 32), torch.nn.Tanh(), torch.nn.Linear(32, 3))
    x, y, step_size = torch.randn(200, 20), torch.randn(200, 3), 0.05
    losses, sharpness = [], []
    for dtype in BOTH:
        model, data = deepcopy(start).to(dtype), (x.to(dtype), y.to(dtype))
        losses.append([])
        for _ in range(50):
            loss = torch.nn.functional.mse_loss(model(data[0]), data[1])
            losses[-1].append(loss.item())
            for weight, slope in zip(
                model.parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True
            ):
                weight.data -= step_size * slope
        sharpness.append(netassay.sharpness(model, torch.nn.MSELoss(), [data]).values[0])
    assert sharpness[1] * step_size / 2 < 0.9  # before the edge
    assert losses[1][-1] < 0.9 * losses[1][0]
    assert farthest(*losses) < 1e-5
    assert farthest(*sharpness) < 2e-3


def test_an_epoch_of_aitac_under_one_and_two_threads(tmp_path):
    atlas = tmp_path / "atlas"
    easy_atlas(n=90).save(atlas)
    config = netassay.AitacConfig(atlas=str(atlas), **{**SMALL, "epochs": 1})
    losses = []
    for threads in (1, 2):
        run = netassay.perform(config, tmp_path / str(threads), threads=threads)
        losses.append(run.metrics("loss")["value"].to_numpy())
    assert farthest(*losses) < 1e-4
