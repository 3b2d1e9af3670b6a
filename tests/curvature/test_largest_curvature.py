import pytest
import torch
from dense import ACTIVATIONS, dense_ggn, dense_hessian, examples, half_square, network, rows, top
from torch import nn

import netassay
from netassay.errors import ModelError

X, LABEL, Y = examples()


@pytest.mark.parametrize("kind", ["hessian", "ggn"])
@pytest.mark.parametrize("loss_name", ["mse", "cross_entropy"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_whole_and_every_layer_agree_with_the_dense_matrix(activation, bias, loss_name, kind):
    model = network(activation, bias)
    loss, y = (half_square, Y) if loss_name == "mse" else (nn.CrossEntropyLoss(), LABEL)
    dense = (dense_hessian if kind == "hessian" else dense_ggn)(model, loss, X, y)
    found = netassay.sharpness(model, loss, [(X, y)], k=2, blocks="layer", kind=kind, tolerance=1e-7)
    torch.testing.assert_close(found.values, top(dense, 2), rtol=1e-5, atol=0)
    largest = found.values[0] * (1 + 1e-6)
    blocks = netassay.curvature.model.layer_blocks(model)
    assert set(found.blocks) == set(blocks)
    for name, pairs in found.blocks.items():
        at = rows(model, blocks[name])
        torch.testing.assert_close(pairs.values, top(dense[at][:, at], 2), rtol=1e-5, atol=1e-12)
        assert pairs.values[0] <= largest  # interlacing
        assert pairs.vectors.shape == (len(at), 2)
    if kind == "ggn":
        assert found.values[0] <= sum(p.values[0] for p in found.blocks.values()) * (1 + 1e-6)


def test_result_has_the_stated_form():
    model = network()
    found = netassay.sharpness(model, half_square, [(X, Y)], k=3, blocks={"first": ["0.weight"], "last": ["4.bias"]})
    for pairs, size in ((found, 79), (found.blocks["first"], 30)):
        assert pairs.values.shape == pairs.residuals.shape == pairs.errors.shape == (3,)
        assert pairs.values.dtype == torch.float64 and pairs.vectors.shape == (size, 3)
        assert 0 < pairs.products <= size
    assert found.blocks["last"].values.shape == (3,)
    assert found.loss == pytest.approx(half_square(model(X), Y).item())
    assert all(p.grad is None for p in model.parameters())


def test_a_block_smaller_than_k_gives_its_full_spectrum():
    found = netassay.sharpness(network(), half_square, [(X, Y)], k=5, blocks={"bias": ["4.bias"]})
    assert found.blocks["bias"].values.shape == (3,) and found.values.shape == (5,)
    torch.testing.assert_close(found.blocks["bias"].values, torch.ones(3, dtype=torch.float64))


class Chain(nn.Module):
    """x -> w_1 ... w_L x."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.ParameterList(nn.Parameter(torch.tensor([w], dtype=torch.float64)) for w in weights)

    def forward(self, x):
        for w in self.weights:
            x = w * x
        return x


ONE = [(torch.ones(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64))]


@pytest.mark.parametrize("x", [0.5, 1.0, 3.0])
def test_product_of_two_has_sharpness_sum_of_squares_at_its_minima(x):
    found = netassay.sharpness(Chain([x, 1 / x]), half_square, ONE)
    assert found.values[0].item() == pytest.approx(x**2 + x**-2, rel=1e-10)


@pytest.mark.parametrize("weights", [[1.0] * 5, [2.0, 0.5, 4.0, 0.25], [3.0, 1 / 3, -1.0, -1.0]])
def test_scalar_chain(weights):
    found = netassay.sharpness(Chain(weights), half_square, ONE, blocks={"first": ["weights.0"]})
    assert found.values[0].item() == pytest.approx(sum(w**-2 for w in weights), rel=1e-8)
    assert found.blocks["first"].values[0].item() == pytest.approx(weights[0] ** -2, rel=1e-8)


def test_balanced_two_layer_linear_network_has_twice_the_largest_singular_value():
    g = torch.Generator().manual_seed(0)
    u, _ = torch.linalg.qr(torch.randn(4, 4, generator=g, dtype=torch.float64))
    v, _ = torch.linalg.qr(torch.randn(4, 4, generator=g, dtype=torch.float64))
    s = torch.tensor([3.0, 2.0, 1.0, 0.5], dtype=torch.float64)
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)).double()
    with torch.no_grad():
        model[0].weight.copy_(s.sqrt().diag() @ v.T)
        model[1].weight.copy_(u @ s.sqrt().diag())
    x = torch.eye(4, dtype=torch.float64)
    summed = netassay.sharpness(
        model,
        lambda o, t: 0.5 * (o - t).square().sum(),
        [(x, x @ (u * s @ v.T).T)],
        reduction="sum",
        tolerance=1e-8,
    )
    assert summed.values[0].item() == pytest.approx(2 * 3.0, rel=1e-7)


def test_a_concave_loss_gives_the_largest_algebraic_value():
    model = network("identity")
    loss = lambda o, t: -half_square(o, t)  # noqa: E731
    dense = dense_hessian(model, loss, X, Y)
    found = netassay.sharpness(model, loss, [(X, Y)], tolerance=1e-6)
    assert found.values[0].item() == pytest.approx(top(dense)[0].item(), rel=1e-5)
    linear = nn.Linear(5, 3).double()
    found = netassay.sharpness(linear, loss, [(X, Y)], tolerance=1e-6)
    assert found.values[0] < 0
    assert found.values[0].item() == pytest.approx(top(dense_hessian(linear, loss, X, Y))[0].item(), rel=1e-5)


def test_earlier_result_and_vectors_as_start():
    model = network()
    first = netassay.sharpness(model, half_square, [(X, Y)], k=2, blocks="layer", tolerance=1e-6)
    for start in (first, first.vectors, first.vectors[:, 0]):
        again = netassay.sharpness(model, half_square, [(X, Y)], k=2, blocks="layer", tolerance=1e-6, start=start)
        torch.testing.assert_close(again.values, first.values, rtol=1e-6, atol=0)
    for bad in (torch.ones(5), torch.full((79,), torch.nan)):
        with pytest.raises(ModelError, match="start has vectors of shape"):
            netassay.sharpness(model, half_square, [(X, Y)], start=bad)


@pytest.mark.parametrize("options", [{"k": 0}, {"tolerance": 0.0}, {"tolerance": 1.0}])
def test_options_out_of_range(options):
    with pytest.raises(ModelError, match=next(iter(options))):
        netassay.sharpness(network(), half_square, [(X, Y)], **options)


def test_global_random_state_and_caller_generator():
    state = torch.get_rng_state()
    first = netassay.sharpness(network(), half_square, [(X, Y)])
    second = netassay.sharpness(network(), half_square, [(X, Y)])
    assert torch.equal(first.values, second.values) and torch.equal(torch.get_rng_state(), state)


def test_inside_no_grad_it_still_works():
    with torch.no_grad():
        found = netassay.sharpness(network(), half_square, [(X, Y)], blocks="layer")
    assert found.values[0] > 0


@pytest.mark.parametrize("k", [0, -1, True])
def test_k_is_a_whole_number_from_one(k):
    with pytest.raises(ModelError, match=r"k=.*whole number, at least 1"):
        netassay.sharpness(network(), half_square, [(X, Y)], k=k)
