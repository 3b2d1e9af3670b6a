import numpy as np
import pytest
import torch
from dense import ACTIVATIONS, dense_ggn, dense_hessian, examples, half_square, network, rows, top
from scipy.sparse.linalg import eigsh
from torch import nn

from netassay.curvature.curvature import Curvature
from netassay.curvature.operator import hessian_operator
from netassay.errors import DataError, ModelError

DENSE = {"hessian": dense_hessian, "ggn": dense_ggn}


def pair_of(loss_name):
    x, label, target = examples()
    return (half_square, x, target) if loss_name == "mse" else (nn.CrossEntropyLoss(), x, label)


@pytest.mark.parametrize("kind", ["hessian", "ggn"])
@pytest.mark.parametrize("loss_name", ["mse", "cross_entropy"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_products_whole_and_block_are_those_of_the_dense_matrix(activation, bias, loss_name, kind):
    model, (loss, x, y) = network(activation, bias), pair_of(loss_name)
    dense = DENSE[kind](model, loss, x, y)
    with Curvature(model, loss, [(x, y)], kind=kind, blocks="layer") as curvature:
        assert curvature.size == len(dense)
        eye = torch.eye(curvature.size, dtype=torch.float64)
        torch.testing.assert_close(curvature.product(eye), dense, rtol=1e-9, atol=1e-12)
        assert set(curvature.blocks) == {"0", "2", "4"}
        for name, members in curvature.blocks.items():
            at = rows(model, members)
            eye = torch.eye(len(at), dtype=torch.float64)
            torch.testing.assert_close(curvature.block_product(name, eye), dense[at][:, at], rtol=1e-9, atol=1e-12)
        assert curvature.products == {
            None: len(dense),
            **{n: curvature.block_size(n) for n in curvature.blocks},
        }


@pytest.mark.parametrize("kind", ["hessian", "ggn"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_micro_batches_add_up_to_the_full_batch(kind, reduction):
    model, (x, _, y) = network(), examples(23)
    loss = nn.MSELoss(reduction=reduction)
    full = Curvature(model, loss, [(x, y)], kind=kind, blocks="layer")
    parts = Curvature(model, loss, list(zip(x.split(7), y.split(7), strict=True)), kind=kind, blocks="layer")
    v = torch.randn(full.size, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert parts.loss == pytest.approx(full.loss, rel=1e-12)
    torch.testing.assert_close(parts.gradient, full.gradient)
    torch.testing.assert_close(parts.product(v), full.product(v))
    w = v[: full.block_size("2")]
    torch.testing.assert_close(parts.block_product("2", w), full.block_product("2", w))


def test_stated_reduction_of_a_plain_function():
    model, (x, _, y) = network(), examples()
    summed = Curvature(model, lambda o, t: 20 * half_square(o, t), [(x, y)], reduction="sum")
    mean = Curvature(model, half_square, [(x, y)])
    torch.testing.assert_close(summed.gradient, 20 * mean.gradient)
    halves = [(x[:5], y[:5]), (x[5:], y[5:])]
    sums = Curvature(model, lambda o, t: (o - t).square().sum(), halves, reduction="sum")
    whole = Curvature(model, lambda o, t: (o - t).square().sum(), [(x, y)], reduction="sum")
    torch.testing.assert_close(sums.gradient, whole.gradient)


def test_gradient_is_that_of_autograd_and_of_its_blocks():
    model, (x, _, y) = network(), examples()
    half_square(model(x), y).backward()
    expected = torch.cat([p.grad.reshape(-1) for p in model.parameters()])
    for kind in ("hessian", "ggn"):
        curvature = Curvature(model, half_square, [(x, y)], kind=kind, blocks={"b": ["4.bias", "0.weight"]})
        torch.testing.assert_close(curvature.gradient, expected)
        torch.testing.assert_close(curvature.block_gradient("b"), expected[rows(model, ["4.bias", "0.weight"])])


def test_hessian_is_gauss_newton_where_the_residual_is_zero():
    model, (x, _, _) = network(), examples()
    y = model(x).detach()
    v = torch.randn(Curvature(model, half_square, [(x, y)]).size, dtype=torch.float64, generator=torch.Generator())
    hessian, ggn = (Curvature(model, half_square, [(x, y)], kind=kind) for kind in ("hessian", "ggn"))
    torch.testing.assert_close(hessian.product(v), ggn.product(v))


def test_custom_blocks_keep_the_order_they_were_given_in():
    model, (x, _, y) = network(), examples()
    members = ["2.bias", "0.weight"]
    dense = dense_hessian(model, half_square, x, y)
    at = rows(model, members)
    curvature = Curvature(model, half_square, [(x, y)], blocks={"mixed": members})
    eye = torch.eye(len(at), dtype=torch.float64)
    torch.testing.assert_close(curvature.block_product("mixed", eye), dense[at][:, at])


def test_frozen_parameters_are_left_out():
    model, (x, _, y) = network(), examples()
    model[0].weight.requires_grad_(False)
    dense = dense_hessian(model, half_square, x, y)
    curvature = Curvature(model, half_square, [(x, y)], blocks="layer")
    assert "0.weight" not in curvature.names and curvature.blocks["0"] == ("0.bias",)
    eye = torch.eye(curvature.size, dtype=torch.float64)
    torch.testing.assert_close(curvature.product(eye), dense)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4, bias=False)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.idle = nn.Linear(2, 2)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


@pytest.mark.parametrize("kind", ["hessian", "ggn"])
def test_shared_counted_once_and_unreached_are_zero(kind):
    torch.manual_seed(0)
    model, (x, _, y) = Tied().double(), examples(inputs=4, classes=4)
    curvature = Curvature(model, half_square, [(x, y)], kind=kind, blocks="layer")
    assert curvature.blocks == {
        "first": ("first.weight",),
        "second": ("second.bias",),
        "idle": ("idle.weight", "idle.bias"),
    }
    dense = DENSE[kind](model, half_square, x, y)
    eye = torch.eye(curvature.size, dtype=torch.float64)
    torch.testing.assert_close(curvature.product(eye), dense)
    assert not curvature.block_product("idle", torch.ones(6, dtype=torch.float64)).any()
    assert not curvature.gradient[rows(model, ["idle.weight", "idle.bias"])].any()


def test_a_linear_loss_has_no_gauss_newton_curvature():
    model, (x, _, y) = network(), examples()
    curvature = Curvature(model, lambda o, t: (o * t).sum(), [(x, y)], kind="ggn")
    assert not curvature.product(torch.ones(curvature.size, dtype=torch.float64)).any()


@pytest.mark.parametrize("block", [None, "2", ["0.weight", "4.bias"]])
def test_scipy_agrees_on_the_operator(block):
    model, (x, _, y) = network(), examples()
    dense = dense_hessian(model, half_square, x, y)
    if block is not None:
        at = rows(model, ["2.weight", "2.bias"] if block == "2" else block)
        dense = dense[at][:, at]
    operator = hessian_operator(model, half_square, [(x, y)], block=block)
    assert operator.shape == dense.shape
    view = operator.to_scipy()
    assert view.dtype == np.float64
    found = eigsh(view, k=3, which="LA", return_eigenvectors=False, v0=np.ones(len(dense)))
    np.testing.assert_allclose(np.sort(found)[::-1], top(dense, 3), rtol=1e-8)
    v = torch.arange(2.0 * len(dense), dtype=torch.float64).view(-1, 2)
    torch.testing.assert_close(operator @ v, dense @ v)
    np.testing.assert_allclose(view @ v.numpy(), dense @ v)


def test_inputs_may_be_tuples_and_dicts():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor([2.0]))

        def forward(self, a, b):
            return (self.scale * (a + b))[:, None] ** 2

    a, b = torch.tensor([1.0, 2.0]), torch.tensor([3.0, -1.0])
    y = torch.zeros(2, 1)
    by_tuple = Curvature(Sum(), half_square, [((a, b), y)])
    by_dict = Curvature(Sum(), half_square, [({"a": a, "b": b}, y)])
    # the mean over a of s^4 a^4 / 2 has second derivative 6 s^2 a^4
    expected = 6 * 4 * (4.0**4 + 1) / 2
    for curvature in (by_tuple, by_dict):
        assert curvature.product(torch.ones(1)).item() == pytest.approx(expected)


def test_model_gradients_buffers_mode_and_random_state_stay():
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3)).double()
    x, _, y = examples()
    buffers = {n: b.clone() for n, b in model.named_buffers()}
    objects = dict(model.named_buffers())
    state = torch.get_rng_state()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=20)
    curvature = Curvature(model, half_square, loader)
    flat = nn.utils.parameters_to_vector(model.parameters()).detach()
    v = torch.linspace(-1, 1, curvature.size).double()
    product = curvature.product(v)
    slopes = []
    for h in (1e-5, -1e-5):
        nn.utils.vector_to_parameters(flat + h * v, model.parameters())
        slopes.append(Curvature(model, half_square, [(x, y)]).gradient)
    torch.testing.assert_close(product, (slopes[0] - slopes[1]) / 2e-5, rtol=1e-6, atol=1e-8)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training and all(p.grad is None for p in model.parameters())
    with Curvature(model, half_square, [(x, y)]):
        for name, b in model.named_buffers():
            assert b is objects[name] and torch.equal(b, buffers[name])


