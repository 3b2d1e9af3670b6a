"""The central flow against closed forms, dense third derivatives, and the time averages of gradient descent."""

import weakref

import numpy as np
import pytest
import torch
from dense import examples, half_square, network
from memory import Memory
from torch import nn
from torch.func import functional_call, hessian, jacrev

from netassay.curvature.central_flow import (
    CentralFlow,
    complementary,
    curvature_gradients,
    symmetric_vector,
)
from netassay.curvature.objective import Objective
from netassay.errors import ModelError
from netassay.studies.edge.assay import assay
from netassay.studies.edge.config import EdgeConfig

NOTHING = [(torch.zeros(1), torch.zeros(1))]
TOY = EdgeConfig(
    data="chebyshev",
    examples=20,
    degree=4,
    width=16,
    step_size=0.5,
    steps=225,
    curvature_every=25,
    dtype="float64",
    layers=False,
    tolerance=1e-5,
    central_flow=True,
)


def itself(output, _):
    return output


class Sharpening(nn.Module):
    """L = sum_i (c_i + y) x_i^2 / 2 - p y: y rises at rate eta p, and with it all the curvatures c_i + y along x."""

    def __init__(self, *curvatures, push=0.02):
        super().__init__()
        self.x = nn.Parameter(torch.zeros(len(curvatures), dtype=torch.float64))
        self.y = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.c, self.push = torch.tensor(curvatures, dtype=torch.float64), push

    def forward(self, _):
        return (0.5 * ((self.c + self.y) * self.x.square()).sum() - self.push * self.y).sum()


def test_one_unstable_eigenvalue_in_closed_form():
    """At 2 / eta the oscillation must cancel the push: -p + sigma^2 / 2 = 0."""
    eta, push = 0.1, 0.1
    flow = CentralFlow(Sharpening(19.9, 5.0, push=push), itself, NOTHING, step_size=eta, substeps=3)
    flow.advance(4)
    below = flow.look()
    assert float(below.values[0]) == pytest.approx(19.9 + 4 * eta * push, rel=1e-9)
    assert below.variance == 0
    for step in (20, 21):
        flow.advance(step)
        seen = flow.look()
        assert float(seen.values[0]) == pytest.approx(20, rel=1e-9)
        assert seen.variance == pytest.approx(2 * push, rel=1e-6)
    assert seen.loss == pytest.approx(-push * 0.1, rel=1e-6)
    assert seen.predicted_loss == pytest.approx(-push * 0.1 + 20 * push, rel=1e-6)


def test_descent_oscillates_with_the_predicted_variance():
    eta, push = 0.1, 0.002
    x, y, squares, losses = 0.02, 0.0, [], []
    for step in range(12_000):  # gradient descent on Sharpening(19.99), by hand
        if step > 4000:
            squares.append(x * x)
            losses.append((19.99 + y) * x * x / 2 - push * y)
        x, y = x - eta * (19.99 + y) * x, y - eta * (x * x / 2 - push)
    flow = CentralFlow(Sharpening(19.99, push=push), itself, NOTHING, step_size=eta)
    flow.advance(60)
    seen = flow.look()
    assert np.mean(squares) == pytest.approx(seen.variance, rel=0.05)
    assert np.mean(losses) == pytest.approx(seen.predicted_loss, rel=0.05)


def test_two_eigenvalues_that_meet_share_the_oscillation():
    """Both curvatures rise together and both must be held: only the sum of their variances is determined."""
    flow = CentralFlow(Sharpening(19.9, 19.9, 3.0, push=0.1), itself, NOTHING, step_size=0.1)
    flow.advance(20)
    seen = flow.look()
    assert seen.values.tolist() == pytest.approx([20, 20], rel=1e-9)
    assert seen.variance == pytest.approx(0.2, rel=1e-6)


