"""Jacobi-Davidson with a subsample against dense matrices in float64, and what it does where the subsample misleads."""

import pytest
import torch
from dense import dense_ggn, dense_hessian, examples, half_square, network, rows, top
from torch import nn

import netassay
from netassay.curvature.combined import Preconditioned
from netassay.curvature.davidson import davidson
from netassay.curvature.eigen import lanczos
from netassay.curvature.following import Follower
from netassay.curvature.preconditioner import contraction
from netassay.curvature.subsample import OutputCurvature, strata_of, subsample
from netassay.errors import ModelError

X, LABEL, Y = examples(500)
SIZES = (5, 10, 6, 3)


def seed(n: int) -> torch.Generator:
    return torch.Generator().manual_seed(n)


def matrix(values: torch.Tensor, n: int = 0) -> torch.Tensor:
    q = torch.linalg.qr(torch.randn(len(values), len(values), generator=seed(n), dtype=torch.float64))[0]
    return (q * values) @ q.T


VALUES = torch.cat([torch.tensor([10.0, 9.5, 9.0, 8.5], dtype=torch.float64), torch.linspace(8, -2, 196).double()])
A = matrix(VALUES)
NOISE = matrix(torch.linspace(-0.3, 0.3, 200).double(), 1)


@pytest.mark.parametrize(
    ("kind", "loss_name", "search"),
    [("hessian", "mse", True), ("hessian", "cross_entropy", False), ("ggn", "cross_entropy", True)],
)
def test_whole_and_every_layer_agree_with_the_dense_matrix(kind, loss_name, search):
    model = network(sizes=SIZES)
    loss, y = (half_square, Y) if loss_name == "mse" else (nn.CrossEntropyLoss(), LABEL)
    dense = (dense_hessian if kind == "hessian" else dense_ggn)(model, loss, X, y)
    result = netassay.sharpness(
        model,
        loss,
        [(X, y)],
        k=2,
        blocks="layer",
        kind=kind,
        tolerance=1e-6,
        method="davidson",
        search=search,
    )
    assert result.sampled > 0 and result.share == pytest.approx(0.1)
    blocks = netassay.curvature.model.layer_blocks(model)
    for pairs, part in [
        (result, dense),
        *((result.blocks[n], dense[rows(model, m)][:, rows(model, m)]) for n, m in blocks.items()),
    ]:
        exact = top(part, 2)
        assert pairs.converged and pairs.searched is search
        assert ((pairs.values - exact).abs() <= pairs.errors).all()
        torch.testing.assert_close(pairs.values, exact, rtol=1e-6, atol=0)


def test_batches_of_several_sizes_and_sums_agree_with_the_dense_matrix():
    model = network(sizes=SIZES)
    batches = [(X[:100], LABEL[:100]), (X[100:450], LABEL[100:450]), (X[450:], LABEL[450:])]
    for reduction in ("mean", "sum"):
        loss = nn.CrossEntropyLoss(reduction=reduction)
        exact = top(dense_hessian(model, loss, X, LABEL))
        result = netassay.sharpness(model, loss, batches, tolerance=1e-5, method="davidson")
        assert result.sampled > 0
        torch.testing.assert_close(result.values, exact, rtol=1e-5, atol=0)


def test_a_cheap_matrix_like_the_full_one_saves_products():
    costs, usual = 0.0, 0
    for n in range(5):
        pairs = davidson(lambda v: A @ v, lambda v: (A + 0.05 * NOISE) @ v, 200, share=0.04, generator=seed(n))
        assert pairs.cost == pairs.products + 0.04 * pairs.sampled
        assert abs(float(pairs.values[0]) - 10) <= float(pairs.errors[0]) <= 0.01
        costs, usual = costs + pairs.cost, usual + lanczos(lambda v: A @ v, 200, generator=seed(n)).products
    assert costs < 0.5 * usual


@pytest.mark.parametrize("other", ["unrelated", "zero", "negative"])
def test_a_cheap_matrix_unlike_the_full_one_costs_little_more_than_lanczos(other):
    cheap = {"unrelated": matrix(VALUES, 2), "zero": torch.zeros_like(A), "negative": -A}[other]
    for n in range(5):
        usual = lanczos(lambda v: A @ v, 200, generator=seed(n))
        pairs = davidson(lambda v: A @ v, lambda v: cheap @ v, 200, share=0.04, generator=seed(n))
        assert pairs.cost <= usual.products + 2 and pairs.searched
        assert abs(float(pairs.values[0]) - 10) <= float(pairs.errors[0])


@pytest.mark.parametrize("i", [0, 50, 150])
def test_a_direction_that_the_cheap_matrix_misses_is_seen_by_the_search(i):
    basis = torch.linalg.eigh(A)[1]
    full = A + 30 * torch.outer(basis[:, i], basis[:, i])
    for n in range(3):
        pairs = davidson(lambda v: full @ v, lambda v: A @ v, 200, share=0.04, generator=seed(n))
        assert float(pairs.values[0]) == pytest.approx(float(top(full)[0]), rel=1e-3) and pairs.searched


