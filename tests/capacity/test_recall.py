"""Memorisation of models, against dictionaries and loops, sampling, and models whose memory is known."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from torch import nn

import netassay
from netassay.capacity import memorisation
from netassay.capacity.code_length import interval
from netassay.errors import ConfigError, DataError, ModelError


class Recurrent(nn.Module):
    """A small causal model in float64."""

    def __init__(self, vocabulary=7, width=8, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Embedding(vocabulary, width)
        self.cell = nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(width, vocabulary)
        self.double()

    def forward(self, tokens):
        return self.out(self.cell(self.embedding(tokens))[0]) * 3


def corpus(seed=0, documents=60, longest=12, vocabulary=5):
    draws = np.random.default_rng(seed)
    sizes = draws.integers(1, longest, documents)
    return [draws.choice(vocabulary, size, p=[0.6, 0.2, 0.1, 0.05, 0.05]).tolist() for size in sizes]


def rows_by_hand(documents, blocks=None, stride=None, first=None):
    """Rows and the place of the first token that each predicts."""
    if blocks is None:
        rows = [([] if first is None else [first]) + document for document in documents]
        return [(row, 1) for row in rows if len(row) > 1]
    stream = [token for document in documents for token in document]
    rows, done = [], 0
    for start in range(0, len(stream), stride or blocks):
        row = stream[start : start + blocks + 1]
        if start + len(row) - 1 > done:
            rows.append((row, done + 1 - start))
            done = start + len(row) - 1
    return rows


@pytest.mark.parametrize("how", [{}, {"first": 6}, {"blocks": 6}, {"blocks": 6, "stride": 2}])
@pytest.mark.parametrize("at_once", [None, 17])
def test_loss_bound_and_groups_are_those_of_a_dictionary_and_a_loop(how, at_once):
    model, documents = Recurrent(), corpus()
    found = memorisation(model, documents, tokens_at_once=at_once, prefix=2, suffix=2, **how)
    follow, losses, greedy = defaultdict(Counter), defaultdict(float), {}
    extracted = []
    for row, skip in rows_by_hand(documents, **how):
        logs = model(torch.tensor([row[:-1]]))[0].log_softmax(-1).detach()
        for t in range(skip, len(row)):
            context = tuple(row[:t])
            follow[context][row[t]] += 1
            losses[context] -= float(logs[t - 1, row[t]])
            greedy[context] = int(logs[t - 1].argmax())
        k = 2 + ("first" in how)
        if skip <= k and len(row) >= k + 2:
            steps = range(k, k + 2)
            extracted.append(
                (
                    all(int(logs[t - 1].argmax()) == row[t] for t in steps),
                    sum(float(logs[t - 1, row[t]]) for t in steps),
                )
            )
    bounds = {
        context: -sum(c * math.log(c / counts.total()) for c in counts.values()) for context, counts in follow.items()
    }
    right = {context: follow[context][token] == max(follow[context].values()) for context, token in greedy.items()}

    assert math.isclose(found.loss_nats, math.fsum(losses.values()), rel_tol=1e-9)
    assert math.isclose(found.bound_nats, math.fsum(bounds.values()), rel_tol=1e-9)
    assert found.predictions == sum(counts.total() for counts in follow.values())
    assert (found.contexts, found.right) == (len(follow), sum(right.values()))
    assert found.certain == sum(len(counts) == 1 for counts in follow.values())
    keys = {
        "by_length": len,
        "by_occurrences": lambda context: follow[context].total().bit_length(),
        "by_continuations": lambda context: len(follow[context]).bit_length(),
    }
    for name, key in keys.items():
        groups = defaultdict(list)
        for context in follow:
            groups[key(context)].append(context)
        for group, (_, contexts) in zip(getattr(found, name), sorted(groups.items()), strict=True):
            assert group.contexts == len(contexts)
            assert group.right == sum(right[context] for context in contexts)
            assert group.predictions == sum(follow[context].total() for context in contexts)
            assert math.isclose(group.loss_nats, math.fsum(losses[c] for c in contexts), rel_tol=1e-9)
            assert math.isclose(group.bound_nats, math.fsum(bounds[c] for c in contexts), rel_tol=1e-9, abs_tol=1e-12)
            assert group.low <= len(contexts[0]) <= group.high or name != "by_length"
        whole = getattr(found, name)
        assert math.isclose(sum(group.loss_nats for group in whole), found.loss_nats, rel_tol=1e-12)
        assert math.isclose(sum(group.bound_nats for group in whole), found.bound_nats, rel_tol=1e-12)
    gaps = sorted((losses[context] - bounds[context] for context in follow), reverse=True)
    assert np.allclose([gap.gap_nats for gap in found.largest], gaps[:20], rtol=1e-9)
    for gap in found.largest:
        assert gap.occurrences == follow[gap.context].total()
        assert gap.next_count == max(follow[gap.context].values()) == follow[gap.context][gap.next_token]
    assert found.extraction.greedy.tolist() == [all_right for all_right, _ in extracted]
    assert np.allclose(found.extraction.log_probabilities, [log for _, log in extracted])


def test_bits_are_those_of_code_lengths_and_the_interval_that_of_a_bootstrap():
    documents = corpus()
    model, other = Recurrent(), Recurrent(seed=1)
    found = memorisation(model, documents, reference=other)
    by_name = {bits.reference: bits for bits in found.bits}
    loss = found.loss_nats / math.log(2)
    assert math.isclose(by_name["uniform"].bits, found.predictions * math.log2(7) - loss, rel_tol=1e-9)
    tokens = Counter(token for document in documents for token in document[1:])
    unigram = -sum(c * math.log2(c / tokens.total()) for c in tokens.values())
    assert math.isclose(by_name["unigram"].bits, unigram - loss, rel_tol=1e-9)
    second = memorisation(other, documents)
    assert math.isclose(by_name["model"].bits, (second.loss_nats - found.loss_nats) / math.log(2), rel_tol=1e-9)
    bits = by_name["uniform"]
    assert bits.low < bits.bits < bits.high
    assert math.isclose(bits.per_parameter, bits.bits / sum(p.numel() for p in model.parameters()))
    assert bits.units == sum(len(document) > 1 for document in documents)

    by_unit = np.random.default_rng(1).normal(2, 3, 400)
    low, high = interval(by_unit, 2000, 0)
    half = 1.96 * by_unit.std() * math.sqrt(400)
    assert abs(low - (by_unit.sum() - half)) < 0.1 * half
    assert abs(high - (by_unit.sum() + half)) < 0.1 * half
    many = np.random.default_rng(1).normal(2, 3, 25_000)
    low, high = interval(many, 500, 0)
    assert abs((high - low) / (2 * 1.96 * many.std() * math.sqrt(25_000)) - 1) < 0.15


class Table(nn.Module):
    """Knows the first documents of a list by heart, and of others nothing."""

    def __init__(self, documents, vocabulary):
        super().__init__()
        self.vocabulary = vocabulary
        self.heart = {tuple(d[:t]): d[t] for d in documents for t in range(1, len(d))}

    def forward(self, tokens):
        logits = torch.zeros(*tokens.shape, self.vocabulary, dtype=torch.float64)
        for row, some in enumerate(tokens.tolist()):
            for t in range(len(some)):
                if (known := self.heart.get(tuple(some[: t + 1]))) is not None:
                    logits[row, t] = -torch.inf
                    logits[row, t, known] = 0.0
        return logits


def test_a_table_that_stores_b_bits_measures_b():
    draws = np.random.default_rng(0)
    documents = [[i, *draws.integers(0, 64, 9).tolist()] for i in range(40)]
    found = memorisation(Table(documents[:25], 64), documents, prefix=4, suffix=6)
    assert math.isclose(found.bits[0].bits, 25 * 9 * 6, rel_tol=1e-12)
    assert found.extraction.greedy.sum() == 25
    assert found.extraction.share_extractable(1, 0.9) == 25 / 40
    assert found.bits[0].low <= 1350 <= found.bits[0].high
    assert found.bound_nats == 0 and math.isnan(found.bits[0].per_parameter)


def test_a_constructed_model_holds_all_contexts():
    documents = [[0, 1, 2, 3], [0, 1, 3, 2], [2, 1, 0, 3], [0, 1, 2, 3]]
    made = netassay.construct(netassay.contexts(documents), method="solve")
    found = memorisation(made.model, documents)
    assert 0 <= found.gap_nats < 2e-6 * found.bound_nats
    assert math.isclose(found.gap_nats, made.float64.gap, rel_tol=0.05, abs_tol=1e-9)
    assert found.right == found.contexts == made.contexts


def test_a_suffix_longer_than_any_document_is_asked_of_none():
    result = memorisation(torch.nn.Embedding(3, 3), [[0, 1, 2]], prefix=1, suffix=1 << 62)
    assert result.extraction.sequences == 0


def test_extraction_probabilities_are_the_shares_of_samples():
    model = Recurrent(vocabulary=3)
    documents = [[0, 1, 0, 2], [1, 1, 2, 0], [2, 0, 0, 1]]
    found = memorisation(model, documents, prefix=2, suffix=2).extraction
    tries = 20_000
    torch.manual_seed(0)
    for document, log in zip(documents, found.log_probabilities, strict=True):
        rows = torch.tensor([document[:2]]).repeat(tries, 1)
        for _ in range(2):
            q = model(rows)[:, -1].softmax(-1)
            rows = torch.cat([rows, torch.multinomial(q.detach(), 1)], 1)
        share = float((rows[:, 2:] == torch.tensor(document[2:])).all(1).double().mean())
        q = math.exp(log)
        assert abs(share - q) < 4 * math.sqrt(q * (1 - q) / tries)
    q = np.exp(found.log_probabilities)
    assert np.allclose(found.probabilities(7), 1 - (1 - q) ** 7)
    reached = 1 - (1 - q) ** 7
    assert found.share_extractable(7, 0.2) == np.mean(reached >= 0.2)
    assert [*np.diff(found.log_probabilities[found.likeliest(3)])] <= [0, 0]


def test_the_model_is_left_as_it_was():
    model = Recurrent().train()
    model.cell.eval()
    memorisation(model, corpus())
    assert (model.training, model.cell.training, model.out.training) == (True, False, True)


@pytest.mark.parametrize(
    ("model", "documents", "how", "error", "said"),
    [
        (
            Recurrent(vocabulary=3),
            [[0, 1, 4, 9]],
            {},
            DataError,
            r"3 tokens, 0 to 2, and 2 .* \(4, 9; 2 tokens\); 1 ",
        ),
        (Recurrent(), [[0, -1]], {}, DataError, "holds the token -1"),
        (Recurrent(), [[0]], {}, DataError, "nothing to predict"),
        (nn.Sequential(Recurrent(), nn.Flatten(0)), [[0, 1]], {}, ModelError, "to return logits"),
        (Recurrent(), [[0, 1]], {"prefix": 0}, ConfigError, "prefix is 0"),
        (Recurrent(), [[0, 1]], {"resamples": -1}, ConfigError, "resamples"),
    ],
)
def test_bad_input_is_refused(model, documents, how, error, said):
    with pytest.raises(error, match=said):
        memorisation(model, documents, **how)


class Positions(nn.Module):
    """Reads four tokens, and either says so or fails."""

    def __init__(self, said=False, ahead=False, last=False, chance=False):
        super().__init__()
        self.place = nn.Embedding(4, 5)
        self.ahead, self.last, self.chance = ahead, last, chance
        if said:
            self.config = type("Config", (), {"n_positions": 4})()

    def forward(self, tokens):
        places = self.place(torch.arange(tokens.shape[1])).repeat(len(tokens), 1, 1)
        if self.ahead:
            places = places + places.sum(1, keepdim=True)
        if self.chance:
            places = places + torch.rand(())
        return places[:, -1:] if self.last else places


@pytest.mark.parametrize(
    ("how", "size", "said"),
    [
        ({}, 6, "does not read the longest row, of 5 tokens"),
        ({"said": True}, 6, "5 tokens of context and the model 4 positions"),
        ({"ahead": True}, 4, "tokens that come later"),
        ({"chance": True}, 4, "from one pass to the next"),
        ({"last": True}, 4, "last position alone"),
    ],
)
def test_models_that_cannot_be_asked_are_refused(how, size, said):
    with pytest.raises((ModelError, DataError), match=said):
        memorisation(Positions(**how), [[*list(range(5)), 0]] if size > 5 else [[0, 1, 2, 3]])