def test_third_derivatives_are_those_of_the_dense_hessian():
    model = network(sizes=(5, 4, 3))
    x, _, y = examples()
    flat = {n: p.detach() for n, p in model.named_parameters()}
    sizes = [p.numel() for p in flat.values()]

    def of(vector):
        pieces = dict(zip(flat, vector.split(sizes), strict=True))
        return half_square(functional_call(model, {n: pieces[n].view_as(flat[n]) for n in flat}, (x,)), y)

    third = jacrev(hessian(of))(torch.cat([p.reshape(-1) for p in flat.values()]))
    u, _ = torch.linalg.qr(torch.randn(sum(sizes), 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    found = curvature_gradients(Objective(model, half_square, [(x[:8], y[:8]), (x[8:], y[8:])]), u)
    row = 0
    for i in range(3):
        for j in range(i, 3):
            expected = torch.einsum("i,ijp,j->p", u[:, i], third, u[:, j])
            torch.testing.assert_close(found[row], expected * (1 if i == j else 2**0.5))
            row += 1


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("seed", range(4))
def test_the_complementarity_problem_is_solved(k, seed):
    g = torch.Generator().manual_seed(seed)
    size = k * (k + 1) // 2
    slopes = torch.randn(size, 40, generator=g, dtype=torch.float64)
    drift, gram = torch.randn(size, generator=g, dtype=torch.float64) * 3, slopes @ slopes.T
    x = complementary(drift, gram, k)
    assert float(torch.linalg.eigvalsh(x)[0]) >= -1e-9
    vector = drift + gram @ symmetric_vector(x) / 2
    rows, columns = torch.triu_indices(k, k)
    slack = torch.zeros(k, k, dtype=torch.float64)
    slack[rows, columns] = slack[columns, rows] = vector * torch.where(rows == columns, 1.0, 2**-0.5).double()
    assert float(torch.linalg.eigvalsh(slack)[0]) >= -1e-6
    assert abs(float((slack * x).sum())) < 1e-6


def test_the_path_keeps_inner_products_as_vectors():
    a, b = (torch.randn(4, 4, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    a, b = a + a.T, b + b.T
    assert float(symmetric_vector(a) @ symmetric_vector(b)) == pytest.approx(float((a * b).sum()), rel=1e-5)


def test_time_averages_of_descent_on_a_network_are_those_of_the_central_flow():
    """Past the crossing: the loss averaged over 51 steps within a twentieth, sharpness at 2 / eta; gradient flow, which
    knows of no oscillation, is half off."""
    memory = Memory()
    assay(TOY.replace(flow=True), memory)
    losses = np.array([values["loss"] for values in memory.steps.values()])
    ratios = [values[("edge_ratio", "")] for step, values in memory.steps.items() if step % 25 == 0 and step >= 125]
    seen = memory.steps[200]
    average = losses[175:226].mean()
    assert seen[("central_loss", "")] == pytest.approx(average, rel=0.05)
    assert seen[("flow_loss", "")] < 0.6 * average
    assert seen[("central_sharpness", "")] == pytest.approx(4, rel=1e-3)
    assert np.mean(ratios) == pytest.approx(1, abs=0.08)
    assert seen[("central_distance", "")] < 0.2 * seen[("flow_distance", "")]
    # the descent is off by its oscillation, about
    assert seen[("central_distance", "")] == pytest.approx(seen[("central_deviation", "")], rel=0.6)


def test_stopped_and_resumed_it_goes_on_bit_for_bit():
    config = TOY.replace(steps=60, curvature_every=20)
    whole, first = Memory(), Memory()
    assay(config, whole)
    first.stop = lambda: len(first.steps) == 50
    assay(config, first)
    first.stop = lambda: False
    assay(config, first)
    assert first.steps == whole.steps
    assert whole.steps[60][("central_unstable", "")] == 1


def test_a_start_above_the_edge_is_refused():
    with pytest.raises(ModelError, match=r"sharpness at the start, 30, is above 2 / eta = 20"):
        CentralFlow(Sharpening(30.0), itself, NOTHING, step_size=0.1).advance(1)
    with pytest.raises(ModelError, match="at least 2 a step"):
        CentralFlow(Sharpening(1.0), itself, NOTHING, step_size=0.1, substeps=1)


def test_a_descent_without_oscillation_overshoots_the_edge_before_it_can_follow_the_flow():
    """The instability is delayed: below the edge the oscillation dies away, and above it must grow from what is left.
    One that has the flow's own amplitude at the crossing stays at the edge (Sharpening, by hand)."""
    eta, push = 0.1, 0.1
    highest = {}
    for start in (1e-12, (2 * push) ** 0.5):
        x, y, seen = start, 0.0, []
        for _ in range(600):
            x, y = x - eta * (19.99 + y) * x, y - eta * (x * x / 2 - push)
            seen.append((19.99 + y) * eta / 2)
        highest[start] = max(seen)
    flow = CentralFlow(Sharpening(19.99, push=push), itself, NOTHING, step_size=eta)
    flow.advance(40)
    assert float(flow.look().values[0]) * eta / 2 == pytest.approx(1, abs=1e-6)
    quiet, moving = highest.values()
    assert moving < 1.02
    assert quiet > 1.05


class Two(nn.Module):
    """The outputs of a network, and a number beside them."""

    def __init__(self):
        super().__init__()
        self.inner = network(sizes=(5, 4, 3))

    def forward(self, x):
        outputs = self.inner(x)
        return {"scale": outputs.sum(), "outputs": outputs}


def test_weights_head_and_memory_are_those_of_sharpness():
    """Cut in two, with a loss that says neither what it is of nor how many terms it has, it is the same path."""
    x, _, y = examples()
    truth = CentralFlow(network(sizes=(5, 4, 3)), half_square, [(x, y)], step_size=1e-3)
    flow = CentralFlow(
        Two(),
        half_square,
        [(x[:6], y[:6]), (x[6:], y[6:])],
        step_size=1e-3,
        weights=(n for n in (6, len(x) - 6)),
        head="outputs",
        memory=0,
    )
    for one in (truth, flow):
        one.advance(1)
    seen, expected = flow.look(), truth.look()
    assert seen.loss == pytest.approx(expected.loss, rel=1e-12)
    torch.testing.assert_close(seen.values, expected.values, rtol=1e-6, atol=0)
    torch.testing.assert_close(seen.velocity, expected.velocity, rtol=1e-9, atol=1e-15)


def test_third_derivatives_hold_the_graph_of_one_batch_at_a_time():
    class Token:
        pass

    alive: weakref.WeakSet[Token] = weakref.WeakSet()

    class Marked(torch.autograd.Function):
        """The identity, whose node in the graph holds a token."""

        @staticmethod
        def forward(ctx, x):
            ctx.token = Token()
            alive.add(ctx.token)
            return x.clone()

        @staticmethod
        def backward(ctx, slope):
            return slope

    graphs = []

    def loss(output, target):
        graphs.append(len(alive))
        return half_square(Marked.apply(output), target)

    x, _, y = examples()
    model = network(sizes=(5, 4, 3))
    u = torch.eye(sum(p.numel() for p in model.parameters()), dtype=torch.float64)[:, :2]
    objective = Objective(model, loss, [(x, y)] * 4, weights=[len(x)] * 4)
    found = curvature_gradients(objective, u)
    assert graphs == [0] * 8
    torch.testing.assert_close(found, curvature_gradients(Objective(model, half_square, [(x, y)]), u))