def test_stated_errors_hold_whatever_the_cheap_matrix():
    outcomes = []
    for n in range(40):
        values = torch.cat([10 - torch.rand(5, generator=seed(n)).double(), torch.linspace(8, -2, 95).double()])
        a = matrix(values, n)
        noise = matrix(torch.randn(100, generator=seed(n)).double(), n + 100)
        b = a + 0.5 * (n % 5) * noise
        pairs = davidson(lambda v, a=a: a @ v, lambda v, b=b: b @ v, 100, share=0.1, generator=seed(n))
        outcomes.append(abs(float(pairs.values[0] - values.max())) <= float(pairs.errors[0]))
    assert sum(outcomes) >= 38


def test_a_gap_of_the_cheap_matrix_gives_errors_below_the_residual_that_hold():
    values = torch.cat([torch.tensor([10.0], dtype=torch.float64), torch.linspace(8, -2, 199).double()])
    below = []
    for n in range(20):
        a, noise = matrix(values, n), matrix(torch.linspace(-0.3, 0.3, 200).double(), n + 100)
        pairs = davidson(lambda v, a=a: a @ v, lambda v, b=a + noise: b @ v, 200, share=0.04, generator=seed(n))
        assert abs(float(pairs.values[0]) - 10) <= float(pairs.errors[0]) <= 0.01
        below.append(float(pairs.errors[0]) < 0.5 * float(pairs.residuals[0]))
    assert sum(below) >= 15


def test_a_follower_begins_from_a_cheap_matrix_whole_per_block_and_preconditioned():
    model = network(sizes=SIZES)
    dense = dense_hessian(model, half_square, X, Y)
    diagonal = torch.rand(len(dense), generator=seed(1), dtype=torch.float64) + 0.5
    scaled = dense / (diagonal[:, None] * diagonal[None]).sqrt()
    layers = netassay.curvature.model.layer_blocks(model)
    output = OutputCurvature()
    options = {"kind": "hessian", "blocks": layers}
    with netassay.Curvature(model, half_square, [(X, Y)], each=output.add, **options) as full:
        arguments = (model, half_square, [(X, Y)], full, output, seed(0))
        with subsample(*arguments, reduction=None, head=None, **options) as sample:
            plain = Follower(tolerance=1e-4).follow(full, sample.of)
            usual = Follower(tolerance=1e-4).follow(full)
            adaptive = Preconditioned(full, diagonal)
            steps = Follower(tolerance=1e-4).follow(
                adaptive, lambda name: sample.of(name).scaled(adaptive.scale_of(name or ""))
            )
    for result, truth in ((plain, dense), (steps, scaled)):
        assert abs(float(result.values[0] - top(truth)[0])) <= float(result.errors[0]) <= 1.1e-4 * float(top(truth)[0])
        for name, members in layers.items():
            exact = float(top(truth[rows(model, members)][:, rows(model, members)])[0])
            assert abs(float(result.blocks[name].values[0]) - exact) <= float(result.blocks[name].errors[0])
    assert plain.products < usual.products


def test_few_examples_many_batches_and_a_start_are_left_to_lanczos():
    model = network(sizes=SIZES)
    data = {
        "few": [(X[:300], Y[:300])],
        "many": [(x, y) for x, y in zip(X.split(25), Y.split(25), strict=True)],
    }
    for batches in data.values():
        usual = netassay.sharpness(model, half_square, batches)
        result = netassay.sharpness(model, half_square, batches, method="davidson")
        assert result.sampled == 0 and result.searched and torch.equal(result.values, usual.values)
    first = netassay.sharpness(model, half_square, [(X, Y)])
    again = netassay.sharpness(model, half_square, [(X, Y)], start=first, method="davidson")
    assert again.sampled == 0


def test_the_model_and_the_random_state_are_left_as_they_were():
    model = network(sizes=SIZES)
    before, state = [p.clone() for p in model.parameters()], torch.get_rng_state()
    netassay.sharpness(model, half_square, [(X, Y)], method="davidson")
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(before, model.parameters(), strict=True))


def test_lanczos_always_searches():
    with pytest.raises(ModelError, match='goes with method="davidson"'):
        netassay.sharpness(network(), half_square, [(X, Y)], search=False)


def test_curvature_at_the_output_is_that_of_the_softmax():
    model = network(sizes=SIZES)
    output = OutputCurvature()
    netassay.Curvature(model, nn.CrossEntropyLoss(), [(X, LABEL)], each=output.add)
    p = model(X).softmax(1).detach()
    exact = 1 - p.square().sum(1)
    estimate = output.of([500]) * 500
    # eight sign vectors leave single examples rough
    assert float(estimate.mean()) == pytest.approx(float(exact.mean()), rel=0.05)


def test_strata_weigh_to_one_and_take_the_largest_for_certain():
    curvature = torch.ones(1000, dtype=torch.float64)
    curvature[[3, 500]] = 200
    (certain, share), (drawn, rest) = strata_of(curvature, seed(0))
    assert certain.tolist() == [3, 500] and share == 0.002 and share + rest == 1
    assert len(drawn) == 98 and not {3, 500} & set(drawn.tolist())


def test_contraction_is_that_of_chebyshev_polynomials():
    values = torch.tensor([2.0, 1.0, -1.0], dtype=torch.float64)
    # outside [-1, 1] the polynomial T_n(2) grows by 2 + sqrt(3) a step
    assert contraction(values, 0) == pytest.approx(1 / (2 + 3**0.5), rel=1e-12)
