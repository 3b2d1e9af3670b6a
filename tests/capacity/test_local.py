"""Ranks of Jacobians against finite differences, closed forms and each other."""

from types import SimpleNamespace

import mpmath
import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from netassay.capacity import local
from netassay.capacity.local import local_capacity
from netassay.capacity.rank import _long_rank
from netassay.corpus.context import contexts as contexts_of
from netassay.errors import ConfigError, DataError, ModelError
from netassay.nets.decoder import AveragingNetwork, Decoder, ExperimentDecoder
from netassay.numerics.devices import generator

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
    [
        lambda: decoder(2),
        HuggingFaceStyle,
        lambda: ExperimentDecoder(4, 2, embedding=3, generator=generator(1)),
        lambda: AveragingNetwork(4, 1, embedding=2, longest=3, generator=generator(1)),
    ],
)
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
    with pytest.raises(ModelError, match="2 and 3 logits for contexts of different lengths"):
        local_capacity(nn.Sequential(nn.Embedding(4, 1), nn.Flatten()), [(0, 1, 2), (0, 1)])
    with pytest.raises(ModelError, match=r"returned \(3,\) for tokens \(1, 3\)"):
        local_capacity(nn.Sequential(nn.Embedding(4, 1), nn.Flatten(0)), [(0, 1, 2)])
    with pytest.raises(DataError, match="context 1 is empty"):
        local_capacity(decoder(), [(0,), ()])
    with pytest.raises(DataError, match="none twice"):
        local_capacity(decoder(), [(0,), (0,)])
    with pytest.raises(ConfigError, match="allowed are dense, sketch"):
        local_capacity(decoder(), [(0,)], method="guess")


class Norm(nn.Module):
    """x over its root mean square; `inside` is the arithmetic of the norm, as LLaMA's computes in float32."""

    def __init__(self, d, inside):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))
        self.inside = inside

    def forward(self, x):
        y = x.to(self.inside)
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + 1e-6)
        return self.weight * y.to(x.dtype)


class Averages(nn.Module):
    """Normed running averages of token vectors: contexts of one repeated token are one point."""

    def __init__(self, inside=torch.float64, zeta=6, d=8):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(zeta, d)
        self.norm = Norm(d, inside)
        self.head = nn.Linear(d, zeta, bias=False)

    def forward(self, tokens):
        x = self.embedding(tokens).cumsum(1) / torch.arange(1, tokens.shape[1] + 1)[:, None]
        return self.head(self.norm(x))


ALIKE = [(3,), (3, 3), (1, 2), (2, 1)]  # two points
APART = [(1,), (2,), (1, 2), (2, 2, 1)]  # four, of two vectors' span


def rank_in_long_arithmetic(model, given):
    """Jacobian of Averages by central differences in 60 digits, its rank by elimination, with what is left over."""
    with mpmath.mp.workdps(60):
        tables = [
            [[mpmath.mpf(float(v)) for v in row] for row in p.detach().reshape(-1, p.shape[-1])]
            for p in (model.embedding.weight, model.norm.weight, model.head.weight)
        ]
        cells = [(k, i, j) for k, table in enumerate(tables) for i, row in enumerate(table) for j in range(len(row))]

        def logits():
            embedding, (gain,), head = tables
            rows = []
            for context in given:
                x = [sum(embedding[t][j] for t in context) / len(context) for j in range(len(gain))]
                size = mpmath.sqrt(sum(v * v for v in x) / len(x) + mpmath.mpf(1e-6))
                out = [sum(w * g * v / size for w, g, v in zip(row, gain, x, strict=True)) for row in head]
                rows += [v - sum(out) / len(out) for v in out]
            return rows

        step, columns = mpmath.mpf(10) ** -20, []
        for k, i, j in cells:
            held = tables[k][i][j]
            tables[k][i][j] = held + step
            up = logits()
            tables[k][i][j] = held - step
            columns.append([(a - b) / (2 * step) for a, b in zip(up, logits(), strict=True)])
            tables[k][i][j] = held
        return _long_rank(columns, 60)


