"""Gradient flow against closed forms, SciPy's integrator, and beside a descent."""

import copy
import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from dense import examples, half_square, network
from memory import Memory
from scipy.integrate import solve_ivp
from torch import nn
from torch.func import functional_call

from netassay.curvature.flow import GradientFlow, gradient_flow
from netassay.errors import ModelError
from netassay.studies.edge.assay import assay, build
from netassay.studies.edge.config import EdgeConfig
from netassay.studies.edge.networks import mse

SMALL = EdgeConfig(examples=40, width=4, steps=12, curvature_every=4, step_size=0.3, dtype="float64", tolerance=1e-8)


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
    path = gradient_flow(Quadratic(4.0, 1.0), itself, NOTHING, times=[0.0, 0.5, 2.0])
    expected = torch.exp(-torch.tensor([4.0, 1.0], dtype=torch.float64) * 2)
    assert float((flat(path) - expected).norm()) <= path.weights_errors[-1] < 1e-4
    assert path.sharpness == pytest.approx((4.0, 4.0, 4.0))
    assert path.losses[0] == 2.5
    exact = [2 * math.exp(-8 * t) + 0.5 * math.exp(-2 * t) for t in path.times]
    for value, truth, error in zip(path.losses, exact, path.loss_errors, strict=True):
        assert abs(value - truth) <= error < 1e-4
    assert path.reached and path.stopped is None and path.end_time == 2.0


def test_alpha_bounds_the_steps_by_the_curvature():
    free = gradient_flow(Quadratic(4.0, 1.0), itself, NOTHING, times=[2.0], accuracy=1e-3)
    bound = gradient_flow(Quadratic(4.0, 1.0), itself, NOTHING, times=[2.0], accuracy=1e-3, alpha=0.1)
    # the curvature along the way falls from near 4 to 1
    assert free.steps <= 18 and 20 < bound.steps <= 85


class Scalar(nn.Module):
    """(prod w - 1)^2 / 2: from small weights a plateau of curvature 0.1, then a fall."""

    def __init__(self, *weights):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(weights, dtype=torch.float64))

    def forward(self, _):
        return 0.5 * (self.w.prod() - 1).square()


def mlp(seed, *sizes, act=nn.Tanh):
    torch.manual_seed(seed)
    layers = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), act()]
    return nn.Sequential(*layers[:-1]).double()


def classes(seed, n, inputs, count):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, inputs, generator=g).double(), torch.randint(count, (n,), generator=g)


def exactly(model, loss, batch, times):
    """The flow by SciPy, of order 8 and at a tolerance far below any that is stated here: losses and weights."""
    names, parts = zip(*[(n, p.detach()) for n, p in model.named_parameters()], strict=True)
    sizes = [p.numel() for p in parts]

    def of(w):
        pieces = {n: v.view_as(p) for n, v, p in zip(names, w.split(sizes), parts, strict=True)}
        return loss(functional_call(model, pieces, (batch[0],)), batch[1])

    def slope(_, w):
        w = torch.from_numpy(w.copy()).requires_grad_()
        return -torch.autograd.grad(of(w), w)[0].numpy()

    start = torch.cat([p.reshape(-1) for p in parts]).numpy()
    solved = solve_ivp(slope, (0, times[-1]), start, method="DOP853", t_eval=times, rtol=1e-11, atol=1e-13)
    ends = torch.from_numpy(solved.y.T.copy())
    return [float(of(w)) for w in ends], ends


TANH = (mlp(0, 8, 24, 16, 4), F.cross_entropy, classes(0, 60, 8, 4), [5.0, 50.0])
GELU = (mlp(1, 6, 20, 3, act=nn.GELU), F.cross_entropy, classes(1, 40, 6, 3), [0.5, 20.0])
STIFF = (Quadratic(300.0, 30.0, 1.0, 0.0), itself, NOTHING[0], [0.01, 1.0])
SADDLE = (Quadratic(2.0, -1.0), itself, NOTHING[0], [1.0, 3.0])


