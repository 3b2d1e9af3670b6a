"""The fast network against a plain restatement of the published one."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netassay.errors import ModelError
from netassay.nets import AITAC
from netassay.nets.sequence_cnn import correlate, greatest, pooled_lengths, saves_work, transforms


class Published(nn.Module):
    """Maslova et al. (2020) as its description says it, with the names of the authors' files; rows A, T, G, C."""

    def __init__(self, outputs, flat=1000, filters=300):
        super().__init__()
        self.layer1_conv = nn.Sequential(nn.Conv2d(1, filters, (4, 19), padding=(0, 9)), nn.ReLU())
        self.layer1_process = nn.Sequential(nn.MaxPool2d((1, 3), (1, 3), (0, 1)), nn.BatchNorm2d(filters))
        self.layer2 = self._block(filters, 200, 11)
        self.layer3 = self._block(200, 200, 7)
        self.layer4 = nn.Sequential(nn.Linear(flat, 1000), nn.ReLU(), nn.Dropout(0.03))
        self.layer5 = nn.Sequential(nn.Linear(1000, 1000), nn.ReLU(), nn.Dropout(0.03))
        self.layer6 = nn.Sequential(nn.Linear(1000, outputs))

    @staticmethod
    def _block(before, after, width):
        return nn.Sequential(
            nn.Conv2d(before, after, (1, width), padding=(0, width // 2)),
            nn.ReLU(),
            nn.MaxPool2d((1, 4), (1, 4), (0, 1)),
            nn.BatchNorm2d(after),
        )

    def forward(self, x):
        h = self.layer3(self.layer2(self.layer1_process(self.layer1_conv(x[:, None]))))
        return self.layer6(self.layer5(self.layer4(h.flatten(1))))


def dna(n, length, seed=0):
    g = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 5, (n, length), generator=g)  # 4 is an unknown base, a column of zeros
    return F.one_hot(codes, 5)[:, :, :4].transpose(1, 2).float()


def in_atgc(x):
    return x[:, [0, 3, 2, 1]]


def pair(length=251, outputs=81, filters=300):
    torch.manual_seed(1)
    published = Published(outputs, flat=200 * pooled_lengths(length)[-1], filters=filters)
    with torch.no_grad():  # statistics that are not those of a new network
        for layer in published.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_(0.1, 0.1)
                layer.running_var.uniform_(0.5, 2)
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.normal_(0, 0.1)
    mine = AITAC(outputs, length=length, n_filters=filters, generator=torch.Generator().manual_seed(0))
    mine.load_published(published.state_dict())
    return published, mine


def test_parameters_are_those_of_the_paper():
    assert sum(p.numel() for p in AITAC(81).parameters()) == 3_047_981
    assert pooled_lengths(251) == (84, 21, 5)


@pytest.mark.parametrize("length", [23, 101, 200, 250, 251, 252, 253, 600])
@pytest.mark.parametrize("batch", [1, 3])
def test_predictions_are_those_of_the_published_network(length, batch):
    published, mine = pair(length)
    x = dna(batch, length)
    with torch.no_grad():
        want = published.eval()(in_atgc(x))
        assert torch.allclose(mine.eval()(x), want, rtol=0, atol=1e-5)
        assert want.std() > 0.01


def test_training_goes_the_published_way():
    """Batch statistics, gradients of every weight, and running statistics, in double precision."""
    published, mine = pair(filters=30)
    published, mine = published.double(), mine.double()
    mine.dropout = 0.0
    for layer in published.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    x, weights = dna(6, 251).double(), torch.randn(6, 81, dtype=torch.float64)
    outputs = []
    for model, given in ((published, in_atgc(x)), (mine, x)):
        output = model.train()(given)
        (output * weights).sum().backward()
        outputs.append(output.detach())
    assert torch.allclose(*outputs, atol=1e-10)
    with torch.no_grad():
        for p in published.parameters():
            p.copy_(p.grad)
    grads = {name: p.grad.clone() for name, p in mine.named_parameters()}
    statistics = {name: t.clone() for name, t in mine.named_buffers()}
    mine.load_published(published.state_dict())
    for name, p in mine.named_parameters():
        assert torch.allclose(grads[name], p, atol=1e-9), name
    for name, t in mine.named_buffers():
        assert torch.allclose(statistics[name].double(), t.double(), atol=1e-12), name


def test_a_second_derivative_goes_through():
    mine = AITAC(2, length=40, n_filters=3, n_channels=4, n_hidden=5, generator=torch.Generator().manual_seed(0))
    mine = mine.double().eval()
    x, v = dna(3, 40).double(), torch.randn(3, 4, 19, dtype=torch.float64)
    weight = mine.convolution1.weight

    def slope(shift):
        with torch.no_grad():
            weight.add_(shift * v)
        (g,) = torch.autograd.grad(mine(x).pow(2).sum(), weight, create_graph=True)
        with torch.no_grad():
            weight.sub_(shift * v)
        return g

    (found,) = torch.autograd.grad((slope(0.0) * v).sum(), weight)
    numeric = (slope(1e-6) - slope(-1e-6)).detach() / 2e-6
    assert torch.allclose(found, numeric, atol=1e-5 * numeric.abs().max().item())


def test_bf16_is_close_and_leaves_a_float32_answer():
    _, mine = pair()
    x = dna(20, 251)
    with torch.no_grad():
        want = mine.eval()(x)
        with torch.autocast("cpu", torch.bfloat16):
            found = mine(x)
    assert found.dtype == torch.float32
    r = torch.corrcoef(torch.stack([found.flatten(), want.flatten()]))[0, 1]
    assert r > 0.999


def test_both_strands_are_averaged():
    one = AITAC(3, length=60, n_filters=8, generator=torch.Generator().manual_seed(0)).eval()
    both = AITAC(3, length=60, n_filters=8, reverse_complement=True).eval()
    both.load_state_dict(one.state_dict())
    x = dna(4, 60)
    with torch.no_grad():
        other = x.flip(2)[:, [3, 2, 1, 0]]
        assert torch.allclose(both(x), (one(x) + one(other)) / 2, atol=1e-6)
        assert torch.allclose(both(x), both(other), atol=1e-6)


@pytest.mark.parametrize("first", ["relu", "exponential"])
def test_first_layer_activations(first):
    mine = AITAC(3, length=60, n_filters=8, first_activation=first, generator=torch.Generator().manual_seed(0)).eval()
    x = dna(4, 60)
    with torch.no_grad():
        seen = mine.first_layer(x)
        assert seen.shape == (4, 8, 60)
        pooled = mine.norm1(F.max_pool1d(seen, 3, 3, 1))
        assert torch.allclose(mine.stem(x).permute(1, 2, 0), pooled, atol=1e-5)
        assert torch.equal(mine.head(mine.stem(x)), mine(x))


def test_weights_come_from_the_generator_alone():
    torch.manual_seed(0)
    one = AITAC(3, length=60, generator=torch.Generator().manual_seed(5))
    torch.manual_seed(1)
    other = AITAC(3, length=60, generator=torch.Generator().manual_seed(5))
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
    # PyTorch's law: uniform within 1 / sqrt(fan in)
    weight = one.convolution2.weight
    assert weight.abs().max() <= 3300**-0.5
    assert weight.std().item() == pytest.approx((3300**-0.5) / 3**0.5, rel=0.01)


def test_dropout_draws_from_its_own_generator():
    mine = AITAC(3, length=60, n_filters=8, dropout=0.5, generator=torch.Generator().manual_seed(0)).train()
    x = dna(50, 60)
    found = []
    for seed in (1, 1, 2):
        mine.noise = torch.Generator().manual_seed(seed)
        found.append(mine(x).detach())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    kept = mine._drop(torch.ones(400, 400))
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    assert kept.mean().item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: {**s, "layer9.weight": s["layer6.0.bias"]}, "layer9.weight"),
        (lambda s: {**s, "layer6.0.bias": s["layer6.0.bias"][:2]}, "layer6.0.bias"),
        (lambda s: {k: v for k, v in s.items() if k != "layer6.0.bias"}, "output.bias"),
        (lambda s: {**s, "layer6.0.gain": s["layer6.0.bias"]}, "gain"),
    ],
)
def test_published_weights_that_do_not_fit_are_refused_whole(change, words):
    published, mine = pair(outputs=4, filters=8)
    before = {name: t.clone() for name, t in mine.state_dict().items()}
    with torch.no_grad():
        for p in published.parameters():
            p.add_(1)
    with pytest.raises(ModelError, match=words):
        mine.load_published(change(published.state_dict()))
    assert all(torch.equal(t, before[name]) for name, t in mine.state_dict().items())


