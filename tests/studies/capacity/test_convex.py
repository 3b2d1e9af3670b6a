from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from netassay.corpus.context import contexts
from netassay.corpus.target import targets
from netassay.studies.capacity.convex import Convex, Newton


@pytest.fixture(scope="module")
def problem():
    random = np.random.default_rng(0)
    corpus = random.integers(0, 3, (60, 4))
    to = targets(contexts(corpus))
    features = torch.randn(len(to), 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Convex(features, to), features


def dense_loss(flat, features, to):
    weights = torch.from_numpy(flat).reshape(to.vocabulary, features.shape[1] + 1).requires_grad_()
    logits = features @ weights[:, :-1].T + weights[:, -1]
    loss = -(to.counts.double() * logits.log_softmax(1)[to.contexts, to.tokens]).sum()
    return loss, torch.autograd.grad(loss, weights, create_graph=True)[0], weights


@pytest.fixture(scope="module")
def minimum(problem):
    convex, features = problem

    def value(flat):
        loss, gradient, _ = dense_loss(flat, features, convex.to)
        return loss.item(), gradient.detach().numpy().reshape(-1)

    start = np.zeros(convex.to.vocabulary * (features.shape[1] + 1))
    return minimize(value, start, jac=True, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-9}).fun


def test_loss_and_gradient_equal_autograd(problem):
    convex, features = problem
    basis = torch.randn(
        convex.to.vocabulary, convex.features.shape[1], generator=torch.Generator().manual_seed(1)
    ).double()
    weight, bias = convex.layer(basis)
    whole = torch.cat([weight, bias.unsqueeze(1)], 1)
    loss, gradient, _ = dense_loss(whole.numpy().reshape(-1), features, convex.to)
    point = convex.at(basis)
    assert point.loss == pytest.approx(loss.item(), rel=1e-12)
    # chain rule: weights = basis @ back
    torch.testing.assert_close(point.gradient, gradient.detach() @ convex.back.T, rtol=1e-9, atol=1e-9)
    step = 1e-5 * torch.ones_like(basis).cumsum(1)
    difference = (convex.at(basis + step).gradient - convex.at(basis - step).gradient) / 2
    torch.testing.assert_close(convex.product(point, step), difference, rtol=1e-6, atol=1e-9)


def test_newton_reaches_the_minimum_and_proves_it(problem, minimum):
    newton = Newton(problem[0])
    losses = [newton.point.loss]
    for _ in range(15):
        newton.advance()
        losses.append(newton.point.loss)
    assert all(b <= a for a, b in pairwise(losses))
    assert losses[-1] == pytest.approx(minimum, rel=1e-8)
    floor = newton.floor()
    assert minimum * (1 - 1e-3) < floor <= minimum * (1 + 1e-9)


@pytest.mark.parametrize("steps", range(6))
def test_no_floor_is_above_the_minimum(problem, minimum, steps):
    newton = Newton(problem[0])
    for _ in range(steps):
        newton.advance()
    assert newton.floor() <= minimum * (1 + 1e-9)


def test_features_that_depend_on_each_other_change_nothing(problem, minimum):
    convex, features = problem
    twice = Newton(Convex(torch.cat([features, features @ torch.ones(2, 1).double()], 1), convex.to))
    for _ in range(15):
        twice.advance()
    assert twice.point.loss == pytest.approx(minimum, rel=1e-8)