@pytest.mark.parametrize("accuracy", [1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize(
    ("model", "loss", "batch", "times"),
    [
        TANH,
        GELU,
        STIFF,
        SADDLE,
        (Scalar(0.10, 0.11, 0.12), itself, NOTHING[0], [5.0, 10.0, 30.0]),
        (Scalar(0.2, 0.3, 0.2, 0.3), itself, NOTHING[0], [8.0, 20.0]),
        (Scalar(3.0, -0.1, 2.0), itself, NOTHING[0], [1.0]),
    ],
    ids=["tanh", "gelu", "stiff", "saddle", "chain", "longer chain", "large weights"],
)
def test_loss_and_weights_are_scipys_within_the_stated_error(model, loss, batch, times, accuracy):
    path = gradient_flow(model, loss, [batch], times=times, accuracy=accuracy, tolerance=1e-6)
    losses, ends = exactly(model, loss, batch, times)
    assert path.reached
    for value, truth, error in zip(path.losses, losses, path.loss_errors, strict=True):
        assert abs(value - truth) <= error
    off = float((flat(path) - ends[-1]).norm())
    assert off <= path.weights_errors[-1] <= 1e4 * accuracy * float(ends[-1].norm())
    assert all(b <= a + e for a, b, e in zip(path.losses, path.losses[1:], path.loss_errors[1:], strict=False))


def test_the_stated_error_of_the_sharpness_holds_where_the_path_is_poor():
    model, loss, batch, times = TANH
    fine = gradient_flow(model, loss, [batch], times=times, accuracy=1e-8, tolerance=1e-8, blocks="layer")
    coarse = gradient_flow(model, loss, [batch], times=times, accuracy=1e-2, tolerance=1e-8, blocks="layer")
    for a, b, error in zip(fine.sharpness, coarse.sharpness, coarse.errors, strict=True):
        assert 1e-6 < abs(a - b) <= error


def test_where_it_stops_on_the_way_changes_nothing_beyond_the_stated_error():
    model, loss, batch, times = TANH
    ends = [gradient_flow(model, loss, [batch], times=[*torch.linspace(0, times[-1], n).tolist()]) for n in (2, 11, 60)]
    for path in ends:
        assert path.losses[-1] == pytest.approx(ends[0].losses[-1], abs=path.loss_errors[-1])
        assert 0 < path.weights_errors[-1] < 1e-3


def test_single_precision_is_within_its_stated_error_too():
    model, loss, (x, y), times = TANH
    path = gradient_flow(copy.deepcopy(model).float(), loss, [(x.float(), y)], times=times)
    losses, _ = exactly(model, loss, (x, y), times)
    for value, truth, error in zip(path.losses, losses, path.loss_errors, strict=True):
        assert abs(value - truth) <= error < 1e-3


class Wrong(torch.autograd.Function):
    """x^2 whose gradient has the wrong sign."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.square().sum()

    @staticmethod
    def backward(ctx, slope):
        return -2 * slope * ctx.saved_tensors[0]


def test_a_loss_that_rises_along_its_gradient_stops_the_flow_and_is_reported():
    path = gradient_flow(Quadratic(1.0, 2.0), lambda o, _: Wrong.apply(o), NOTHING, times=[1.0, 2.0])
    assert not path.reached and path.losses == () and path.end_time < 1e-9
    assert "the loss rises however small the step" in path.stopped
    torch.testing.assert_close(flat(path), torch.ones(2).double())


def test_a_flow_that_runs_out_of_steps_or_out_of_bounds_says_so():
    path = gradient_flow(Quadratic(400.0, 1.0), itself, NOTHING, times=[1e-6, 100.0], most_steps=30)
    assert not path.reached and path.times == (1e-6,) and path.steps == 30 and 0 < path.end_time < 100
    assert "all the steps" in path.stopped

    class Falling(nn.Module):
        """- x^4: infinitely far down within time 1 / 8."""

        def __init__(self):
            super().__init__()
            self.x = nn.Parameter(torch.ones(1, dtype=torch.float64))

        def forward(self, _):
            return -self.x.pow(4).sum()

    path = gradient_flow(Falling(), itself, NOTHING, times=[0.1, 1.0])
    assert path.times == (0.1,) and path.losses[0] == pytest.approx(-25, rel=1e-3)
    assert not path.reached and path.end_time == pytest.approx(0.125, rel=1e-3)
    assert path.stopped


def test_a_flow_that_had_no_steps_left_goes_on_with_more():
    flow = GradientFlow(Quadratic(4.0, 1.0), itself, NOTHING)
    assert not flow.advance(1.0, 3) and flow.stopped
    assert flow.advance(1.0) and flow.stopped is None
    exact = 2 * math.exp(-8) + 0.5 * math.exp(-2)
    seen = flow.look()
    assert abs(seen.loss - exact) <= seen.loss_error < 1e-5


def test_the_product_of_two_numbers_flows_along_a_hyperbola():
    """f = (x y - 1)^2 / 2 keeps x^2 - y^2 and ends where the sharpness is x^2 + y^2."""
    path = gradient_flow(Scalar(1.5, 0.2), itself, NOTHING, times=[30.0], tolerance=1e-8)
    x, y = flat(path).tolist()
    assert x * x - y * y == pytest.approx(1.5**2 - 0.2**2, rel=1e-4)
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
    config = SMALL.replace(optimiser="polyak", momentum=0.5, step_size=0.005, steps=400, flow=True, curvature_every=400)
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


@pytest.mark.parametrize("every", [4, 40])
def test_what_is_recorded_does_not_depend_on_how_often_it_is(every):
    memory = Memory()
    config = SMALL.replace(steps=80, curvature_every=every, dtype="float32", tolerance=1e-3, flow=True)
    assay(config, memory)
    descent = build(config)  # weights of float32, which those of float64 are not drawn as
    x, y = descent.data.train
    (truth,), _ = exactly(descent.model.double(), mse, (x.double(), y), [80 * 0.3])
    seen = memory.steps[80]
    assert abs(seen[("flow_loss", "")] - truth) <= seen[("flow_loss_error", "")] < 1e-3
    assert seen[("flow_reached", "")] == 1


def test_a_flow_that_could_not_be_followed_leaves_no_number(monkeypatch):
    from netassay.curvature import flow

    descent = build(SMALL.replace(flow=True))
    (beside,) = descent.readers
    tried = flow.GradientFlow._try_step
    monkeypatch.setattr(
        flow.GradientFlow, "_try_step", lambda *a, **k: (tried(*a, **k)[0], flow.Point(1e9, a[1]), 0.0, 0.0)
    )
    seen = {}
    for step in range(5):
        seen = descent.measure(step)
        descent.advance()
    assert seen[("flow_reached", "")] == 0
    assert not {name for name, *_ in seen if isinstance(name, str)} & {"flow_loss", "flow_sharpness"}
    assert "rises" in beside.flow.stopped


@pytest.mark.parametrize("times", [[], [1.0, 0.5], [-1.0], [math.inf]])
def test_times_that_do_not_ascend_are_refused(times):
    with pytest.raises(ModelError, match="ascending, from 0 on"):
        gradient_flow(Quadratic(1.0), itself, NOTHING, times=times)


def test_a_step_that_is_unstable_and_a_time_gone_by_are_refused():
    with pytest.raises(ModelError, match=r"alpha=4\.0"):
        GradientFlow(Quadratic(1.0), itself, NOTHING, alpha=4.0)
    with pytest.raises(ModelError, match=r"from 1e-06 \(in torch.float32\)"):
        GradientFlow(nn.Linear(1, 1), itself, NOTHING, accuracy=1e-9)
    flow = GradientFlow(Quadratic(1.0), itself, NOTHING)
    flow.advance(1.0)
    with pytest.raises(ModelError, match="cannot go back"):
        flow.advance(0.5)


def test_weights_head_and_memory_are_those_of_sharpness():
    """Cut in two, with a loss that says neither what it is of nor how many terms it has, it is the same path."""
    x, _, y = examples()

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network()

        def forward(self, x):
            outputs = self.inner(x)
            return outputs.sum(), outputs

    truth = gradient_flow(network(), half_square, [(x, y)], times=(0.0, 1.0))
    path = gradient_flow(
        Two(),
        half_square,
        [(x[:6], y[:6]), (x[6:], y[6:])],
        times=(0.0, 1.0),
        weights=(n for n in (6, len(x) - 6)),
        head=1,
        memory=0,
    )
    assert path.losses == pytest.approx(truth.losses, rel=1e-10)
    assert path.sharpness == pytest.approx(truth.sharpness, rel=1e-6)
    for name, weights in truth.weights.items():
        torch.testing.assert_close(path.weights[f"inner.{name}"], weights, rtol=1e-8, atol=1e-10)
