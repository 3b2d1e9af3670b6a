"""Contributions of bases: closed forms of a linear network, completeness, agreement with another library."""

import sys
import warnings

import pytest
import torch
import torch.nn.functional as F
from small_networks import network, sequences
from torch import nn

from netassay.dna.attributions.contributions import METHODS, attribute
from netassay.dna.network.forms import plain
from netassay.errors import ExtraMissing, ModelError
from netassay.formats.bases import UNKNOWN, one_hot, reverse_complement


def linear(length=11, outputs=2):
    torch.manual_seed(2)
    return nn.Sequential(nn.Flatten(), nn.Linear(4 * length, outputs))


@pytest.mark.parametrize("method", METHODS)
def test_a_linear_network_has_its_weights_up_to_a_constant_a_place(method):
    model, codes = linear(), sequences(3, 11, letters=5)
    weight = model[1].weight.detach()[1].view(4, 11)
    found = attribute(model, codes, method, output=1, references=3, steps=2)
    # centred over the bases, all methods give the centred weights
    assert torch.allclose(
        found.hypothetical - found.hypothetical.mean(1, keepdim=True),
        (weight - weight.mean(0)).expand(3, 4, 11),
        atol=1e-5,
    )
    if method in ("gradient", "mutagenesis"):
        assert found.hypothetical.mean(1).abs().max() < 1e-6
        own = ((weight - weight.mean(0)) * one_hot(codes)).sum(1)
        assert torch.allclose(found.actual, own, atol=1e-5)
        assert found.error is None
    else:
        assert found.error.abs().max() < 1e-5
        assert torch.allclose(found.actual.sum(1), found.difference, atol=1e-5)
    assert (found.actual[codes == UNKNOWN] == 0).all()


@pytest.mark.parametrize("keywords", [{}, {"first_activation": "exponential"}, {"reverse_complement": True}])
def test_the_plain_form_gives_the_same_outputs(keywords):
    model, codes = network(62, **keywords).eval(), sequences(5, 62, letters=5)
    assert torch.allclose(plain(model)(one_hot(codes)), model(one_hot(codes)), atol=1e-6)
    forms = {type(layer) for layer in plain(model).modules()}
    assert nn.MaxPool1d in forms


@pytest.mark.parametrize("keywords", [{}, {"first_activation": "exponential"}, {"reverse_complement": True}])
def test_deepshap_is_complete(keywords):
    model, codes = network(62, **keywords), sequences(4, 62, letters=5)
    found = attribute(model, codes, "deepshap", output=0, references=4)
    assert found.error.abs().max() < 1e-4 * found.difference.abs().mean()
    again = attribute(model, codes, "deepshap", output=0, references=4)
    assert torch.equal(found.hypothetical, again.hypothetical)


def test_integrated_gradients_come_closer_with_steps():
    model, codes = network(62, first_activation="exponential"), sequences(4, 62)
    missed = [
        attribute(model, codes, "integrated_gradients", output=0, references=3, steps=steps, tolerance=9.0)
        .error.abs()
        .mean()
        for steps in (2, 100)
    ]
    assert missed[1] < missed[0] / 5
    with pytest.raises(ModelError, match="take more steps"):
        attribute(model, codes, "integrated_gradients", output=0, references=3, steps=1, tolerance=1e-6)


