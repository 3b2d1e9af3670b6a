"""The activation of a convolution is read behind the norm and the activation that follow it, however written."""

import pytest
import torch
import torch.nn.functional as F
from small_networks import draws, sequences
from torch import nn

from netassay.dna.influence.singles import influence
from netassay.dna.motifs.filters import filter_motifs
from netassay.dna.network.layers import activations
from netassay.formats.bases import one_hot

LENGTH, FILTERS = 60, 4


class Base(nn.Module):
    """Convolution, something, mean over places, a linear layer; the norm turns two of four filters round."""

    def __init__(self, kind=nn.Conv1d):
        super().__init__()
        torch.manual_seed(0)
        if kind is nn.Conv1d:
            self.conv, self.norm = nn.Conv1d(4, FILTERS, 7, padding=3), nn.BatchNorm1d(FILTERS)
        else:
            self.conv, self.norm = nn.Conv2d(1, FILTERS, (4, 7), padding=(0, 3)), nn.BatchNorm2d(FILTERS)
        self.relu, self.pool, self.head = nn.ReLU(), nn.MaxPool1d(5), nn.Linear(FILTERS, 3)
        with torch.no_grad():
            self.norm.weight.copy_(torch.tensor([1.0, -1.0, 0.7, -2.0]))
            self.norm.bias.copy_(torch.tensor([0.1, -0.2, 0.0, 0.3]))
            self.norm.running_mean.copy_(torch.tensor([0.1, 0.0, -0.1, 0.2]))
            self.norm.running_var.copy_(torch.tensor([0.5, 1.5, 1.0, 0.8]))

    def active(self, x):
        raise NotImplementedError

    def forward(self, x):
        return self.head(self.pool(self.active(x)).mean(2))


class Modules(Base):
    def active(self, x):
        return self.relu(self.norm(self.conv(x)))


class Functions(Base):
    def active(self, x):
        norm = self.norm
        found = F.batch_norm(self.conv(x), norm.running_mean, norm.running_var, norm.weight, norm.bias, False)
        return F.relu(found)


class Methods(Base):
    def active(self, x):
        found = self.norm(self.conv(x))
        assert found.shape[1] == FILTERS  # looking at a shape is no step
        return F.dropout(found, 0.5, self.training).relu_()


class Image(Base):
    def __init__(self):
        super().__init__(nn.Conv2d)

    def active(self, x):
        return self.relu(self.norm(self.conv(x[:, None]))).squeeze(2)


class Curved(Base):
    def active(self, x):
        return F.gelu(self.norm(self.conv(x)))


class Published(Base):
    """AI-TAC's order: activation, then norm."""

    def forward(self, x):
        return self.head(self.norm(self.pool(self.relu(self.conv(x)))).mean(2))

    def active(self, x):
        return self.relu(self.conv(x))


class NormLater(Base):
    """The norm directly, ReLU after pooling: the two commute."""

    def forward(self, x):
        return self.head(self.relu(self.pool(self.norm(self.conv(x)))).mean(2))

    def active(self, x):
        return self.norm(self.conv(x)).relu()


ORDERS = [Modules, Functions, Methods, Image, Curved, Published, NormLater]


@pytest.mark.parametrize("kind", ORDERS)
def test_activations_are_those_of_a_forward_pass(kind):
    model, x = kind().eval(), sequences(7, LENGTH)
    with torch.no_grad():
        want = model.active(one_hot(x))
    torch.testing.assert_close(activations(model, x, "conv"), want)


@pytest.mark.parametrize("kind", ORDERS)
def test_sites_are_counted_where_the_filter_is_active(kind):
    model, x = kind().eval(), sequences(50, LENGTH)
    with torch.no_grad():
        active = model.active(one_hot(x))
    want = (active > active.amax((0, 2), keepdim=True).clamp(min=0) / 2).sum((0, 2))
    assert filter_motifs(model, x, "conv").sites.tolist() == want.tolist()


def test_a_given_activation_follows_the_norm():
    model, x = Modules().eval(), sequences(5, LENGTH)
    with torch.no_grad():
        want = torch.exp(model.norm(model.conv(one_hot(x))))
    torch.testing.assert_close(activations(model, x, "conv", activation=torch.exp), want)


@pytest.mark.parametrize("kind", [Modules, Functions, Methods, Image, Curved])
def test_a_convolution_is_left_out_where_its_filters_answer(kind):
    """By hand: the activation at its mean place by place, a linear network behind it."""
    model, x = kind().eval(), sequences(20, LENGTH)
    found = influence(model, x, torch.rand(20, 3, generator=draws()), layer="conv")
    with torch.no_grad():
        active = model.active(one_hot(x))
        whole = model.head(model.pool(active).mean(2))
        for f in range(FILTERS):
            without = active.clone()
            without[:, f] = active[:, f].mean(0)
            loss = whole - model.head(model.pool(without).mean(2))
            torch.testing.assert_close(found.by_output[f].float(), loss.square().mean(0), rtol=1e-3, atol=1e-8)
            removed = (active[:, f] - active[:, f].mean(0)).sum(1)
            r = torch.corrcoef(torch.stack([removed, *loss.T]))[0, 1:]
            torch.testing.assert_close(found.direction[f].float(), r, rtol=1e-3, atol=1e-4)


def test_nothing_follows_where_nothing_is_called():
    """A convolution whose output goes straight into a linear layer is read at its output, ReLU behind it as ever."""
    model = nn.Sequential(nn.Conv1d(4, 3, 5), nn.Flatten(), nn.Linear(3 * (LENGTH - 4), 2)).eval()
    x = sequences(4, LENGTH)
    with torch.no_grad():
        assert torch.allclose(activations(model, x, "0"), model[0](one_hot(x)).relu())
