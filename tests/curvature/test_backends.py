"""Attention as torch and transformers ship it has the curvature of its math, and every flag of torch stays."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

import netassay
from netassay.curvature.curvature import Curvature
from netassay.curvature.model import plain_backends
from netassay.errors import ModelError


def flags():
    cuda = torch.backends.cuda
    return (
        cuda.flash_sdp_enabled(),
        cuda.mem_efficient_sdp_enabled(),
        cuda.math_sdp_enabled(),
        cuda.cudnn_sdp_enabled(),
        torch._C._get_sdp_priority_order(),
        torch.backends.mha.get_fastpath_enabled(),
        torch.is_grad_enabled(),
    )


@pytest.fixture(autouse=True)
def _flags_stay():
    before = flags()
    yield
    assert flags() == before


def dense(model, value):
    """The Hessian of value(model) by central differences of its gradient; torch.func's is wrong through layer norm."""
    weights = list(model.parameters())
    start = nn.utils.parameters_to_vector(weights).detach().clone()

    def gradient(at):
        nn.utils.vector_to_parameters(at, weights)
        return torch.cat([g.reshape(-1) for g in torch.autograd.grad(value(model), weights)])

    steps = 1e-5 * torch.eye(len(start), dtype=start.dtype)
    rows = torch.stack([gradient(start + step) - gradient(start - step) for step in steps])
    nn.utils.vector_to_parameters(start, weights)
    return rows / 2e-5


CLOSE = {"rtol": 1e-6, "atol": 1e-8}


class Attention(nn.Module):
    def __init__(self, causal=True):
        super().__init__()
        self.qkv, self.causal = nn.Linear(4, 12), causal

    def forward(self, x):
        n, t, _ = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, 2, 2).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v, is_causal=self.causal).transpose(1, 2).reshape(n, t, 4)


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.heads = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        return self.heads(x, x, x, need_weights=False)[0]


def layer():
    # without kinks, since the truth is by differences
    return nn.TransformerEncoderLayer(4, 2, 3, dropout=0.0, batch_first=True, activation=F.gelu)


class Masked(nn.Module):
    """The fast path of the encoder cuts padded positions off, which other passes keep."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.TransformerEncoder(layer(), 1)

    def forward(self, x):
        hidden = x[..., 0] > 1.0
        hidden[:, 0] = False
        return self.encoder(x, src_key_padding_mask=hidden).masked_fill(hidden[..., None], 0.0)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("make", [Attention, Heads, layer, Masked])
def test_attention_of_torch_is_that_of_the_dense_hessian(make, train):
    torch.manual_seed(0)
    model = make().double().train(train)
    x, y = torch.randn(2, 6, 3, 4).double().unbind()
    truth = dense(model, lambda m: F.mse_loss(m(x), y))
    curvature = Curvature(model, nn.MSELoss(), [(x, y)])
    eye = torch.eye(curvature.size, dtype=torch.float64)
    torch.testing.assert_close(curvature.product(eye), truth, **CLOSE)
    ggn = Curvature(model, nn.MSELoss(), [(x[:2], y[:2]), (x[2:], y[2:])], kind="ggn")
    torch.testing.assert_close(ggn.gradient, curvature.gradient)
    assert model.training is train


def test_a_backend_that_was_chosen_outside_stays_chosen():
    model, x = Attention(), torch.ones(2, 3, 4)
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION]):
        before = flags()
        netassay.sharpness(model, nn.MSELoss(), [(x, x)])
        assert flags() == before
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION]), pytest.raises(ModelError):
        netassay.sharpness(model, nn.MSELoss(reduction="none"), [(x, x)])


def test_the_flags_are_put_back_after_an_error():
    before = flags()
    with pytest.raises(KeyError), plain_backends():
        assert torch.backends.cuda.math_sdp_enabled() and not torch.backends.cuda.flash_sdp_enabled()
        assert not torch.backends.mha.get_fastpath_enabled()
        raise KeyError
    assert flags() == before


class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.exp()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, slope):
        return slope


class Once(nn.Module):
    def forward(self, x):
        return Wrong.apply(x)


class InItself(nn.Module):
    """The function that fails is in the forward pass of a module that has children."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(8, 8)

    def forward(self, x):
        return Wrong.apply(self.line(x))


class Tied(nn.Module):
    def __init__(self, between):
        super().__init__()
        self.embed, self.between = nn.Embedding(10, 8), between
        self.lm_head = nn.Linear(8, 10, bias=False)
        self.lm_head.weight = self.embed.weight

    def forward(self, i):
        return self.lm_head(self.between(self.embed(i))).transpose(1, 2)


