"""Influence: the fast way against whole passes, known networks against closed forms, the null against all orders."""

from itertools import permutations

import pytest
import torch
from plain_aitac import PlainAITAC, random_aitac
from torch import nn

from netassay import influence
from netassay.dna.influence.ablation import Ablation
from netassay.dna.network.network import pearson_rows
from netassay.errors import DataError, ModelError
from netassay.formats.bases import one_hot

SIZES = {"n_filters": 9, "n_channels": 12, "n_hidden": 14}


def draws(seed=1):
    return torch.Generator().manual_seed(seed)


def random_codes(n, length, seed=1):
    return torch.randint(0, 5, (n, length), generator=draws(seed), dtype=torch.uint8)


def without(model, x, chosen, fill):
    """Every filter's mean over the peaks at the same place (or `fill`) for those chosen, then all the rest again."""
    h = model.stem(x)
    mean = h.mean(1) if fill is None else fill
    h[:, :, list(chosen)] = mean[:, None, list(chosen)]
    return model.head(h)


@pytest.mark.parametrize("activation", ["relu", "exponential"])
@pytest.mark.parametrize(("length", "peaks"), [(251, 5), (200, 23), (101, 3)])
def test_the_fast_way_equals_whole_passes(activation, length, peaks):
    # 251 with 40 channels goes by frequencies, the others directly
    sizes = SIZES | ({"n_channels": 40, "n_filters": 30} if length == 251 else {})
    model = random_aitac(3, length=length, first_activation=activation, **sizes)
    codes, heights = random_codes(peaks, length), torch.rand(peaks, 3, generator=draws())
    sets = [(0,), (8,), (1, 4), (2, 3, 5)]
    found = influence(model, codes, heights, sets=sets, batch=1 if peaks == 3 else 10)
    with torch.inference_mode():
        x = one_hot(codes)
        whole = model(x)
        for i, chosen in enumerate(sets):
            lost = without(model, x, chosen, None)
            change = pearson_rows(whole, heights) - pearson_rows(lost, heights)
            assert torch.allclose(found.change[:, i].double(), change, atol=1e-5)
            assert found.overall[i] == pytest.approx(float(change.square().mean()), abs=1e-5)
            assert found.overall_signed[i] == pytest.approx(float(change.mean()), abs=1e-5)
            assert torch.allclose(found.by_output[i].float(), (lost - whole).square().mean(0), atol=1e-5)
            assert torch.allclose(found.by_output_signed[i].float(), (whole - lost).mean(0), atol=1e-5)
            assert (lost - whole).abs().max() > 2e-3, "nothing to compare"


@pytest.mark.parametrize("activation", ["relu", "exponential"])
def test_any_module_gives_what_the_fast_way_gives(activation):
    model = random_aitac(4, length=101, first_activation=activation, **SIZES)
    codes, heights = random_codes(12, 101), torch.rand(12, 4, generator=draws())
    for words in ({}, {"both_strands": True}, {"fill": "zero"}):
        fast = influence(model, codes, heights, **words)
        slow = influence(PlainAITAC(model), one_hot(codes), heights, layer="norm1", batch=5, **words)
        for name in (
            "overall",
            "overall_signed",
            "null_overall",
            "null_signed",
            "by_output",
            "by_output_signed",
            "change",
        ):
            assert torch.allclose(getattr(fast, name), getattr(slow, name), atol=1e-5), name
        assert torch.allclose(fast.agreement, slow.agreement, atol=1e-3)
        if activation == "relu":
            turned = torch.where(model.norm1.weight < 0, -1, 1)[:, None]  # the fast way knows what an activation is
            assert torch.allclose(fast.direction, slow.direction * turned, atol=1e-3)


def test_over_both_strands_outputs_and_what_is_filled_in_are_means():
    model = random_aitac(4, length=101, **SIZES)
    averaged = random_aitac(4, length=101, reverse_complement=True, **SIZES)
    codes = random_codes(12, 101)
    found = influence(model, codes, both_strands=True, batch=5)
    assert torch.equal(influence(averaged, codes, batch=5).by_output, found.by_output)
    with torch.inference_mode():
        x = one_hot(codes)
        lost = without(model, torch.cat([x, x.flip(1, 2)]), (3,), None).view(2, 12, 4).mean(0)
        assert torch.allclose(found.by_output[3].float(), (lost - averaged(x)).square().mean(0), atol=1e-5)
        assert (lost - averaged(x)).abs().max() > 2e-3


