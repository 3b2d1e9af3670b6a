"""Gradient flow against closed forms, by step halving, and beside a descent."""

import copy
import math
from itertools import pairwise

import pytest
import torch
from memory import Memory
from torch import nn

from netassay.curvature.flow import GradientFlow, gradient_flow
from netassay.errors import ModelError
from netassay.studies.edge.assay import assay, build
from netassay.studies.edge.config import EdgeConfig
from netassay.studies.edge.losses import mse

SMALL = EdgeConfig(examples=40, width=4, steps=12, curvature_every=4, step_size=0.3, dtype="float64",
                   tolerance=1e-8)  # fmt: skip


class Quadratic(nn.Module):
    """L = sum lambda_i x_i^2 / 2, whose flow is x_i exp(-lambda_i t)."""

    def __init__(self, *values):
        super().__init__()
        self.x = nn.Parameter(torch.ones(len(values), dtype=torch.float64))
        self.values = torch.tensor(values, dtype=torch.float64)

    def forward(self, _):
        return 0.5 * (self.values * self.x.square()).sum()


def itself(output, _):
    return output


NOTHING = [(torch.zeros(1), torch.zeros(1))]


def flat(path):
    return torch.cat([w.reshape(-1) for w in path.weights.values()])


def test_a_quadratic_decays_exponentially():
    path = gradient_flow(Quadratic(4.0, 1.0), itself, NOTHING, times=[0.0, 0.5, 2.0], alpha=0.2)
    expected = torch.exp(-torch.tensor([4.0, 1.0], dtype=torch.float64) * 2)
    torch.testing.assert_close(flat(path), expected, rtol=1e-3, atol=1e-6)
    assert path.sharpness == pytest.approx((4.0, 4.0, 4.0))
    assert path.losses[0] == 2.5
    assert path.losses[1] == pytest.approx(2 * math.exp(-4) + 0.5 * math.exp(-1), rel=1e-4)
    assert path.steps == 10 + 30


def test_halving_the_step_divides_the_error_by_sixteen():
    descent = build(SMALL)
    batches = [tuple(descent.data.train)]

    def end(alpha):
        return flat(gradient_flow(descent.model, mse, batches, times=[3.0], alpha=alpha, tolerance=1e-8))

    truth = end(0.05)
    errors = [float((end(alpha) - truth).norm()) for alpha in (1.0, 0.5, 0.25)]
    for coarse, fine in pairwise(errors):
        assert 3.6 < math.log2(coarse / fine) < 4.5, errors


def test_the_product_of_two_numbers_flows_along_a_hyperbola():
    """f = (x y - 1)^2 / 2 keeps x^2 - y^2 and ends where the sharpness is x^2 + y^2."""

    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor([1.5, 0.2], dtype=torch.float64))

        def forward(self, _):
            return 0.5 * (self.w[0] * self.w[1] - 1).square()

    path = gradient_flow(Product(), itself, NOTHING, times=[30.0], alpha=0.5, tolerance=1e-8)
    x, y = flat(path).tolist()
    assert x * x - y * y == pytest.approx(1.5**2 - 0.2**2, rel=1e-3)
    assert x * y == pytest.approx(1, abs=1e-4)
    assert path.sharpness[-1] == pytest.approx(x * x + y * y, rel=1e-5)


def test_descent_with_small_steps_stays_near_and_the_distance_falls_with_the_step():
    distances = []
    for halvings in range(3):
        size, steps = 0.08 / 2**halvings, 20 * 2**halvings
        memory = Memory()
        assay(SMALL.replace(step_size=size, steps=steps, flow=True, curvature_every=steps), memory)
        seen = memory.steps[steps]
        assert memory.steps[0][("flow_distance", "")] == 0
        assert seen[("flow_loss", "")] == pytest.approx(seen["loss"], rel=0.1)
        layers = [seen[("flow_distance", name)] for name in ("layer1", "layer2", "output")]
        assert sum(d * d for d in layers) ** 0.5 == pytest.approx(seen[("flow_distance", "")])
        distances.append(seen[("flow_distance", "")])
    # Euler's method is of the first order
    assert distances[0] / distances[1] == pytest.approx(2, rel=0.15)
    assert distances[1] / distances[2] == pytest.approx(2, rel=0.15)


def test_heavy_ball_with_small_steps_follows_the_flow_at_its_own_pace():
    memory = Memory()
    config = SMALL.replace(optimiser="polyak", momentum=0.5, step_size=0.005, steps=400, flow=True,
                           curvature_every=400)  # fmt: skip
    assay(config, memory)
    assert memory.steps[400][("flow_loss", "")] == pytest.approx(memory.steps[400]["loss"], rel=0.02)
    gone = memory.steps[400][("distance", "")]
    assert memory.steps[400][("flow_distance", "")] < 0.03 * gone


def test_stopped_and_resumed_the_flow_goes_on_bit_for_bit():
    config = SMALL.replace(flow=True, dtype="float32", tolerance=1e-3)
    whole, first = Memory(), Memory()
    assay(config, whole)
    first.stop = lambda: len(first.steps) == 7
    assay(config, first)
    first.stop = lambda: False
    assay(config, first)
    assert first.steps == whole.steps


def test_projections_of_two_runs_estimate_their_distance():
    runs = []
    for size in (0.1, 0.4):
        memory = Memory()
        assay(SMALL.replace(step_size=size, projections=400), memory)
        descent = build(SMALL.replace(step_size=size))
        for step in range(13):
            descent.measure(step)
            if step < 12:
                descent.advance()
        weights = torch.cat([p.detach().reshape(-1) for p in descent.parameters.values()])
        seen = torch.tensor([memory.steps[12][("projection", str(i))] for i in range(1, 401)])
        runs.append((weights, seen))
    exact = float((runs[0][0] - runs[1][0]).norm())
    assert float((runs[0][1] - runs[1][1]).norm()) == pytest.approx(exact, rel=3 / math.sqrt(800))


def test_the_model_stays_as_it_is():
    descent = build(SMALL)
    before = copy.deepcopy(descent.model.state_dict())
    gradient_flow(descent.model, mse, [tuple(descent.data.train)], times=[1.0])
    for key, held in descent.model.state_dict().items():
        assert torch.equal(held, before[key])


@pytest.mark.parametrize("times", [[], [1.0, 0.5], [-1.0]])
def test_times_that_do_not_ascend_are_refused(times):
    with pytest.raises(ModelError, match="ascending, from 0 on"):
        gradient_flow(Quadratic(1.0), itself, NOTHING, times=times)


def test_a_step_that_is_unstable_and_a_time_gone_by_are_refused():
    with pytest.raises(ModelError, match=r"alpha=3\.0"):
        GradientFlow(Quadratic(1.0), itself, NOTHING, alpha=3.0)
    flow = GradientFlow(Quadratic(1.0), itself, NOTHING)
    flow.advance(1.0)
    with pytest.raises(ModelError, match="cannot go back"):
        flow.advance(0.5)