def test_sequences_of_another_length_and_too_short_ones_are_refused():
    with pytest.raises(ModelError, match=r"\(2, 4, 59\)"):
        AITAC(3, length=60)(dna(2, 59))
    with pytest.raises(ModelError, match="too short"):
        AITAC(3, length=10)


@pytest.mark.parametrize(("length", "width", "padding"), [(84, 11, 5), (21, 7, 3), (5, 11, 5), (30, 1, 0), (9, 4, 2)])
def test_correlation_by_frequencies_is_the_convolution(length, width, padding):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(length, 3, 5, generator=g, dtype=torch.float64, requires_grad=True)
    w = torch.randn(6, 5, width, generator=g, dtype=torch.float64, requires_grad=True)
    want = F.conv1d(x.permute(1, 2, 0), w, padding=padding).permute(2, 0, 1)
    positions = [0, 0, *range(len(want)), len(want) - 1]
    found = correlate(x, w, positions, padding=padding)
    assert torch.allclose(found, want[positions], atol=1e-12)
    slope = torch.randn(found.shape, generator=g, dtype=torch.float64)
    for a, b in zip(
        torch.autograd.grad(found, (x, w), slope),
        torch.autograd.grad(want[positions], (x, w), slope),
        strict=True,
    ):
        assert torch.allclose(a, b, atol=1e-12)


def test_frequencies_are_taken_where_they_save_work():
    assert len(transforms(84, 11, 5, tuple(range(84)), torch.float32, torch.device("cpu")).taps) == 140
    assert saves_work(84, 11, 84, 300, 200)
    assert not saves_work(84, 3, 84, 300, 200)
    assert not saves_work(2000, 11, 2000, 300, 200)


def test_the_greatest_of_windows_and_its_slope():
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 3, (7, 4, 5, 6), generator=g).double().requires_grad_()  # many ties
    found, slope = greatest(x), torch.randn(7, 5, 6, generator=g, dtype=torch.float64)
    want = F.max_pool1d(x.permute(2, 3, 0, 1).reshape(30, 28), 4).T.view(7, 5, 6)
    assert torch.equal(found, want)
    assert torch.equal(*(torch.autograd.grad(y, x, slope)[0] for y in (found, want)))
    assert torch.equal(greatest(x.detach()), want.detach())
