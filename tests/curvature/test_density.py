"""Spectral densities against the eigenvalues of dense matrices."""

import math

import pytest
import torch
from dense import dense_hessian, examples, half_square, network, rows

import netassay
from netassay.curvature.density import lanczos_quadrature
from netassay.errors import ModelError

X, LABEL, Y = examples()


def rotated(values, seed=0):
    g = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(len(values), len(values), generator=g, dtype=torch.float64))
    return (q * values) @ q.T


def spectrum(seed, n=400):
    g = torch.Generator().manual_seed(seed)
    bulk = torch.randn(n - 3, generator=g, dtype=torch.float64)
    return torch.cat([bulk, torch.tensor([9.0, 12.0, 20.0], dtype=torch.float64)]).sort().values


def truth_at(values, at):
    return (values[:, None] <= at).double().mean(0)


@pytest.mark.parametrize("seed", range(8))
def test_the_cumulative_bounds_hold_everywhere(seed):
    values = spectrum(seed)
    matrix = rotated(values, seed)
    g = torch.Generator().manual_seed(seed)
    found = lanczos_quadrature(lambda v: matrix @ v, 400, steps=20, probes=4, generator=g)
    at = torch.linspace(-4, 22, 200, dtype=torch.float64)
    low, high = found.cumulative(at)
    truth = truth_at(values, at)
    assert bool((low <= truth + 1e-12).double().mean() > 0.97)
    assert bool((high >= truth - 1e-12).double().mean() > 0.97)
    assert float((high - low).max()) < 0.5
    longer = lanczos_quadrature(lambda v: matrix @ v, 400, steps=60, probes=4, generator=g).cumulative(at)
    assert float((longer[1] - longer[0]).mean()) < 0.8 * float((high - low).mean())
    assert bool((high >= low).all())
    assert bool((low.diff() >= -1e-12).all() and (high.diff() >= -1e-12).all())