def test_the_published_fill_is_the_mean_activation_before_pooling_and_norm():
    model = random_aitac(3, length=101, **SIZES)
    codes = random_codes(12, 101)
    found = influence(model, codes, fill="published", batch=5)
    with torch.inference_mode():
        x = one_hot(codes)
        fill = model.first_layer(x).mean((0, 2)).expand(34, -1)
        lost = torch.stack([without(model, x, (f,), fill) for f in range(9)])
        assert torch.allclose(found.by_output.float(), (lost - model(x)).square().mean(1), atol=1e-5)


class Counts(nn.Module):
    """Additive by hand: output c is the sum over letters of weight_c,letter x how often the letter is there."""

    def __init__(self, weights):
        super().__init__()
        self.letters = nn.Conv1d(4, 4, 1, bias=False)
        self.letters.weight.data = torch.eye(4)[:, :, None]
        self.weights = nn.Parameter(torch.tensor(weights))

    def forward(self, x):
        return self.letters(x).sum(2) @ self.weights.T


def test_influence_of_an_additive_network_is_weight_squared_times_variance():
    weights = [[2.0, 0.0, -1.0, 0.5], [0.0, 3.0, 0.0, 1.0], [1.0, 1.0, 0.0, 0.0]]
    model, codes = Counts(weights), random_codes(200, 30)
    x = one_hot(codes)
    heights = torch.rand(200, 3, generator=draws())
    found = influence(model, x, heights, layer="letters")
    counts = x.sum(2)
    w = torch.tensor(weights)
    variance = counts.double().var(0, correction=0)
    assert torch.allclose(found.by_output, w.T.double().square() * variance[:, None], rtol=1e-4, atol=1e-6)
    # the mean is put in its place, so signed effects cancel over the peaks; the direction stays
    assert found.by_output_signed.abs().max() < 1e-4
    assert torch.allclose(found.direction.nan_to_num(0), w.T.sign().double(), atol=1e-4)
    assert found.direction.isnan().equal(w.T == 0)
    filled_with_nought = influence(model, x, layer="letters", fill="zero")
    assert torch.allclose(filled_with_nought.by_output_signed, (w.T * counts.mean(0)[:, None]).double(), atol=1e-4)


def test_the_null_is_the_mean_over_all_orders_of_the_peaks():
    model = random_aitac(4, length=101, **SIZES)
    codes, heights = random_codes(5, 101), torch.rand(5, 4, generator=draws())
    found = influence(model, codes, heights)
    with torch.inference_mode():
        x = one_hot(codes)
        whole, lost = model(x), [without(model, x, (f,), None) for f in range(9)]
    signed, squared = [], []
    for order in permutations(range(5)):
        other = heights[list(order)]
        change = torch.stack([pearson_rows(whole, other) - pearson_rows(y, other) for y in lost])
        signed.append(change.mean(1))
        squared.append(change.square().mean(1))
    signed, squared = torch.stack(signed), torch.stack(squared)
    assert torch.allclose(found.null_signed, signed.mean(0), atol=1e-6)
    assert torch.allclose(found.null_overall, squared.mean(0), atol=1e-6)
    z = (found.overall_signed - signed.mean(0)) / signed.std(0, correction=0)
    assert torch.allclose(found.z, z, rtol=1e-3, atol=1e-3)


def test_agreement_is_the_correlation_of_loss_and_height():
    model, codes = random_aitac(4, length=101, **SIZES), random_codes(30, 101)
    heights = torch.rand(30, 4, generator=draws())
    found = influence(model, codes, heights, batch=7)
    with torch.inference_mode():
        x = one_hot(codes)
        loss = model(x) - without(model, x, (3,), None)
    want = pearson_rows(loss.T, (heights - heights.mean(1, keepdim=True)).T)
    assert torch.allclose(found.agreement[3], want, atol=1e-4)


def test_dead_filters_have_no_influence_and_no_null():
    model = random_aitac(4, length=101, **SIZES)
    with torch.no_grad():
        model.convolution1.bias[2] = -100.0
        model.convolution2.weight[:, 5] = 0.0
    codes, heights = random_codes(12, 101), torch.rand(12, 4, generator=draws())
    found = influence(model, codes, heights)
    for f in (2, 5):
        assert found.overall[f] == 0
        assert found.by_output[f].eq(0).all()
        assert found.z[f].isnan()
        assert found.direction[f].isnan().all()
    assert found.overall[[0, 1, 3, 4, 6, 7, 8]].gt(0).all()


