"""Symmetry and third derivatives: what is wrong is found and named, what torch has wrong is right here."""

import copy
import itertools
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from dense import evaluate, half_square
from torch import nn
from torch.func import functional_call

import netassay
from netassay.curvature.central_flow import CentralFlow, curvature_gradients
from netassay.curvature.curvature import Curvature
from netassay.curvature.eigen import lanczos
from netassay.curvature.following import Follower
from netassay.curvature.objective import Objective
from netassay.curvature.tape import differentiable_thrice
from netassay.errors import ModelError

X = torch.randn(20, 6, generator=torch.Generator().manual_seed(0)).double()
Y = torch.randn(20, 4, generator=torch.Generator().manual_seed(1)).double()
NUMBERS = [20, 80]
"""Examples of a batch: too few for a sample of it, and enough."""


def batch_of(number, dtype=torch.float64):
    """The twenty examples over and over: the same loss and curvature, however many."""
    which = torch.arange(number) % len(X)
    return X[which].to(dtype), Y[which].to(dtype)


def by_differences(model, loss, x, y):
    """The dense Hessian as central differences of gradients."""
    named = {n: p.detach() for n, p in model.named_parameters()}
    sizes = [p.numel() for p in named.values()]

    def slope(w):
        w = w.clone().requires_grad_()
        pieces = {n: v.view_as(named[n]) for n, v in zip(named, w.split(sizes), strict=True)}
        return torch.autograd.grad(loss(functional_call(model, pieces, (x,)), y), w)[0]

    w = torch.cat([p.reshape(-1) for p in named.values()])
    columns = [(slope(w + e) - slope(w - e)) / 2e-5 for e in 1e-5 * torch.eye(len(w), dtype=w.dtype)]
    return torch.stack(columns)


def weight_normed(old, dim=0):
    norm = nn.utils.weight_norm if old else nn.utils.parametrizations.weight_norm
    torch.manual_seed(0)
    return nn.Sequential(norm(nn.Linear(6, 5), dim=dim), nn.Tanh(), nn.Linear(5, 4)).double()


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm:FutureWarning")
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("dim", [0, 1, None])
def test_the_curvature_through_weight_norm_is_that_of_differences(old, dim):
    model = weight_normed(old, dim)
    truth = by_differences(model, half_square, X, Y)
    operator = netassay.hessian_operator(model, half_square, [(X, Y)]) @ torch.eye(len(truth)).double()
    torch.testing.assert_close(operator, truth, rtol=1e-6, atol=1e-8)
    values = torch.linalg.eigvalsh((truth + truth.T) / 2)
    density = netassay.spectral_density(model, half_square, [(X, Y)], steps=len(truth))
    assert density.exact and density.converged
    torch.testing.assert_close(density.nodes[0], values, rtol=1e-6, atol=1e-7)
    # a model that has run keeps the weight that it computed, which has a graph
    model(X)
    path = netassay.gradient_flow(model, half_square, [(X, Y)], times=[0.1], tolerance=1e-6)
    assert path.reached and path.losses[0] < float(half_square(model(X), Y).detach())