@pytest.mark.parametrize(
    ("between", "named"),
    [
        (Once(), r"module 'between' \(Once\)"),
        (nn.Sequential(nn.Linear(8, 8), Once()), r"module 'between.1' \(Once\)"),
        (InItself(), r"module 'between' \(InItself\)"),
    ],
)
def test_with_tied_weights_the_culprit_is_named_and_not_who_shares_its_weight(between, named):
    torch.manual_seed(0)
    i = torch.randint(10, (6, 5))
    with pytest.raises(ModelError, match=named):
        netassay.sharpness(Tied(between), F.cross_entropy, [(i, i)])


def test_tied_weights_around_attention():
    torch.manual_seed(0)
    model, i = (
        Tied(nn.TransformerEncoderLayer(8, 2, 3, 0.0, F.gelu, batch_first=True)).double(),
        torch.arange(9),
    )
    batches = [(i[:3][None], i[3:6][None]), (i[6:][None], i[:3][None])]
    curvature = Curvature(model, F.cross_entropy, batches)
    truth = dense(model, lambda m: sum(F.cross_entropy(m(x), y) for x, y in batches) / 2)
    v = torch.linspace(-1, 1, curvature.size, dtype=torch.float64)
    torch.testing.assert_close(curvature.product(v), truth @ v, **CLOSE)


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)).double()


def in_place(model):
    model.compile(backend="aot_eager")
    return model


def one_layer(model):
    model[0] = torch.compile(model[0], backend="aot_eager")
    return model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "compiled",
    [lambda m: torch.compile(m, backend="aot_eager"), in_place, one_layer],
    ids=["whole", "in place", "layer"],
)
def test_a_compiled_model_is_the_module_that_was_compiled(compiled):
    model = mlp()
    x, y = torch.randn(20, 6).double(), torch.randint(4, (20,))
    plain = netassay.sharpness(copy.deepcopy(model), F.cross_entropy, [(x, y)], blocks="layer")
    quick = compiled(model)
    quick(x)  # compiled by now
    loss = torch.compile(F.cross_entropy, backend="aot_eager")
    found = netassay.sharpness(quick, loss, [(x[:5], y[:5]), (x[5:], y[5:])], blocks="layer")
    torch.testing.assert_close(found.values, plain.values)
    assert len(found.blocks) == len(plain.blocks)
    names = [f"_orig_mod.{n}" for n, _ in model.named_parameters()]
    if compiled not in (in_place, one_layer):
        assert netassay.sharpness(quick, loss, [(x, y)], blocks={"all": names}).blocks["all"].products


def test_what_was_compiled_still_runs_compiled():
    model = mlp()
    calls = []

    def backend(graph, inputs):
        calls.append(graph)
        return graph.forward

    quick = torch.compile(model, backend=backend)
    x, y = torch.randn(20, 6).double(), torch.randint(4, (20,))
    quick(x)
    before = len(calls)
    netassay.sharpness(quick, F.cross_entropy, [(x, y)])
    assert len(calls) == before
    quick(torch.randn(3, 6).double())
    quick(torch.randn(7, 6).double())
    assert len(calls) > before


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_a_lazy_module_is_to_be_materialised_first():
    model = nn.Sequential(nn.LazyLinear(8), nn.Tanh(), nn.Linear(8, 4))
    x, y = torch.randn(20, 6), torch.randint(4, (20,))
    for blocks in (None, "layer", {"one": ["2.bias"]}):
        with pytest.raises(ModelError, match=r"module '0' is a lazy LazyLinear.*materialise the lazy module first"):
            netassay.sharpness(model, F.cross_entropy, [(x, y)], blocks=blocks)
    model(x)
    netassay.sharpness(model, F.cross_entropy, [(x, y)])


def test_dropout_within_attention_and_recurrent_networks_is_named():
    x = torch.ones(2, 3, 4)
    for module in (nn.TransformerEncoderLayer(4, 2, 3, dropout=0.0, batch_first=True), Heads()):
        heads = module.self_attn if hasattr(module, "self_attn") else module.heads
        heads.dropout = 0.1
        with pytest.raises(ModelError, match=r"is MultiheadAttention with dropout 0.1 in train mode"):
            netassay.sharpness(module, nn.MSELoss(), [(x, x)])
        netassay.sharpness(module.eval(), nn.MSELoss(), [(x, x)])


class Checkpointed(nn.Module):
    """Its forward pass is run again in the backward one, and so in every product."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return checkpoint(self.inner, x, use_reentrant=False)


@pytest.mark.parametrize("kind", ["hessian", "ggn"])
def test_checkpointed_attention(kind):
    torch.manual_seed(0)
    inner, x = Attention().double(), torch.randn(3, 4, 4).double()
    plain = Curvature(inner, nn.MSELoss(), [(x, x)], kind=kind)
    again = Curvature(Checkpointed(inner), nn.MSELoss(), [(x, x)], kind=kind)
    v = torch.linspace(-1, 1, plain.size, dtype=torch.float64)
    torch.testing.assert_close(again.product(v), plain.product(v))
    torch.testing.assert_close(again.product(2 * v), plain.product(2 * v))
