"""The largest step against dense curvature, and against descents just below and just above it."""

import math

import pytest
import torch
from torch import nn

import netassay
from netassay.errors import ModelError

A = torch.diag(torch.tensor([4.0, 1.0, 0.5], dtype=torch.float64))


class Quadratic(nn.Module):
    """x'Ax / 2 with two layers: the first two coordinates and the last."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(1, 2, bias=False).double(), nn.Linear(1, 1, bias=False).double()

    def forward(self, x):
        point = torch.cat([self.a.weight.reshape(-1), self.b.weight.reshape(-1)])
        return 0.5 * point @ A @ point * x.sum()


DATA = [(torch.ones(1, dtype=torch.float64), torch.zeros(1))]


def loss(output, target):
    return output


@pytest.mark.parametrize(
    ("momentum", "nesterov", "decay"),
    [(0.0, False, 0.0), (0.9, False, 0.0), (0.8, True, 0.0), (0.5, False, 0.3)],
)
def test_descent_shrinks_just_below_and_grows_just_above(momentum, nesterov, decay):
    found = netassay.step_size(
        Quadratic(), loss, DATA, momentum=momentum, nesterov=nesterov, weight_decay=decay, tolerance=1e-10
    )
    for factor, grows in ((0.99, False), (1.01, True)):
        model = Quadratic()
        with torch.no_grad():
            model.a.weight.fill_(1.0)
        optimizer = torch.optim.SGD(
            model.parameters(),
            lr=factor * found.network.value,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=decay,
        )
        for _ in range(600):
            optimizer.zero_grad()
            model(DATA[0][0]).backward()
            optimizer.step()
        assert (float(model.a.weight[0].detach().abs()) > 1.0) is grows


def test_whole_and_layers_with_their_errors():
    found = netassay.step_size(Quadratic(), loss, DATA)
    assert found.network.value == pytest.approx(2 / 4)
    assert found.layers["a"].value == pytest.approx(2 / 4)
    assert found.layers["b"].value == pytest.approx(2 / 0.5)
    for step in (found.network, *found.layers.values()):
        assert 0 <= step.error <= 1e-3 * step.value
        assert step.products >= 1


def test_errors_cover_the_truth_on_a_network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    x, y = torch.randn(20, 3, dtype=torch.float64), torch.randn(20, 2, dtype=torch.float64)
    rough = netassay.step_size(model, nn.MSELoss(), [(x, y)], tolerance=0.1)
    exact = netassay.step_size(model, nn.MSELoss(), [(x, y)], tolerance=1e-10)
    assert abs(rough.network.value - exact.network.value) <= rough.network.error * 1.01
    assert all(layer.value >= exact.network.value for layer in exact.layers.values())
    assert rough.loss == pytest.approx(nn.MSELoss()(model(x), y).item())


def test_without_positive_curvature_every_step_is_stable():
    found = netassay.step_size(Quadratic(), lambda output, target: -output, DATA, blocks=None)
    assert found.network.value == math.inf
    assert found.layers == {}


@pytest.mark.parametrize("wrong", [{"momentum": 1.0}, {"momentum": -0.1}, {"weight_decay": -1.0}])
def test_out_of_range_is_refused(wrong):
    with pytest.raises(ModelError, match=next(iter(wrong))):
        netassay.step_size(Quadratic(), loss, DATA, **wrong)