def test_without_the_spread_of_the_vector_the_bounds_are_beyond_doubt():
    """The distribution as the random vector itself sees it, computed densely, lies within at every point."""
    values = spectrum(3)
    matrix = torch.diag(values)
    start = torch.randn(400, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    share = start.square() / start.square().sum()
    found = lanczos_quadrature(lambda v: matrix @ v, 400, steps=12, generator=torch.Generator().manual_seed(5))
    certain = type(found)(found.nodes, found.weights, 10**15, found.products)
    at = torch.linspace(-4, 22, 500, dtype=torch.float64)
    low, high = certain.cumulative(at)
    seen = ((values[:, None] <= at) * share[:, None]).sum(0)
    assert bool((low <= seen + 1e-6).all() and (seen <= high + 1e-6).all())


def test_smoothed_density_is_within_its_error_of_the_dense_one():
    covered = []
    for seed in range(12):
        values = spectrum(seed)
        matrix = rotated(values, seed)
        g = torch.Generator().manual_seed(seed)
        found = lanczos_quadrature(lambda v, m=matrix: m @ v, 400, steps=40, probes=6, generator=g)
        at = torch.linspace(-4, 22, 120, dtype=torch.float64)
        seen, error = found.smoothed(at, 0.5)
        truth = torch.exp(-0.5 * ((at - values[:, None]) / 0.5).square()).mean(0) / (0.5 * math.sqrt(2 * math.pi))
        covered.append(((seen - truth).abs() <= 2 * error + 1e-6).double().mean())
        assert float(torch.trapezoid(seen, at)) == pytest.approx(1, abs=0.02)
        assert float((seen - truth).abs().max()) < 0.08
    assert torch.stack(covered).mean() > 0.85


def test_outliers_and_mean_are_those_of_the_matrix():
    values = spectrum(1)
    matrix = rotated(values, 1)
    found = lanczos_quadrature(lambda v: matrix @ v, 400, steps=40, probes=8)
    assert found.nodes[:, -1].tolist() == pytest.approx([20.0] * 8, rel=1e-8)
    assert found.mean == pytest.approx(float(values.mean()), abs=0.15)
    assert found.weights.sum(1).tolist() == pytest.approx([1.0] * 8)


def test_a_small_network_is_solved_exactly_whole_and_per_block():
    model = network()
    dense = dense_hessian(model, half_square, X, Y)
    found = netassay.spectral_density(model, half_square, [(X, Y)], steps=50, probes=2, blocks="layer")
    assert found.exact
    torch.testing.assert_close(found.nodes[0], torch.linalg.eigvalsh(dense), rtol=1e-9, atol=1e-11)
    for name, part in found.blocks.items():
        where = rows(model, [f"{name}.weight", f"{name}.bias"])
        block = torch.linalg.eigvalsh(dense[where][:, where])
        torch.testing.assert_close(part.nodes[0], block, rtol=1e-9, atol=1e-11)
    low, high = found.cumulative(torch.tensor([0.0], dtype=torch.float64))
    assert float(low) == float(high) == pytest.approx(float((torch.linalg.eigvalsh(dense) <= 0).double().mean()))


def test_a_krylov_space_that_ends_early_spends_no_more():
    values = torch.tensor([0.0] * 90 + [1.0] * 60 + [3.0] * 50, dtype=torch.float64)
    matrix = rotated(values)
    found = lanczos_quadrature(lambda v: matrix @ v, 200, steps=30, probes=3)
    assert found.products == 9
    assert found.nodes[0].tolist() == pytest.approx([0, 1, 3], abs=1e-9)
    assert found.weights.mean(0).tolist() == pytest.approx([0.45, 0.3, 0.25], abs=0.08)


def test_products_are_counted_and_bounded():
    matrix = rotated(spectrum(0))
    spent = []
    found = lanczos_quadrature(lambda v: (spent.append(1), matrix @ v)[1], 400, steps=13, probes=3)
    assert found.products == len(spent) == 39


@pytest.mark.parametrize("options", [{"steps": 3}, {"probes": 0}])
def test_too_little_is_refused(options):
    with pytest.raises(ModelError, match="at least 4 steps"):
        lanczos_quadrature(lambda v: v, 1000, **options)


def test_products_that_are_not_finite():
    with pytest.raises(ModelError, match="not finite"):
        lanczos_quadrature(lambda v: v * torch.nan, 1000)


def test_vectors_that_do_not_fit_are_refused_with_how_many_do(monkeypatch):
    from netassay.curvature.hutchinson import hutchplusplus
    from netassay.numerics import devices

    monkeypatch.setattr(devices, "free_memory", lambda device: 239_999)
    with pytest.raises(ModelError, match=r"30 vectors of 1,000 numbers .* 29 vectors fit, as many as `steps`"):
        lanczos_quadrature(lambda v: v, 1000, steps=30)
    with pytest.raises(ModelError, match=r"29 vectors fit, about as many as `products`"):
        hutchplusplus(lambda v: v, 1000, products=30)


@pytest.mark.parametrize("size", [1e-34, 1e30])
def test_float32_matrices_of_any_size(size):
    values = torch.linspace(-1, 1, 300)
    at = torch.linspace(-1, 1, 50, dtype=torch.float64)
    found = lanczos_quadrature(lambda v: (size * values) * v, 300, steps=30, dtype=torch.float32)
    plain = lanczos_quadrature(lambda v: values * v, 300, steps=30, dtype=torch.float32)
    for mine, other in zip(found.cumulative(size * at), plain.cumulative(at), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=0.05)
    assert float(found.nodes.max()) / size == pytest.approx(float(plain.nodes.max()), rel=1e-3)


def test_a_rule_that_still_moves_says_that_it_has_not_converged():
    values = torch.logspace(-3, 3, 400).double()
    few = lanczos_quadrature(lambda v: values * v, 400, steps=6)
    flat = lanczos_quadrature(lambda v: values.clamp(1, 2) * v, 400, steps=40)
    ended = lanczos_quadrature(lambda v: values.gt(1).double() * v, 400, steps=40)
    assert not few.converged and flat.converged and ended.converged
