"""Losses and correlations against loops and SciPy."""

import numpy as np
import pytest
import torch
from scipy import stats

import netassay
from netassay.dna.network.network import is_one_of_k, loss_named, pearson_loss, pearson_rows


def rows(n=20, k=7, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, k, generator=g, dtype=torch.float64), torch.randn(n, k, generator=g, dtype=torch.float64)


def test_rows_are_those_of_scipy_and_undefined_where_constant():
    a, b = rows()
    a[3], b[5], a[7, 2] = 4.2, -1.0, torch.nan
    found = netassay.pearson_rows(a, b)
    for i in range(len(a)):
        if i in (3, 5, 7):
            assert found[i].isnan()
        else:
            assert found[i].item() == pytest.approx(stats.pearsonr(a[i], b[i]).statistic, abs=1e-12)


def test_a_row_that_is_constant_but_for_rounding_is_not_taken_for_one_that_varies():
    a = torch.full((1, 3), 0.1, dtype=torch.float32)
    assert pearson_rows(a, torch.tensor([[1.0, 2.0, 3.0]])).isnan().all()
    assert pearson_rows(
        1e-6 * torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([[1.0, 2.0, 4.0]])
    ).item() == pytest.approx(1)


def test_the_loss_is_its_definition():
    a, b = rows()
    b[4] = 2.0
    want = []
    for x, y in zip(a.numpy(), b.numpy(), strict=True):
        x, y = x - x.mean(), y - y.mean()
        want.append(1 - x @ y / (max(np.linalg.norm(x), 1e-6) * max(np.linalg.norm(y), 1e-6)))
    assert want[4] == 1
    assert netassay.pearson_loss(a, b).item() == pytest.approx(np.mean(want), abs=1e-12)


def test_the_loss_sees_neither_scale_nor_offset_and_a_constant_row_moves_nothing():
    a, b = rows()
    scaled = 3.5 * a + torch.arange(20, dtype=torch.float64)[:, None]
    assert pearson_loss(scaled, b).item() == pytest.approx(pearson_loss(a, b).item(), abs=1e-12)
    b[2] = 1.0
    a.requires_grad_()
    (slope,) = torch.autograd.grad(pearson_loss(a, b), a)
    assert slope[2].abs().max() == 0
    assert slope[1].abs().max() > 0


def test_the_other_losses():
    a = rows()[0]
    heights = torch.eye(4, dtype=torch.float64)[torch.randint(0, 4, (20,), generator=torch.Generator().manual_seed(1))]
    a = a[:, :4]
    probability = torch.softmax(a, 1)[heights.bool()]
    assert loss_named("cross_entropy")(a, heights).item() == pytest.approx(-probability.log().mean().item())
    smooth = 0.8 * heights + 0.2 / 4
    want = -(smooth * torch.log_softmax(a, 1)).sum(1).mean().item()
    assert loss_named("cross_entropy", 0.2)(a, heights).item() == pytest.approx(want)
    assert loss_named("mse")(a, heights).item() == pytest.approx(((a - heights) ** 2).mean().item())
    assert loss_named("poisson")(a, heights).item() == pytest.approx((a.exp() - heights * a).mean().item())


def test_one_of_k():
    assert is_one_of_k(torch.eye(3))
    assert not is_one_of_k(torch.ones(3, 3))
    assert not is_one_of_k(torch.ones(3, 1))
    assert not is_one_of_k(torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