def test_float32_products():
    model, (x, _, y) = network(), examples()
    v = torch.ones(Curvature(model, half_square, [(x, y)]).size)
    exact = Curvature(model, half_square, [(x, y)]).product(v.double())
    single = Curvature(model.float(), half_square, [(x.float(), y.float())])
    assert single.product(v).dtype == single.gradient.dtype == torch.float32
    torch.testing.assert_close(single.product(v).double(), exact, rtol=1e-4, atol=1e-5)


def test_batch_norm_in_train_mode_wants_one_batch_and_eval_mode_any():
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)).double()
    x, _, y = examples()
    halves = [(x[:10], y[:10]), (x[10:], y[10:])]
    with pytest.raises(ModelError, match="module '1' is BatchNorm1d"):
        Curvature(model, half_square, halves)
    Curvature(model.eval(), half_square, halves)


def test_products_after_release_or_a_step_are_refused():
    model, (x, _, y) = network(), examples()
    curvature = Curvature(model, half_square, [(x, y)])
    v = torch.ones(curvature.size, dtype=torch.float64)
    with torch.no_grad():
        model[0].weight.add_(0.1)
    with pytest.raises(ModelError, match="weights changed"):
        curvature.product(v)
    curvature = Curvature(model, half_square, [(x, y)])
    with curvature:
        curvature.product(v)
    with pytest.raises(ModelError, match="released"):
        curvature.product(v)