class Lossy(torch.autograd.Function):
    """x @ w whose gradient of x forgets, to the second order, that it depends on w."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w.T

    @staticmethod
    def backward(ctx, slope):
        x, w = ctx.saved_tensors
        return slope @ w.detach(), slope.T @ x


class LossyLinear(nn.Linear):
    def forward(self, x):
        return Lossy.apply(x, self.weight) + self.bias


class Holder(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.inner = part

    def forward(self, x, scale=1.0):
        return self.inner(x) * scale


def lossy():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), Holder(LossyLinear(5, 4))).double()


def looks(model, data):
    draws = {"generator": torch.Generator().manual_seed(0)}
    return {
        "sharpness": lambda: netassay.sharpness(model, half_square, data),
        "k": lambda: netassay.sharpness(model, half_square, data, k=3, blocks="layer"),
        "trace": lambda: netassay.trace(model, half_square, data, **draws),
        "dense trace": lambda: netassay.trace(model, half_square, data, products=1000),
        "density": lambda: netassay.spectral_density(model, half_square, data, steps=20),
        "exact density": lambda: netassay.spectral_density(model, half_square, data, steps=200),
        "step size": lambda: netassay.step_size(model, half_square, data),
        "batch sharpness": lambda: netassay.curvature.batch_sharpness(model, half_square, data),
        "operator": lambda: netassay.hessian_operator(model, half_square, data) @ torch.ones(59).double(),
        "follower": lambda: Follower().follow(Curvature(model, half_square, data)),
        "flow": lambda: netassay.gradient_flow(model, half_square, data, times=[0.1]),
        "central flow": lambda: CentralFlow(model, half_square, data, step_size=0.01).look(),
    }


@pytest.mark.parametrize("look", looks(None, None))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("number", NUMBERS)
def test_an_asymmetric_operator_is_refused_by_the_name_of_its_module(look, dtype, number):
    model, data = lossy().to(dtype), [batch_of(number, dtype)]
    with pytest.raises(ModelError, match=r"module '2.inner' \(LossyLinear\)"):
        looks(model, data)[look]()


def test_an_asymmetric_block_is_refused_too():
    """One layer among many larger ones, whose share in the whole is small."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4)).double()
    with Curvature(model, half_square, [(X, Y)], blocks="layer") as curvature:
        right = curvature._multiply
        skew = torch.triu(torch.ones(24, 24).double(), 1)

        def wrong(names, v):
            made = right(names, v)
            return [p + skew @ u for p, u in zip(made, v, strict=True)] if len(v[0]) == 24 else made

        curvature._multiply = wrong
        with pytest.raises(ModelError, match="curvature of block '2' is not symmetric"):
            v = torch.ones(24).double()
            curvature.block_product("2", curvature.block_product("2", v))


@pytest.mark.parametrize(("number", "first"), [(20, 1), (80, 0)])
def test_the_check_costs_one_product_once_and_none_where_there_is_a_sample(number, first):
    model, batch = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4)).double(), batch_of(number)
    with Curvature(model, half_square, [batch]) as curvature:
        pairs = lanczos(curvature.product, curvature.size)
        assert (curvature.products[None], curvature.checks) == (pairs.products, first)
    follower, checks = Follower(), []
    for _ in range(3):
        with Curvature(model, half_square, [batch], blocks="layer") as curvature:
            found = follower.follow(curvature)
            assert curvature.products[None] == found.products
            checks.append(curvature.checks)
    assert checks == [first, 0, 0]