@pytest.mark.parametrize("given", [ALIKE, APART])
@pytest.mark.parametrize("method", ["dense", "sketch"])
@pytest.mark.parametrize("inside", [torch.float64, torch.float32, torch.bfloat16])
def test_ranks_are_those_of_long_arithmetic_whatever_the_model_computes_in(given, method, inside):
    model = Averages(inside)
    found = local_capacity(model, given, method=method)
    truth = rank_in_long_arithmetic(model, given)
    assert truth == (10 if given is ALIKE else 12)
    assert found.rank <= found.upper == 20
    assert not found.full
    if inside == torch.float64:
        assert found.rank == truth
        assert found.uncertified == ""
        assert found.noise < 1e-12
    else:
        name = str(inside).removeprefix("torch.")
        assert found.uncertified == f"it computes in {name} inside (norm)"
        # singular values below the noise cannot be told from it
        assert found.rank == truth if inside == torch.float32 else found.rank <= truth
        assert found.noise > torch.finfo(inside).eps / 10


def test_no_rank_is_certified_where_the_model_computes_in_less_than_float64():
    class Wide(Averages):
        def __init__(self, inside):
            super().__init__(inside, d=16)
            self.mix = nn.Linear(16, 16)

        def forward(self, tokens):
            x = torch.tanh(self.mix(self.embedding(tokens).cumsum(1)))
            return self.head(self.norm(x))

    for method in ("dense", "sketch"):
        kept, lost = (local_capacity(Wide(inside), APART, method=method) for inside in (torch.float64, torch.float32))
        assert (kept.rank, kept.contexts_certified, kept.uncertified) == (20, 4, "")
        assert (lost.rank, lost.upper, lost.full, lost.contexts_certified) == (20, 20, True, 0)
        assert "computes in float32 inside (norm)" in lost.uncertified


class HalfBackward(torch.autograd.Function):
    """Identity whose derivative is rounded to float32, and which no transform of functions takes."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, given):
        return given.float().double()


class ThroughNumpy(torch.autograd.Function):
    """Twice x, in arithmetic that PyTorch does not see."""

    @staticmethod
    def forward(ctx, x):
        return torch.from_numpy((2 * x.detach().numpy()).astype(np.float32).astype(np.float64))

    @staticmethod
    def backward(ctx, given):
        return torch.from_numpy((2 * given.numpy()).astype(np.float32).astype(np.float64))


@pytest.mark.parametrize(
    ("function", "reason"),
    [(HalfBackward, "float32 inside (the backward pass)"), (ThroughNumpy, "more than float64 causes")],
)
def test_arithmetic_hidden_in_a_backward_pass_or_from_pytorch_is_noticed(function, reason):
    class Hidden(Averages):
        def forward(self, tokens):
            return function.apply(super().forward(tokens))

    found = local_capacity(Hidden(), ALIKE)
    assert (found.rank, found.contexts_certified) == (10, 0)
    assert reason in found.uncertified


def test_constants_that_round_nothing_are_no_coarse_arithmetic():
    class Masked(Averages):
        def forward(self, tokens):
            t = tokens.shape[1]
            mask = torch.full((t, t), float("-inf")).triu(1)  # float32, as most models make it
            x = self.embedding(tokens)
            scores = x @ x.mT + mask
            return self.head(self.norm(scores.softmax(-1) @ x))

    found = local_capacity(Masked(), APART)
    assert found.uncertified == ""


def test_sharp_float64_models_are_not_taken_for_noisy_ones():
    class Sharp(Averages):
        def forward(self, tokens):
            return self.head(torch.tanh(1e4 * (self.embedding(tokens).cumsum(1) - 0.3)))

    found = local_capacity(Sharp(), APART)
    assert found.uncertified == ""


@pytest.mark.parametrize(
    "answer",
    [
        lambda logits: (logits, None),
        lambda logits: (logits, logits.square().mean()),
        lambda logits: (None, logits),
        lambda logits: (logits.square().mean(), logits),
        lambda logits: [logits[:, [-1]], None],
        lambda logits: logits[:, -1:],
        lambda logits: logits[:, -1],
        lambda logits: {"loss": None, "logits": logits},
        lambda logits: SimpleNamespace(logits=logits[:, -1:], loss=None),
        lambda logits: (SimpleNamespace(logits=logits), 0),
    ],
)
def test_whatever_holds_the_logits_of_the_last_position_is_read(answer):
    class Answers(Averages):
        def forward(self, tokens, targets=None):
            return answer(super().forward(tokens))

    plain = local_capacity(Averages(), APART)
    assert plain.rank == 12
    assert local_capacity(Answers(), APART) == plain


def test_the_contexts_of_a_corpus_are_read_as_they_are():
    documents = [[0, 1, 2], [0, 1, 3], [3, 1, 0], [2, 2, 2]]
    given = [(0,), (2,), (3,), (0, 1), (2, 2), (3, 1)]
    found, wanted = local_capacity(decoder(), contexts_of(documents)), local_capacity(decoder(), given)
    assert (found.rank, found.contexts) == (wanted.rank, wanted.contexts) == (found.rank, 6)
    with pytest.raises(DataError, match=r"context 3 holds the token 9, .* vocabulary of 4 tokens"):
        local_capacity(decoder(), contexts_of([[0, 1, 2], [0, 1, 3], [1, 3], [2, 9], [9, 2]]))


class Positions(nn.Module):
    """A predictor of five tokens that knows four positions, and refuses more in a way of its own."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.table = nn.Parameter(torch.randn(5, 3, generator=generator(0)))
        self.place = nn.Embedding(4, 3)
        self.head = nn.Linear(3, 5)

    def forward(self, tokens):
        length = tokens.shape[1]
        if self.kind == "asserts":
            assert length <= 4, f"Cannot forward sequence of length {length}, block size is only 4"
        places = self.place(torch.arange(length)) if self.kind == "looks up" else self.place.weight[:length]
        if self.kind == "one hot":
            x = nn.functional.one_hot(tokens, 5).to(self.table) @ self.table
        else:
            x = self.table[tokens]
        return self.head(torch.tanh(x + places).cumsum(1))


