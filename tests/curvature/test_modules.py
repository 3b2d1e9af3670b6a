"""Modules that hide second derivatives, against dense Hessians in float64, or refused by name."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

import netassay
from netassay.curvature.model import recurrence_step_by_step
from netassay.errors import ModelError

X = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.randn(5, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
LOSS = nn.MSELoss()


class Recurrent(nn.Module):
    def __init__(self, kind, **words):
        super().__init__()
        self.layer = kind(4, 3, batch_first=True, **words)
        self.head = nn.LazyLinear(2)

    def forward(self, x):
        return self.head(self.layer(x)[0][:, -1])


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.head = nn.Linear(12, 2)

    def forward(self, x):
        return self.head(torch.tanh(self.second(torch.tanh(self.first(x)))).flatten(1))


class Recomputed(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.Tanh())
        self.head, self.reentrant = nn.Linear(3, 2), reentrant

    def forward(self, x):
        x = x.clone().requires_grad_()
        return self.head(checkpoint(self.inner, x, use_reentrant=self.reentrant))


def made(build):
    torch.manual_seed(0)
    model = build().double()
    model(X)
    return model


def flat(*more):
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 4), *more, nn.Tanh(), nn.Linear(4, 2))


def frozen():
    model = flat()
    model[1].weight.requires_grad_(False)
    return model


MODELS = {
    "LSTM": lambda: Recurrent(nn.LSTM),
    "LSTM, two directions, projection": lambda: Recurrent(nn.LSTM, bidirectional=True, proj_size=2),
    "GRU": lambda: Recurrent(nn.GRU, num_layers=2),
    "RNN": lambda: Recurrent(nn.RNN),
    "tied": Tied,
    "frozen": frozen,
    "weight norm": lambda: nn.Sequential(nn.Flatten(), parametrizations.weight_norm(nn.Linear(12, 2))),
    "orthogonal": lambda: nn.Sequential(
        nn.Flatten(), parametrizations.orthogonal(nn.Linear(12, 2), orthogonal_map="matrix_exp")
    ),
    "spectral norm": lambda: nn.Sequential(nn.Flatten(), parametrizations.spectral_norm(nn.Linear(12, 2))),
    "batch norm": lambda: flat(nn.BatchNorm1d(4)),
    "layer norm": lambda: flat(nn.LayerNorm(4)),
    "checkpointed": lambda: Recomputed(False),
}


def dense(model):
    """The Hessian by the rows of float64 gradients of the gradient, in the present mode."""
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    with recurrence_step_by_step(model):
        loss = LOSS(model(X), Y)
        gradient = torch.autograd.grad(loss, [*parameters.values()], create_graph=True)
        entries = torch.cat([part.reshape(-1) for part in gradient])
        rows = [
            torch.autograd.grad(entry, [*parameters.values()], retain_graph=True, materialize_grads=True)
            for entry in entries
        ]
    return torch.stack([torch.cat([part.reshape(-1) for part in row]) for row in rows])


def differences(model, v, step=1e-5):
    """H v from gradients at two places: no second derivative at all."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    before, gradients = [p.detach().clone() for p in parameters], []
    for sign in (1, -1):
        offset = 0
        for p, start in zip(parameters, before, strict=True):
            p.data = start + sign * step * v[offset : offset + p.numel()].view_as(p)
            offset += p.numel()
        slopes = torch.autograd.grad(LOSS(model(X), Y), parameters)
        gradients.append(torch.cat([slope.reshape(-1) for slope in slopes]))
    for p, start in zip(parameters, before, strict=True):
        p.data = start
    return (gradients[0] - gradients[1]) / (2 * step)


