"""Alignments and directional curvatures against dense matrices."""

import math

import pytest
import torch
from dense import dense_hessian, examples, half_square, network

from netassay.curvature.curvature import Curvature
from netassay.curvature.directions import alignment, batch_sharpness, directional, directional_sharpness
from netassay.errors import ModelError

X, LABEL, Y = examples()


def gradient(model, x, y):
    slopes = torch.autograd.grad(half_square(model(x), y), list(model.parameters()))
    return torch.cat([s.reshape(-1) for s in slopes])


def test_directional_sharpness_is_the_rayleigh_quotient_of_the_gradient():
    model = network()
    g, dense = gradient(model, X, Y), dense_hessian(model, half_square, X, Y)
    with Curvature(model, half_square, [(X, Y)]) as curvature:
        found = directional_sharpness(curvature, curvature.gradient)
        assert found == pytest.approx(float(g @ dense @ g / (g @ g)), rel=1e-10)
        assert curvature.products[None] == 1
        assert math.isnan(directional_sharpness(curvature, torch.zeros_like(g)))


def test_alignments_are_squared_cosines_and_sum_to_one_over_all_eigenvectors():
    model = network()
    g, dense = gradient(model, X, Y), dense_hessian(model, half_square, X, Y)
    _, vectors = torch.linalg.eigh(dense)
    found = alignment(vectors, g)
    assert float(found.sum()) == pytest.approx(1)
    assert float(found[-1]) == pytest.approx(float((vectors[:, -1] @ g) ** 2 / (g @ g)))
    assert not alignment(vectors, torch.zeros_like(g)).any()


def test_batch_sharpness_is_the_mean_over_batches_of_their_own_curvature():
    model = network()
    batches = [(X[i : i + 5], Y[i : i + 5]) for i in range(0, 20, 5)]
    expected = []
    for x, y in batches:
        g, dense = gradient(model, x, y), dense_hessian(model, half_square, x, y)
        expected.append(g @ dense @ g / (g @ g))
    expected = torch.stack(expected)
    found = batch_sharpness(model, half_square, batches)
    assert found.value == pytest.approx(float(expected.mean()), rel=1e-10)
    assert found.error == pytest.approx(float(expected.std()) / 2, rel=1e-8)
    assert found.batches == 4
    assert batch_sharpness(model, half_square, batches[:1]).error == math.inf


def test_no_batches_and_no_gradient_are_refused():
    model = network()
    with pytest.raises(ModelError, match="every batch is zero"):
        batch_sharpness(model, half_square, [])
    with pytest.raises(ModelError, match="every batch is zero"):
        batch_sharpness(model, half_square, [(X, model(X).detach())])


@pytest.mark.parametrize("size", [1e-34, 1e25])
def test_the_length_of_a_direction_does_not_matter_in_float32(size):
    direction = size * torch.arange(1.0, 6.0)
    assert directional(lambda v: 3 * v, direction) == pytest.approx(3, rel=1e-6)