@pytest.mark.parametrize("kind", ["asserts", "looks up", "broadcasts", "one hot"])
def test_ids_beyond_the_vocabulary_and_contexts_beyond_the_positions_are_named(kind):
    model = Positions(kind)
    assert local_capacity(model, [(0, 1), (4, 4, 4, 4)]).rank > 0
    with pytest.raises(DataError, match=r"context 1 holds the token 99, .* vocabulary of 5 tokens, 0 to 4"):
        local_capacity(model, [(1,), (1, 99)])
    with pytest.raises(DataError, match="context 1 has 7 tokens; the model takes at most 4"):
        local_capacity(model, [(1,), (0, 1, 2, 3, 4, 0, 1)])
    with pytest.raises(DataError, match="context 0 holds the token -1"):
        local_capacity(model, [(-1,)])


@pytest.mark.parametrize("wrong", [[(1.5,)], ["12"], [1, 2], [(2**70,)]])
def test_what_is_no_sequence_of_ids_is_refused(wrong):
    with pytest.raises(DataError, match="whole numbers from 0 on"):
        local_capacity(decoder(), wrong)


def test_models_that_cannot_be_assayed_say_why():
    class Fails(Averages):
        def forward(self, tokens):
            raise RuntimeError("kernel not built\nfor this machine")

    class Dice(Averages):
        def forward(self, tokens):
            return nn.functional.dropout(super().forward(tokens)[:, -1:], 0.5)

    class Detached(Averages):
        @torch.no_grad()
        def forward(self, tokens):
            return super().forward(tokens)

    class Forbids(Averages):
        def forward(self, tokens):
            return super().forward(tokens).index_fill(-1, torch.tensor([0]), float("-inf"))

    for model, message in (
        (Fails(), "forward raised RuntimeError: kernel not built$"),
        (Dice(), "give a deterministic one"),
        (Detached(), "no logit depends on a trainable parameter"),
        (Forbids(), "not finite"),
    ):
        with pytest.raises(ModelError, match=message):
            local_capacity(model, APART)


def test_a_model_without_a_float64_form_is_assayed_in_its_own_but_not_certified():
    class Single(Averages):
        def forward(self, tokens):
            if self.head.weight.dtype == torch.float64:
                raise RuntimeError("expected Float, got Double")
            return self.head(torch.tanh(self.embedding(tokens).cumsum(1)))

    found = local_capacity(Single(torch.float32, d=16), APART)
    assert (found.rank, found.contexts_certified) == (20, 0)
    assert found.uncertified == "its forward does not run in float64 (RuntimeError: expected Float, got Double)"
    with pytest.raises(DataError, match="vocabulary of 6 tokens"):
        local_capacity(Single(), [(7,)])


def test_sparse_and_frequency_weighted_gradients_do_not_change_the_rank():
    class Bag(Averages):
        def __init__(self, **options):
            super().__init__()
            self.embedding = nn.Embedding.from_pretrained(self.embedding.weight.detach(), freeze=False, **options)

    plain = local_capacity(Averages(), ALIKE)
    assert local_capacity(Bag(sparse=True), ALIKE) == plain
    assert local_capacity(Bag(scale_grad_by_freq=True), ALIKE) == plain
