"""The networks against forward passes written out by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from netassay.nets.cnn import CNN
from netassay.nets.mlp import MLP

X = torch.randn(5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def mlp(**options):
    return MLP(6, 2, depth=3, width=4, generator=torch.Generator().manual_seed(1), dtype=torch.float64, **options)


def test_the_default_is_linear_layers_and_activations():
    model = mlp()
    assert list(model.state_dict()) == [
        f"{n}.{p}" for n in ("layer1", "layer2", "layer3", "output") for p in ("weight", "bias")
    ]
    x = X
    for name in ("layer1", "layer2", "layer3"):
        x = torch.tanh(model.get_submodule(name)(x))
    assert torch.equal(model(X), model.get_submodule("output")(x))
    # the draws of PyTorch's own default, in order of the layers
    g = torch.Generator().manual_seed(1)
    expected = torch.empty(4, 6, dtype=torch.float64).uniform_(-(6**-0.5), 6**-0.5, generator=g)
    torch.testing.assert_close(model.get_submodule("layer1").weight, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("normalisation", ["none", "batch", "layer"])
@pytest.mark.parametrize("residual", [False, True])
def test_normalisation_and_residuals(normalisation, residual):
    model, x = mlp(normalisation=normalisation, residual=residual), X
    for i in (1, 2, 3):
        h = model.get_submodule(f"layer{i}")(x)
        if normalisation == "batch":
            h = (h - h.mean(dim=0)) / (h.var(dim=0, correction=0) + 1e-5).sqrt()
        if normalisation == "layer":
            h = (h - h.mean(dim=1, keepdim=True)) / (h.var(dim=1, correction=0, keepdim=True) + 1e-5).sqrt()
        x = torch.tanh(h) + (x if residual and i > 1 else 0)
    torch.testing.assert_close(model(X), model.get_submodule("output")(x))


def test_normalisation_keeps_no_state_and_draws_nothing():
    plain, normal = mlp(), mlp(normalisation="batch")
    assert not list(normal.buffers())
    for name in ("layer1", "layer2", "layer3", "output"):
        assert torch.equal(plain.get_submodule(name).weight, normal.get_submodule(name).weight)
    before = torch.get_rng_state()
    mlp(normalisation="layer")
    assert torch.equal(before, torch.get_rng_state())


def test_cnn_is_convolutions_with_pooling():
    model = CNN((2, 8, 4), 3, depth=3, width=5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    x = torch.randn(2, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    h = x.reshape(2, 2, 8, 4)
    for i, pooled in ((1, True), (2, False), (3, False)):
        layer = model.get_submodule(f"layer{i}")
        h = torch.tanh(F.conv2d(h, layer.weight, layer.bias, padding=1))
        h = F.avg_pool2d(h, 2) if pooled else h
    assert h.shape == (2, 5, 4, 2)
    torch.testing.assert_close(model(x), model.get_submodule("output")(h.flatten(1)))
    bound = 1 / (2 * 9) ** 0.5
    assert 0.9 * bound < float(model.get_submodule("layer1").weight.detach().abs().max()) <= bound


@pytest.mark.parametrize("normalisation", ["batch", "layer"])
def test_cnn_normalisation_has_mean_zero(normalisation):
    model = CNN(
        (1, 4, 4),
        3,
        depth=1,
        width=5,
        normalisation=normalisation,
        activation="identity",
        generator=torch.Generator().manual_seed(2),
        dtype=torch.float64,
    )
    x = torch.randn(6, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    seen = []
    model.get_submodule("norm1").register_forward_hook(lambda m, i, o: seen.append(o))
    model(x)
    over = (0, 2, 3) if normalisation == "batch" else (1, 2, 3)
    assert float(seen[0].detach().mean(dim=over).abs().max()) < 1e-12
    assert isinstance(model.get_submodule("norm1"), nn.Module)
