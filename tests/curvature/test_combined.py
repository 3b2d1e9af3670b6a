"""Preconditioned curvature and differences against dense matrices."""

import pytest
import torch
from dense import dense_ggn, dense_hessian, examples, half_square, network, rows

from netassay.curvature.combined import Difference, Preconditioned
from netassay.curvature.curvature import Curvature
from netassay.curvature.eigen import lanczos
from netassay.curvature.following import Follower
from netassay.errors import ModelError

X, LABEL, Y = examples()


def setting(**options):
    model = network()
    size = sum(p.numel() for p in model.parameters())
    diagonal = torch.rand(size, generator=torch.Generator().manual_seed(1), dtype=torch.float64) ** 2 + 0.01
    return model, Curvature(model, half_square, [(X, Y)], blocks="layer", **options), diagonal


def test_it_has_the_eigenvalues_of_the_inverse_times_the_hessian():
    model, curvature, diagonal = setting()
    dense = dense_hessian(model, half_square, X, Y)
    matrix = Preconditioned(curvature, diagonal)
    columns = torch.stack([matrix.product(row) for row in torch.eye(len(dense), dtype=torch.float64)])
    torch.testing.assert_close(columns, columns.T)
    unsymmetric = torch.linalg.eigvals(dense / diagonal[:, None])
    assert float(unsymmetric.imag.abs().max()) < 1e-9
    torch.testing.assert_close(torch.linalg.eigvalsh(columns), unsymmetric.real.sort().values)


def test_lanczos_and_follower_take_it_whole_and_per_block():
    model, curvature, diagonal = setting()
    dense = dense_hessian(model, half_square, X, Y)
    matrix = Preconditioned(curvature, diagonal)
    scaled = dense / (diagonal[:, None] * diagonal[None]).sqrt()
    top = float(torch.linalg.eigvalsh(scaled)[-1])
    found = lanczos(matrix.product, matrix.size, tolerance=1e-8)
    assert float(found.values[0]) == pytest.approx(top, rel=1e-8)
    followed = Follower(tolerance=1e-6).follow(matrix)
    assert float(followed.values[0]) == pytest.approx(top, rel=1e-6)
    for name in ("0", "2", "4"):
        where = rows(model, [f"{name}.weight", f"{name}.bias"])
        block = float(torch.linalg.eigvalsh(scaled[where][:, where])[-1])
        assert float(followed.blocks[name].values[0]) == pytest.approx(block, rel=1e-6)


def test_hessian_less_gauss_newton():
    model, curvature, _ = setting()
    ggn = Curvature(model, half_square, [(X, Y)], blocks="layer", kind="ggn")
    dense = dense_hessian(model, half_square, X, Y) - dense_ggn(model, half_square, X, Y)
    matrix = Difference(curvature, ggn)
    v = torch.randn(matrix.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(matrix.product(v), dense @ v)
    where = rows(model, ["2.weight", "2.bias"])
    torch.testing.assert_close(matrix.block_product("2", v[: len(where)]), dense[where][:, where] @ v[: len(where)])


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_a_preconditioner_that_is_none_is_refused(bad):
    _, curvature, diagonal = setting()
    diagonal[3] = bad
    with pytest.raises(ModelError, match="positive and finite"):
        Preconditioned(curvature, diagonal)
    with pytest.raises(ModelError, match=r"shape \(3,\)"):
        Preconditioned(curvature, torch.ones(3))


def test_a_difference_of_unlike_curvatures_is_refused():
    _, curvature, _ = setting()
    with pytest.raises(ModelError, match="different parameters or blocks"):
        Difference(curvature, Curvature(network(), half_square, [(X, Y)]))