@pytest.mark.parametrize("name", MODELS)
def test_products_are_those_of_the_dense_hessian_and_of_differences_of_gradients(name):
    model = made(MODELS[name]).eval()
    operator = netassay.hessian_operator(model, LOSS, [(X, Y)])
    v = torch.randn(operator.shape[0], generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    v /= torch.linalg.vector_norm(v)
    product = operator @ v
    torch.testing.assert_close(product, differences(model, v), rtol=1e-5, atol=1e-8)
    if name not in ("orthogonal", "weight norm"):
        torch.testing.assert_close(product, dense(model) @ v, rtol=1e-9, atol=1e-12)


def test_batch_norm_differs_by_its_mode_and_each_is_right():
    model = made(MODELS["batch norm"])
    values = {}
    for training in (True, False):
        model.train(training)
        buffers = [b.clone() for b in model.buffers()]
        values[training] = float(netassay.sharpness(model, LOSS, [(X, Y)], tolerance=1e-8).values[0])
        assert all(torch.equal(a, b) for a, b in zip(buffers, model.buffers(), strict=True))
        assert values[training] == pytest.approx(float(torch.linalg.eigvalsh(dense(made_like(model)))[-1]), rel=1e-6)
    # by statistics of the batch itself, or by running ones: two losses, and two curvatures
    assert values[True] != pytest.approx(values[False], rel=1e-2)


def made_like(model):
    copy = made(MODELS["batch norm"])
    copy.load_state_dict(model.state_dict())
    return copy.train(model.training)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrent_layers_in_single_precision(kind):
    model = made(lambda: Recurrent(kind)).float()
    x, y = X.float(), Y.float()
    value = float(netassay.sharpness(model, LOSS, [(x, y)], tolerance=1e-4).values[0])
    assert value == pytest.approx(float(torch.linalg.eigvalsh(dense(model.double()))[-1]), rel=1e-3)


def test_backends_of_recurrent_layers_are_put_back_and_others_left_alone():
    flags = torch.backends.cudnn.enabled, torch.backends.mkldnn.enabled
    with recurrence_step_by_step(nn.Sequential(nn.Conv1d(1, 1, 1))):
        assert (torch.backends.cudnn.enabled, torch.backends.mkldnn.enabled) == flags
    with pytest.raises(ZeroDivisionError), recurrence_step_by_step(nn.GRU(1, 1)):
        assert not torch.backends.cudnn.enabled
        assert not torch.backends.mkldnn.enabled
        raise ZeroDivisionError
    assert (torch.backends.cudnn.enabled, torch.backends.mkldnn.enabled) == flags


class ComplexWeights(nn.Module):
    def __init__(self):
        super().__init__()
        self.spectrum = nn.Parameter(torch.randn(12, 2, dtype=torch.complex128))

    def forward(self, x):
        return (x.flatten(1).to(torch.complex128) @ self.spectrum).abs()


REFUSED = {
    "complex128": ComplexWeights,
    "use_reentrant=False": lambda: Recomputed(True),
    "sparse=False": lambda: nn.Sequential(nn.Embedding(5, 3, sparse=True), nn.Flatten(), nn.Linear(6, 2)).double(),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_has_no_right_product_is_refused_by_name(words):
    model = REFUSED[words]()
    x = torch.tensor([[0, 1], [2, 3], [1, 1], [4, 0], [2, 2]]) if words == "sparse=False" else X
    if words == "use_reentrant=False":
        model = model.double()
    with pytest.raises(ModelError, match=words):
        netassay.sharpness(model, LOSS, [(x, Y)])
    if words == "use_reentrant=False":
        with pytest.raises(ModelError, match=words):
            netassay.critical_sharpness(model, LOSS, [(x, Y)])


def test_sparse_embeddings_reentrant_checkpoints_and_compiled_code_have_a_critical_sharpness():
    for words in ("use_reentrant=False", "sparse=False"):
        model = REFUSED[words]().double()
        x = torch.tensor([[0, 1], [2, 3], [1, 1], [4, 0], [2, 2]]) if words == "sparse=False" else X
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        LOSS(model(x), Y).backward()
        assert netassay.critical_sharpness(model, LOSS, [(x, Y)], direction=optimizer).status == "measured"


def test_exact_products_of_compiled_code_are_those_of_the_original_module():
    model = made(MODELS["layer norm"])
    compiled = torch.compile(model, backend="eager")
    compiled(X)
    v = torch.ones(sum(p.numel() for p in model.parameters()), dtype=torch.float64)
    products = [netassay.hessian_operator(one, LOSS, [(X, Y)]) @ v for one in (model, compiled)]
    torch.testing.assert_close(*products)
    torch._dynamo.reset()