def test_deepshap_agrees_with_captum():
    captum = pytest.importorskip("captum.attr")
    from netassay.dna.atlas.atlas import shuffle_dinucleotides
    from netassay.numerics.devices import generator

    # no pooling: there captum's rule is not complete (it misses a padded pool by as much as is explained)
    torch.manual_seed(4)
    model = nn.Sequential(nn.Conv1d(4, 6, 5), nn.ReLU(), nn.Flatten(), nn.Linear(156, 9), nn.ReLU(), nn.Linear(9, 2))
    codes = sequences(2, 30)
    found = attribute(model, codes, "deepshap", output=1, references=3)
    draws = generator(0, "attribute")
    references = torch.stack([shuffle_dinucleotides(codes, draws) for _ in range(3)], 1)
    explain = captum.DeepLiftShap(model)
    for row in range(2):
        x = one_hot(codes[row : row + 1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = explain.attribute(x, one_hot(references[row]), target=1).detach()
        assert torch.allclose(theirs[0].sum(0), found.actual[row], atol=1e-6)
    assert found.actual.abs().max() > 0.01


class Functional(nn.Module):
    """A nonlinearity that no rule can be hung on."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(4 * 12, 20), nn.Linear(20, 1)

    def forward(self, x):
        return self.second(F.relu(self.first(x.flatten(1))))


def test_a_network_whose_nonlinearities_are_no_modules_is_refused_by_deepshap_alone():
    codes = sequences(6, 12)
    with pytest.raises(ModelError, match=r"function call \(such as F\.relu\)"):
        attribute(Functional(), codes, "deepshap", references=3)
    assert attribute(Functional(), codes, "integrated_gradients", references=3, steps=100).error is not None


@pytest.mark.parametrize("method", METHODS)
def test_both_strands_are_the_same_from_either(method):
    model, codes = network(40), sequences(2, 40)
    keywords = {"output": 1, "both_strands": True, "references": 2, "steps": 5, "tolerance": 9.0}
    here = attribute(model, codes, method, **keywords)
    there = attribute(model, reverse_complement(codes), method, **keywords)
    if method in ("gradient", "mutagenesis"):
        assert torch.allclose(here.hypothetical, there.hypothetical.flip(1, 2), atol=1e-6)
    else:
        # other shuffles; the explained number is the same
        assert here.hypothetical.shape == there.hypothetical.shape
    assert model.training


def test_the_gradient_is_that_of_the_forward_pass():
    model, codes = network(40).eval(), sequences(2, 40)
    x = one_hot(codes).requires_grad_()
    model(x)[:, 2].sum().backward()
    wanted = x.grad - x.grad.mean(1, keepdim=True)
    found = attribute(model, codes, "gradient", output=2)
    assert torch.allclose(found.hypothetical, wanted, atol=1e-7)
    fresh = network(40)
    attribute(fresh, codes, "gradient", output=2)
    assert all(values.grad is None and values.requires_grad for values in fresh.parameters())


def test_what_cannot_be_done_is_reported(monkeypatch):
    model, codes = network(40), sequences(1, 40)
    with pytest.raises(ModelError, match="3 outputs and none is named"):
        attribute(model, codes)
    with pytest.raises(ModelError, match="allowed are gradient"):
        attribute(model, codes, "saliency", output=0)
    monkeypatch.setitem(sys.modules, "tangermeme", None)
    with pytest.raises(ExtraMissing, match=r"netassay\[attributions\]"):
        attribute(model, codes, "deepshap", output=0)


def test_modules_that_write_over_their_input_are_explained_and_left_as_found():
    def made(inplace):
        torch.manual_seed(3)
        return nn.Sequential(
            nn.Conv1d(4, 8, 5), nn.ReLU(inplace=inplace), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(8, 1)
        )

    codes, model = sequences(3, 40), made(True)
    found = attribute(model, codes, "deepshap", references=3)
    torch.testing.assert_close(found.hypothetical, attribute(made(False), codes, "deepshap", references=3).hypothetical)
    assert model[1].inplace


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        (nn.LSTM(8, 4, batch_first=True), r"'1\.inner' \(LSTM\); take integrated_gradients"),
        (
            nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
            r"'1\.inner\.self_attn' \(MultiheadAttention\)",
        ),
    ],
)
def test_modules_without_a_rule_are_named(inner, words):
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.head = inner, nn.Linear(4 if isinstance(inner, nn.LSTM) else 8, 1)

        def forward(self, x):
            seen = self.inner(x.transpose(1, 2))
            return self.head((seen[0] if isinstance(seen, tuple) else seen).mean(1))

    model = nn.Sequential(nn.Conv1d(4, 8, 5), Last())
    with pytest.raises(ModelError, match=words):
        attribute(model, sequences(2, 30), "deepshap", references=2)
    assert attribute(model, sequences(2, 30), "integrated_gradients", references=2).error.abs().max() < 1e-2