def test_constant_rows_are_left_out_and_counted():
    model, codes = random_aitac(4, length=101, **SIZES), random_codes(12, 101)
    heights = torch.rand(12, 4, generator=draws())
    heights[[1, 7]] = 0.5
    found = influence(model, codes, heights, batch=5)
    kept = [i for i in range(12) if i not in (1, 7)]
    assert found.undefined == 2
    assert found.change[[1, 7]].isnan().all()
    assert torch.allclose(found.overall, found.change[kept].double().square().mean(0), rtol=1e-4)
    assert found.by_output.isfinite().all()


class Gate(nn.Module):
    """Outputs differ only by the count of A: without it r is not defined."""

    def __init__(self):
        super().__init__()
        self.letters = nn.Conv1d(4, 4, 1, bias=False)
        self.letters.weight.data = torch.eye(4)[:, :, None]

    def forward(self, x):
        counts = self.letters(x).sum(2)
        return torch.stack([counts[:, 0], torch.zeros(len(x)), counts[:, 0] * 2], 1)


def test_a_correlation_that_ends_with_a_filter_is_counted():
    codes = random_codes(20, 30)
    codes[:, 0] = 0
    found = influence(Gate(), one_hot(codes), torch.rand(20, 3, generator=draws()), layer="letters", fill="zero")
    assert found.undefined_without.tolist() == [20, 0, 0, 0]
    assert found.overall[0].isnan()
    assert found.overall[1] == 0


def test_one_output_has_no_correlation_but_an_influence():
    model, codes = random_aitac(1, length=101, **SIZES), random_codes(6, 101)
    found = influence(model, codes, torch.rand(6, 1))
    assert found.undefined == 6
    assert found.overall.isnan().all()
    assert found.by_output.gt(0).any()


def test_bfloat16_ranks_as_float32_does():
    model = random_aitac(4, length=200, **SIZES | {"n_filters": 30})
    codes, heights = random_codes(20, 200), torch.rand(20, 4, generator=draws())
    exact, fast = (influence(model, codes, heights, precision=p) for p in (torch.float32, torch.bfloat16))
    ranks = [found.by_output.mean(1).argsort().argsort().double() for found in (exact, fast)]
    assert pearson_rows(ranks[0][None], ranks[1][None]) > 0.9


def test_the_model_is_left_as_it_was():
    model = PlainAITAC(random_aitac(4, length=101, **SIZES)).train()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    influence(model, random_codes(4, 101), layer="norm1")
    assert model.training
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert not model.norm1._forward_hooks


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"layer": "norm9"}, "has no module of that name"),
        ({}, "name the layer"),
        ({"layer": "hidden1", "sets": [(99,)]}, "from 0 to 13"),
        ({"layer": "norm1", "fill": "published"}, "choose 'mean' or 'zero'"),
        ({"layer": "norm1", "fill": "median"}, "allowed are mean, zero and published"),
        ({"layer": "norm1", "sets": [()]}, "one or more different numbers"),
        ({"layer": "norm1", "names": ["a"]}, "1 names for 9 sets"),
        ({"layer": "norm1", "heights": torch.rand(3, 4)}, "for 4 sequences"),
        ({"layer": "norm1", "heights": torch.rand(4, 3)}, "4 outputs"),
    ],
)
def test_what_cannot_be_done_is_said(words, message):
    model = PlainAITAC(random_aitac(4, length=101, **SIZES))
    with pytest.raises((DataError, ModelError), match=message):
        influence(model, random_codes(4, 101), **words)


def test_sequences_of_another_length_or_none_are_refused():
    model = random_aitac(4, length=101, **SIZES)
    with pytest.raises(ModelError, match="takes 101"):
        influence(model, random_codes(4, 100))
    with pytest.raises(DataError, match="no sequences"):
        influence(model, random_codes(0, 101))
    with pytest.raises(ModelError, match="leave the"):
        influence(model, random_codes(4, 101), layer="norm1")
    with pytest.raises(ModelError, match="does not call layer 'idle'"):
        Ablation(Idle(), random_codes(4, 101), layer="idle")


class Idle(Gate):
    def __init__(self):
        super().__init__()
        self.idle = nn.Conv1d(4, 4, 1)