@pytest.mark.parametrize("shape", [(3,), (3, 2), ()])
def test_vectors_of_the_wrong_length_are_refused(shape):
    model, (x, _, y) = network(), examples()
    with pytest.raises(ModelError, match=r"allowed are \(79,\)"):
        Curvature(model, half_square, [(x, y)]).product(torch.ones(shape, dtype=torch.float64))


class Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.square()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, slope):
        return 2 * slope


class Once(nn.Module):
    def forward(self, x):
        return Rounded.apply(x)


def test_what_cannot_be_differentiated_twice_is_named():
    model = nn.Sequential(nn.Linear(5, 4), Once(), nn.Linear(4, 3)).double()
    x, _, y = examples()
    with pytest.raises(ModelError, match=r"module '1' \(Once\) twice"):
        Curvature(model, half_square, [(x, y)]).product(torch.ones(39, dtype=torch.float64))


def test_unknown_kind_layer_and_block():
    model, (x, _, y) = network(), examples()
    with pytest.raises(ModelError, match='allowed are "hessian" and "ggn"'):
        Curvature(model, half_square, [(x, y)], kind="fisher")
    with pytest.raises(ModelError, match="there is no layer '7'"):
        hessian_operator(model, half_square, [(x, y)], block="7")
    with pytest.raises(ModelError, match="there is no block '0'"):
        Curvature(model, half_square, [(x, y)]).block_product("0", torch.ones(3))


def test_infinite_second_derivative_is_an_error_not_a_number():
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.zeros_(model.weight)
    with pytest.raises((ModelError, DataError), match="not finite"):
        Curvature(model, lambda o, t: o.abs().sqrt().sum(), [(torch.ones(1, 1).double(), torch.ones(1))])


@pytest.mark.parametrize("vector", [np.ones(5), torch.ones(5, dtype=torch.complex128), [1.0] * 5])
def test_what_is_no_real_tensor_is_refused(vector):
    x, _, y = examples()
    curvature = Curvature(nn.Linear(5, 1, bias=False).double(), half_square, [(x, y[:, :1])])
    with pytest.raises(ModelError, match="give a real tensor"):
        curvature.product(vector)


def test_sparse_gradients_are_refused_by_name():
    model = nn.Sequential(nn.Embedding(5, 3, sparse=True), nn.Flatten(), nn.Linear(6, 3)).double()
    with pytest.raises(ModelError, match=r"gradient of '0\.weight' is sparse"):
        Curvature(model, nn.CrossEntropyLoss(), [(torch.tensor([[0, 1], [2, 3]]), torch.tensor([0, 1]))])


class Overwrites(nn.Module):
    """Changes in place what the derivative of the exponential needs."""

    def forward(self, x):
        return x.exp().add_(1)


class Decays(nn.Module):
    """Writes into its weight whenever it is called."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(5, 3)

    def forward(self, x):
        with torch.no_grad():
            self.line.weight.mul_(0.9)
        return self.line(x)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            nn.Sequential(nn.Linear(5, 4), Overwrites(), nn.Linear(4, 3)),
            r"module '1' \(Overwrites\) overwrites",
        ),
        (
            nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.ReLU(inplace=True), nn.Linear(4, 3)),
            r"one of the modules '2' \(ReLU\) overwrites a value in place.*inplace=False",
        ),
        (Decays(), r"Decays or the loss writes into the weights \('line\.weight'\)"),
    ],
)
def test_modules_that_work_in_place_are_named(model, said):
    x, _, y = examples()
    with pytest.raises(ModelError, match=said):
        Curvature(model.double(), half_square, [(x, y)])


def test_missing_data_that_the_loss_hides_are_named():
    x, _, y = examples()
    x[3, 2] = torch.nan
    hiding = lambda o, t: (o - t).nan_to_num().square().mean()  # noqa: E731
    with pytest.raises(DataError, match="batch 0: x holds NaN"):
        Curvature(network(), hiding, [(x, y)])


def test_what_is_no_module_is_refused():
    x, _, y = examples()
    with pytest.raises(ModelError, match="the model is a function"):
        Curvature(lambda x: x, half_square, [(x, y)])