def test_one_product_of_a_sample_shows_an_asymmetry():
    """Before a second product of the whole, which Lanczos's method would be compared by."""
    with Curvature(lossy(), half_square, [batch_of(80)]) as curvature:
        with pytest.raises(ModelError, match="is not symmetric"):
            curvature.product(torch.ones(curvature.size).double())
        assert curvature.products[None] == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_curvature_that_is_all_but_zero_is_not_refused(dtype):
    """Classes told apart beyond doubt: what is left of the Hessian is rounding."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4)).to(dtype)
    with torch.no_grad():
        model[2].weight.mul_(60)
    x = X.to(dtype)
    y = model(x).argmax(1)
    for scale in (1.0, 10.0):
        with torch.no_grad():
            model[2].weight.mul_(scale)
        netassay.sharpness(model, F.cross_entropy, [(x, y)], blocks="layer")


class Plain(nn.Module):
    """A normalisation from primitives: over which axes, with or without the mean."""

    def __init__(self, axes, shape, weight, bias, centred=True, eps=1e-5):
        super().__init__()
        self.axes, self.shape, self.centred, self.eps = axes, shape, centred, eps
        self.weight, self.bias = weight, bias

    def forward(self, x):
        y = x.reshape(self.shape(x))
        y = y - y.mean(self.axes, keepdim=True) if self.centred else y
        y = (y * (y.square().mean(self.axes, keepdim=True) + self.eps).rsqrt()).reshape(x.shape)
        like = [1, -1, 1] if x.ndim == 3 else [1, -1]
        y = y if self.weight is None else y * self.weight.view(like)
        return y if self.bias is None else y + self.bias.view(like)


def same(x):
    return x.shape


NORMS = {
    "layer": (lambda: nn.LayerNorm(6), [-1], same),
    "layer without scale": (lambda: nn.LayerNorm(6, elementwise_affine=False), [-1], same),
    "layer of two axes": (lambda: nn.LayerNorm([6, 3], elementwise_affine=False), [-2, -1], same),
    "batch": (lambda: nn.BatchNorm1d(6), [0], same),
    "batch without statistics": (lambda: nn.BatchNorm1d(6, track_running_stats=False).eval(), [0], same),
    "batch of sequences": (lambda: nn.BatchNorm1d(6), [0, 2], same),
    "group": (lambda: nn.GroupNorm(2, 6), [2], lambda x: (len(x), 2, -1)),
    "instance": (lambda: nn.InstanceNorm1d(6), [2], same),
    "instance with scale": (lambda: nn.InstanceNorm1d(6, affine=True), [2], same),
    "rms": (lambda: nn.RMSNorm(6, eps=1e-5), [-1], same),
}


@pytest.mark.parametrize("kind", NORMS)
def test_third_derivatives_through_every_normalisation_are_those_of_primitives(kind):
    make, axes, shape = NORMS[kind]
    long = any(word in kind for word in ("sequences", "group", "instance", "two axes"))
    x = torch.randn(7, 4, 3) if long else torch.randn(7, 4)
    x = torch.randn(7, 4, 3, generator=torch.Generator().manual_seed(0)).double()
    x = x if long else x[:, :, 0]
    first = nn.Conv1d(4, 6, 1) if long else nn.Linear(4, 6)
    norm = make()
    with torch.no_grad():
        for p in norm.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(3)))
    plain = Plain(axes, shape, getattr(norm, "weight", None), getattr(norm, "bias", None), kind != "rms")
    net = nn.Sequential(first, norm, nn.Tanh()).double()
    other = nn.Sequential(first, plain, nn.Tanh()).double()
    target = torch.randn(net(x).shape, generator=torch.Generator().manual_seed(2)).double()
    buffers = copy.deepcopy(dict(net.named_buffers()))
    u = torch.randn(sum(p.numel() for p in net.parameters()), 2, generator=torch.Generator().manual_seed(1))
    found = curvature_gradients(Objective(net, F.mse_loss, [(x, target)]), u.double())
    torch.testing.assert_close(found, curvature_gradients(Objective(other, F.mse_loss, [(x, target)]), u.double()))
    assert all(torch.equal(b, buffers[n]) for n, b in net.named_buffers())
    with differentiable_thrice():
        assert torch.allclose(net(x), other(x))
    CentralFlow(net, F.mse_loss, [(x, target)], step_size=1e-4).look()


def mlp(*sizes, act=nn.Tanh):
    torch.manual_seed(0)
    layers = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), act())]
    return nn.Sequential(*layers[:-1]).double()


class Forgets(torch.autograd.Function):
    """tanh with right first and second derivatives, and a third that takes the second for constant."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.tanh()

    @staticmethod
    def backward(ctx, slope):
        return ForgetsSlope.apply(slope, *ctx.saved_tensors)


class ForgetsSlope(torch.autograd.Function):
    @staticmethod
    def forward(ctx, slope, x):
        ctx.save_for_backward(slope, x)
        return slope * (1 - x.tanh() ** 2)

    @staticmethod
    def backward(ctx, slope):
        before, x = ctx.saved_tensors
        y = x.tanh()
        return slope * (1 - y**2), slope * before * (-2 * y * (1 - y**2)).detach()


class ForgetfulTanh(nn.Module):
    def forward(self, x):
        return Forgets.apply(x)


def test_a_module_with_wrong_third_derivatives_is_refused_by_name():
    model = nn.Sequential(nn.Linear(6, 5), nn.Sequential(ForgetfulTanh()), nn.Linear(5, 4)).double()
    netassay.sharpness(model, half_square, [(X, Y)])
    with pytest.raises(ModelError, match=r"third derivatives of module '1.0' \(ForgetfulTanh\)"):
        CentralFlow(model, half_square, [(X, Y)], step_size=0.01).look()


@pytest.mark.parametrize("act", [nn.ReLU, nn.GELU, nn.SiLU, nn.Softplus, nn.ELU, nn.Hardtanh])
def test_right_third_derivatives_are_not_refused(act):
    for dtype in (torch.float64, torch.float32):
        model = mlp(6, 30, 30, 4, act=act).to(dtype)
        CentralFlow(model, half_square, [(X.to(dtype), Y.to(dtype))], step_size=0.01).look()


FROM_PYTHON, FROM_NUMPY = random.Random(0), np.random.default_rng(0)


class Draws(nn.Module):
    """Keeps or drops a layer by a draw."""

    def __init__(self, draw, own=None):
        super().__init__()
        self.a, self.b, self.draw, self.own = nn.Linear(6, 4), nn.Linear(4, 4), draw, own

    def forward(self, x):
        h = self.a(x)
        return h + self.draw(self) * self.b(h).tanh()


