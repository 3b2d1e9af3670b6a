"""Traces against dense matrices."""

import math

import pytest
import torch
from dense import dense_ggn, dense_hessian, examples, half_square, network, rows

import netassay
from netassay.curvature.curvature import Curvature
from netassay.curvature.hutchinson import curvature_trace, hutchplusplus, trace
from netassay.errors import ModelError

X, LABEL, Y = examples()


def matrix(n, seed, decay):
    g = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(n, n, generator=g, dtype=torch.float64))
    values = torch.arange(1, n + 1, dtype=torch.float64) ** -decay
    values[::3] *= -1
    return (q * values) @ q.T


@pytest.mark.parametrize("kind", ["hessian", "ggn"])
def test_enough_products_give_the_exact_trace_whole_and_per_block(kind):
    model = network()
    dense = (dense_hessian if kind == "hessian" else dense_ggn)(model, half_square, X, Y)
    found = trace(model, half_square, [(X, Y)], products=len(dense), blocks="layer", kind=kind)
    assert found.value == pytest.approx(float(dense.trace()), rel=1e-10)
    assert found.error == 0
    for name, part in found.blocks.items():
        where = rows(model, [f"{name}.weight", f"{name}.bias"])
        assert part.value == pytest.approx(float(dense[where, where].sum()), rel=1e-10)
    assert sum(part.value for part in found.blocks.values()) == pytest.approx(found.value)


def test_stated_errors_are_standard_errors():
    """Over many draws: errors in units of the stated one have the spread of a t law, and no bias shows."""
    dense = matrix(200, 1, 0.5)
    scaled = []
    for seed in range(200):
        found = hutchplusplus(lambda v: dense @ v, 200, products=60, generator=torch.Generator().manual_seed(seed))
        scaled.append((found.value - float(dense.trace())) / found.error)
    scaled = torch.tensor(scaled)
    assert abs(float(scaled.mean())) < 4 / math.sqrt(200)
    assert 0.8 < float(scaled.std()) < 1.3


def test_a_decaying_spectrum_needs_fewer_products_than_hutchinson():
    dense = matrix(300, 2, 1.5)
    errors, plain = [], []
    for seed in range(40):
        g = torch.Generator().manual_seed(seed)
        errors.append(hutchplusplus(lambda v: dense @ v, 300, products=30, generator=g).value - float(dense.trace()))
        signs = 2.0 * torch.randint(0, 2, (300, 30), generator=g).double() - 1
        plain.append(float((signs * (dense @ signs)).sum()) / 30 - float(dense.trace()))
    assert torch.tensor(errors).square().mean().sqrt() < 0.2 * torch.tensor(plain).square().mean().sqrt()


def test_of_a_matrix_of_low_rank_it_is_exact():
    g = torch.Generator().manual_seed(0)
    factor = torch.randn(100, 4, generator=g, dtype=torch.float64)
    found = hutchplusplus(lambda v: factor @ (factor.T @ v), 100, products=18)
    assert found.value == pytest.approx(float(factor.square().sum()), rel=1e-10)
    assert found.error < 1e-9
    assert found.products == 18


def test_products_are_those_that_were_spent():
    model = network(sizes=(5, 20, 3))
    with Curvature(model, half_square, [(X, Y)], blocks="layer") as curvature:
        found = curvature_trace(curvature, products=20, generator=torch.Generator().manual_seed(0))
        assert found.products == curvature.products[None] == 20
        assert found.blocks["0"].products == curvature.products["0"] == 20


def test_global_random_state_is_left_alone_and_seeds_repeat():
    state = torch.get_rng_state()
    first, second = (netassay.trace(network(), half_square, [(X, Y)], products=9) for _ in range(2))
    assert first == second
    assert torch.equal(torch.get_rng_state(), state)


def test_too_few_products_are_refused():
    with pytest.raises(ModelError, match="products=5: a trace needs a whole number of at least 6"):
        hutchplusplus(lambda v: v, 10, products=5)


def test_a_seed_is_no_generator():
    one = [(torch.ones(3, 2), torch.ones(3, 1))]
    with pytest.raises(ModelError, match=r"generator = 3 is a int; give a torch.Generator"):
        trace(torch.nn.Linear(2, 1), torch.nn.functional.mse_loss, one, generator=3)


def test_a_trace_says_whether_its_error_is_within_the_tolerance():
    values = torch.linspace(-1, 1.2, 300).double()
    assert not hutchplusplus(lambda v: values * v, 300, products=9, tolerance=0.01).converged
    assert hutchplusplus(lambda v: (2 + values) * v, 300, products=30, tolerance=0.1).converged
    assert hutchplusplus(lambda v: values * v, 300, products=300).converged
