"""Effects of single-base changes against one whole forward pass a mutant, and against closed forms."""

import pytest
import torch
from small_networks import draws, network, sequences
from torch import nn

from netassay.dna.attributions.saturation import Reach, mutagenesis
from netassay.dna.network.network import contrast, readout
from netassay.errors import DataError, ModelError
from netassay.formats.bases import UNKNOWN, one_hot, reverse_complement


@torch.no_grad()
def brute(model, codes):
    """The definition: every base at every place, one forward pass each, in float64."""
    model.eval().double()
    reference = model(one_hot(codes).double())
    effects = torch.zeros(len(codes), 4, codes.shape[1], reference.shape[1], dtype=torch.float64)
    for base in range(4):
        for place in range(codes.shape[1]):
            mutant = codes.clone()
            mutant[:, place] = base
            effects[:, base, place] = model(one_hot(mutant).double()) - reference
    model.float()
    return reference, effects


@pytest.mark.parametrize(
    ("length", "keywords"),
    [
        (23, {}),  # two windows after the second pooling, one after the third
        (62, {"first_activation": "exponential"}),
        (63, {"reverse_complement": True}),
        (70, {}),
    ],
)
def test_equals_a_forward_pass_a_mutant(length, keywords):
    model, codes = network(length, **keywords), sequences(3, length, letters=5)
    reference, effects = brute(model, codes)
    found = mutagenesis(model, codes)
    size = effects.abs().max()
    assert (found.effects - effects).abs().max() < 1e-5 * size
    assert (found.reference - reference).abs().max() < 1e-5 * reference.abs().max()
    assert (found.mutants - (reference[:, None, None] + effects)).abs().max() < 1e-5 * reference.abs().max()
    own = found.effects.permute(0, 2, 1, 3)[codes != UNKNOWN]
    assert (own.gather(1, codes[codes != UNKNOWN].long()[:, None, None].expand(-1, 1, 3)) == 0).all()


def test_of_the_published_size_at_251_bases():
    model, codes = network(251, outputs=4, n_filters=300, n_channels=200, n_hidden=1000), sequences(1, 251)
    found = mutagenesis(model, codes)
    model.double().eval()
    g = draws(5)
    for place in (0, 1, 9, 124, 125, 126, 242, 249, 250):
        base = (int(codes[0, place]) + int(torch.randint(1, 4, (), generator=g))) % 4
        mutant = codes.clone()
        mutant[0, place] = base
        with torch.no_grad():
            effect = model(one_hot(mutant).double()) - model(one_hot(codes).double())
        assert (found.effects[0, base, place] - effect[0]).abs().max() < 1e-5 * found.effects.abs().max()


def test_windows_hold_all_that_a_change_reaches_and_no_window_is_always_idle():
    model = network(130)
    reach = Reach(model, torch.eye(model.output.out_features), torch.float32)
    model.double().eval()
    codes = sequences(1, 130)
    seen = {1: set(), 2: set(), 3: set()}
    with torch.no_grad():
        for place in range(130):
            mutant = codes.clone()
            mutant[0, place] = (codes[0, place] + 1) % 4
            pair = [model.stem(one_hot(c).double()) for c in (codes, mutant)]
            start = torch.tensor(place)
            for i, geometry in enumerate(reach.geometry, 1):
                start, _ = geometry.first(start)
                changed = (pair[0] != pair[1]).flatten(1).any(1).nonzero()[:, 0] - start
                assert ((changed >= 0) & (changed < geometry.windows)).all()
                seen[i] |= set(changed.tolist())
                if i < 3:
                    pair = [model._finish(i + 1, model._convolve(i + 1, h)) for h in pair]
    assert [sorted(held) for held in seen.values()] == [list(range(7)), list(range(5)), list(range(4))]


def test_one_output_the_mean_of_some_and_a_combination():
    model, codes = network(40), sequences(2, 40)
    every = mutagenesis(model, codes).effects
    for output, wanted in (
        (1, every[..., 1]),
        ([0, 2], every[..., [0, 2]].mean(-1)),
        (contrast(2, 3), every[..., 2] - every.mean(-1)),
    ):
        assert torch.allclose(mutagenesis(model, codes, output=output).effects[..., 0], wanted, atol=1e-7)


def test_other_modules_run_whole():
    g = draws(3)
    layer = nn.Linear(4 * 9, 2)
    model = nn.Sequential(nn.Flatten(), layer)
    codes = torch.randint(5, (4, 9), generator=g).to(torch.uint8)
    weight = layer.weight.detach().view(2, 4, 9)
    own = (weight[None] * one_hot(codes)[:, None]).sum(2)  # (n, 2, length)
    wanted = (weight[None] - own[:, :, None]).permute(0, 2, 3, 1)
    found = mutagenesis(model, one_hot(codes), batch=7)
    assert torch.allclose(found.effects, wanted, atol=1e-6)
    both = mutagenesis(model, codes, both_strands=True).effects
    other = mutagenesis(model, reverse_complement(codes)).effects.flip(1, 2)
    assert torch.allclose(both, (found.effects + other) / 2, atol=1e-6)


def test_both_strands_of_a_network_of_one():
    model, codes = network(50), sequences(2, 50)
    both = mutagenesis(model, codes, both_strands=True)
    model.reverse_complement = True
    assert torch.allclose(both.effects, mutagenesis(model, codes).effects, atol=1e-7)
    assert torch.allclose(both.reference, model.eval()(one_hot(codes)).detach(), atol=1e-6)


def test_half_precision_ranks_changes_alike():
    from scipy.stats import spearmanr

    model, codes = network(80), sequences(4, 80)
    exact, rough = (
        mutagenesis(model, codes, output=0, precision=precision).effects.flatten()
        for precision in (torch.float32, torch.bfloat16)
    )
    assert not torch.equal(exact, rough)
    assert spearmanr(exact, rough).statistic > 0.995


def test_the_model_is_left_as_found():
    model, codes = network(40).train(), sequences(2, 40)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    found = mutagenesis(model, codes)
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not found.effects.is_inference()


def test_what_does_not_fit_is_refused():
    model = network(40)
    with pytest.raises(ModelError, match="41 bases; this network takes 40"):
        mutagenesis(model, sequences(1, 41))
    with pytest.raises(ModelError, match="output 3: the network has 3"):
        mutagenesis(model, sequences(1, 40), output=3)
    with pytest.raises(ModelError, match="3 finite numbers"):
        readout(torch.ones(2), 3)
    with pytest.raises(DataError, match="sequence 1, position 0"):
        mutagenesis(model, torch.tensor([[0] * 40, [7] * 40], dtype=torch.uint8))
    soft = one_hot(sequences(1, 40))
    soft[0, :, 4] = 0.25
    with pytest.raises(DataError, match="position 4"):
        mutagenesis(model, soft)
    with pytest.raises(ModelError, match="must give"):
        mutagenesis(nn.Sequential(nn.Conv1d(4, 2, 3)), sequences(1, 40))