SOURCES = {
    "random": lambda _: random.random(),
    "numpy": lambda _: np.random.rand(),  # noqa: NPY002
    "own of Python": lambda self: self.own.random(),
    "own of NumPy": lambda self: self.own.random(),
    "own of old NumPy": lambda self: self.own.rand(),
    "fresh": lambda _: np.random.default_rng().random(),
    "the system's": lambda _: random.SystemRandom().random(),
}
OWN = {
    "own of Python": random.Random(1),
    "own of NumPy": np.random.default_rng(1),
    "own of old NumPy": np.random.RandomState(1),
}


def generator_states():
    numpy = np.random.get_state()  # noqa: NPY002
    return (
        random.getstate(),
        numpy[1].tobytes(),
        numpy[2],
        torch.get_rng_state().tolist(),
        OWN["own of Python"].getstate(),
        str(OWN["own of NumPy"].bit_generator.state),
        OWN["own of old NumPy"].get_state()[1].tobytes(),
        OWN["own of old NumPy"].get_state()[2],
        FROM_PYTHON.getstate(),
        str(FROM_NUMPY.bit_generator.state),
    )


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("number", NUMBERS)
def test_randomness_of_any_source_is_refused_and_its_generator_put_back(source, number):
    model = Draws(SOURCES[source], OWN.get(source)).double()
    before = generator_states()
    for _ in range(2):
        with pytest.raises(ModelError, match="the loss is random"):
            netassay.sharpness(model, half_square, [batch_of(number)])
        # the checks of types in the tests draw from Python's own generator
        random.setstate(before[0])
    if source not in ("fresh", "the system's"):
        with pytest.raises(ModelError, match="drew random numbers"):
            evaluate(model, half_square, [batch_of(number)])
    assert generator_states() == before


@pytest.mark.parametrize("tossed", range(3))
def test_a_layer_that_two_passes_keep_and_a_third_drops_is_noticed(tossed):
    """By several passes over a sample, wherever in the sequence they begin."""
    kept = itertools.cycle([1.0, 1.0, 0.0])
    for _ in range(tossed):
        next(kept)
    with pytest.raises(ModelError, match="the loss is random"):
        netassay.sharpness(Draws(lambda _: next(kept)).double(), half_square, [batch_of(80)])


def test_draws_that_leave_the_loss_alone_are_none():
    """As type checkers make them, to choose which item of a list to look at."""
    model = Draws(lambda _: 0 * random.random()).double()
    before = random.getstate()
    assert len(evaluate(model, half_square, [(X, Y)])) == 1
    assert random.getstate() == before


def test_generators_of_a_loader_are_put_back():
    own = torch.Generator().manual_seed(5)
    data = torch.utils.data.TensorDataset(X, Y)
    loader = torch.utils.data.DataLoader(data, batch_size=20, shuffle=True, generator=own)
    before = own.get_state()
    model = nn.Linear(6, 4).double()
    evaluate(model, half_square, loader)
    assert torch.equal(own.get_state(), before)


def test_global_generators_that_a_forward_pass_names_are_noticed():
    class Global(Draws):
        def forward(self, x):
            return self.a(x) * FROM_NUMPY.random() + FROM_PYTHON.random()

    model = Global(None).double()
    before = generator_states()
    with pytest.raises(ModelError, match="drew random numbers"):
        evaluate(model, half_square, [(X, Y)])
    assert generator_states() == before


def test_a_look_leaves_everything_as_it_was():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 4)).double()
    optimizer = torch.optim.Adam(model.parameters())
    half_square(model(X), Y).backward()
    optimizer.step()
    before = copy.deepcopy((model.state_dict(), [p.grad for p in model.parameters()], optimizer.state_dict()))
    states, modes = generator_states(), [m.training for m in model.modules()]
    for look in looks(model, [(X, Y)]).values():
        try:
            look()
        except ModelError as error:
            assert "above 2 / eta" in str(error) or "vector has shape" in str(error)
    after = (model.state_dict(), [p.grad for p in model.parameters()], optimizer.state_dict())
    assert generator_states()[1:] == states[1:] and modes == [m.training for m in model.modules()]
    for a, b in zip(torch.utils._pytree.tree_leaves(before), torch.utils._pytree.tree_leaves(after), strict=True):
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
