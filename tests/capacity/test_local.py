"""Ranks of Jacobians against finite differences, closed forms and each other."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.func import functional_call

from netassay.capacity import local
from netassay.capacity.local import local_capacity
from netassay.errors import ConfigError, DataError, ModelError
from netassay.nets.averaging import AveragingNetwork
from netassay.nets.decoder import Decoder, ExperimentDecoder
from netassay.numerics.seeds import generator

CONTEXTS = [(0,), (0, 1), (0, 1, 2), (3,), (3, 1), (2, 2, 2)]


class HuggingFaceStyle(nn.Module):
    """A causal module as the `transformers` package has them: an object with .logits comes out, weights are tied."""

    def __init__(self, zeta=4, d=6):
        super().__init__()
        torch.manual_seed(0)
        self.wte = nn.Embedding(zeta, d)
        self.mix = nn.Linear(d, d)
        self.drop = nn.Dropout(0.5)
        self.lm_head = nn.Linear(d, zeta, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, input_ids):
        x = self.wte(input_ids).cumsum(1)
        return SimpleNamespace(logits=self.lm_head(self.drop(torch.tanh(self.mix(x)))))


def decoder(width=5):
    return Decoder(4, width, embedding=3, longest=3, generator=generator(1))


def rank_by_differences(model, contexts):
    """Central differences of the logits, one parameter at a time, every column less its mean over the vocabulary."""
    model = model.double().eval()
    parameters = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}

    def logits():
        rows = []
        for context in contexts:
            answer = functional_call(model, parameters, (torch.tensor([context]),))
            rows.append(getattr(answer, "logits", answer)[0, -1])
        out = torch.stack(rows).detach()
        return (out - out.mean(1, keepdim=True)).flatten()

    columns = []
    for p in parameters.values():
        flat = p.view(-1)
        for i in range(len(flat)):
            at = float(flat[i])
            flat[i] = at + 1e-5
            up = logits()
            flat[i] = at - 1e-5
            columns.append((up - logits()) / 2e-5)
            flat[i] = at
    values = torch.linalg.svdvals(torch.stack(columns, 1))
    return int((values > 1e-7 * values[0]).sum())


@pytest.mark.parametrize(
    "make",
    [lambda: decoder(2), HuggingFaceStyle, lambda: ExperimentDecoder(4, 2, embedding=3, generator=generator(1)),
     lambda: AveragingNetwork(4, 1, embedding=2, longest=3, generator=generator(1))],
)  # fmt: skip
def test_the_dense_rank_is_that_of_finite_differences(make):
    found = local_capacity(make(), CONTEXTS)
    assert found.method == "dense"
    assert found.rank == rank_by_differences(make(), CONTEXTS)
    assert 0 < found.rank <= found.upper == min(found.parameters, 6 * 3)


def test_a_wide_decoder_is_certified_and_a_table_of_logits_counts_its_rows():
    wide = local_capacity(decoder(width=12), CONTEXTS)
    assert wide.full
    assert wide.contexts_certified == len(CONTEXTS)

    class Unigram(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(5, 5)

        def forward(self, tokens):
            return self.table(tokens)

    # contexts that end alike have equal logits: three different last tokens, four directions each
    found = local_capacity(Unigram(), [(0,), (1, 0), (2,), (3,), (1, 2)])
    assert found.rank == 3 * 4
    assert not found.full
    assert found.contexts_certified == 0
    assert found.gap > 1e6


def test_only_what_is_trained_counts_and_the_model_is_left_alone():
    model = decoder().train()
    for parameter in model.feed_forward.parameters():
        parameter.requires_grad_(False)
    before = {name: p.clone() for name, p in model.state_dict().items()}
    found = local_capacity(model, CONTEXTS)
    assert found.parameters == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert found.rank <= found.parameters
    assert model.training
    for name, p in model.state_dict().items():
        assert torch.equal(p, before[name])
        assert p.dtype == torch.float32


@pytest.mark.parametrize("make", [lambda: decoder(2), HuggingFaceStyle])
def test_a_sketch_has_the_dense_rank_or_bounds_it(make, monkeypatch):
    contexts = [(a, b, c) for a in range(4) for b in range(3) for c in range(2)]
    dense = local_capacity(make(), contexts, method="dense")
    assert 20 < dense.rank < dense.upper
    assert not dense.at_least
    sketch = local_capacity(make(), contexts, method="sketch")
    assert (sketch.rank, sketch.at_least, sketch.method) == (dense.rank, False, "sketch")
    short = local_capacity(make(), contexts, method="sketch", rows=20)
    assert (short.rank, short.at_least, short.full) == (20, True, False)
    monkeypatch.setattr(local, "DENSE_CELLS", 0)
    summed = local_capacity(make(), contexts, method="sketch")
    assert (summed.rank, summed.at_least) == (dense.rank, True)


def test_a_sketch_certifies_full_rank():
    found = local_capacity(decoder(width=12), CONTEXTS, method="sketch")
    assert found.contexts_certified == len(CONTEXTS)


def test_what_cannot_be_assayed_is_refused():
    class Ahead(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(4, 4)

        def forward(self, tokens):
            return self.table(tokens).flip(1)

    with pytest.raises(ModelError, match="change with tokens that come later"):
        local_capacity(Ahead(), [(0, 1, 2)])
    with pytest.raises(ModelError, match=r"returned \(1, 3\) for tokens"):
        local_capacity(nn.Sequential(nn.Embedding(4, 1), nn.Flatten()), [(0, 1, 2)])
    with pytest.raises(DataError, match="context 1 is empty"):
        local_capacity(decoder(), [(0,), ()])
    with pytest.raises(DataError, match="none twice"):
        local_capacity(decoder(), [(0,), (0,)])
    with pytest.raises(ConfigError, match="allowed are dense, sketch"):
        local_capacity(decoder(), [(0,)], method="guess")
