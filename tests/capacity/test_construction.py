"""Constructed models against tables of what was wanted, at every scale that the promises name."""

import math

import numpy as np
import pytest
import torch

from netassay.capacity.construction import construct, realise
from netassay.capacity.output_layer import fit, ladder, solve
from netassay.capacity.theorems import averaging_parameters, decoder_parameters
from netassay.corpus.context import contexts
from netassay.errors import ConfigError, DataError
from netassay.formats.corpus import read_corpus
from netassay.nets.decoder import AveragingNetwork, Decoder
from netassay.numerics.devices import generator


def random_documents(seed, documents=60, length=6, zeta=7):
    return np.random.default_rng(seed).integers(0, zeta, (documents, length)).tolist()


def wanted(documents):
    """p^ after every context that is not empty, from a dictionary."""
    counts = {}
    for document in documents:
        for t in range(1, len(document)):
            after = counts.setdefault(tuple(document[:t]), {})
            after[document[t]] = after.get(document[t], 0) + 1
    return counts


def forward(model, context):
    with torch.no_grad():
        return model(torch.tensor([context]))[0, -1].double().softmax(-1)


@pytest.mark.parametrize("method", ["solve", "ladder"])
@pytest.mark.parametrize("architecture", ["averaging", "decoder"])
def test_a_corpus_is_held_by_the_models_own_forward_pass(architecture, method):
    documents = random_documents(1)
    table = wanted(documents)
    made = construct(contexts(documents), architecture=architecture, method=method, embedding=16)
    assert isinstance(made.model, AveragingNetwork if architecture == "averaging" else Decoder)
    assert made.contexts == len(table)
    total = 0.0
    for context, after in table.items():
        q = forward(made.model, context)
        for token, count in after.items():
            total -= count * math.log(float(q[token]))
            assert float(q[token]) == pytest.approx(count / sum(after.values()), abs=2e-8)
    bound = contexts(documents).bound_nats
    assert made.bound == pytest.approx(bound, rel=1e-12)
    assert made.float64.loss == pytest.approx(total, rel=1e-12)
    assert made.float64.gap == pytest.approx(total - bound, abs=1e-9 * bound)
    assert made.float64.gap == pytest.approx(made.smoothing_gap, rel=1e-3)
    assert made.float64.deviation < 2e-8
    size = {"embedding": 16, "longest": 5}
    expected = {
        "averaging": averaging_parameters(7, made.width, **size),
        "decoder": decoder_parameters(7, made.width, heads=4, **size),
    }
    assert made.parameters == expected[architecture]
    if method == "solve":
        assert made.rank == len(table)
        assert made.residual < 1e-9
        assert made.float32.deviation < 1e-3


@pytest.mark.parametrize("architecture", ["averaging", "decoder"])
def test_interior_distributions_of_two_thousand_contexts(architecture):
    draws = np.random.default_rng(5)
    given = sorted({tuple(draws.integers(0, 9, draws.integers(1, 7))) for _ in range(4000)})[:2000]
    assert len(given) == 2000
    p = draws.dirichlet(np.full(9, 0.5), 2000).clip(1e-12)
    p /= p.sum(1, keepdims=True)
    made = realise(given, p, width=2000, architecture=architecture, embedding=32)
    assert made.smoothing == 0
    assert made.rank == 2000
    assert made.float64.deviation < 1e-6
    with torch.no_grad():
        for i in range(0, 2000, 97):
            torch.testing.assert_close(forward(made.model, given[i]), torch.from_numpy(p[i]), rtol=0, atol=1e-6)


def test_real_text_within_a_thousandth_of_the_bound(shared_data):
    corpus = read_corpus(shared_data / "text" / "tinystories.txt", document="record", limit=10)
    found = contexts(corpus.documents.select(np.arange(len(corpus.documents)) < 750), length=10)
    assert found.n > 2000
    made = construct(found)
    assert made.rank == found.n
    assert 0 <= made.float64.relative_gap < 1e-6
    assert 0 <= made.float32.relative_gap < 1e-3
    assert made.float32.deviation < 1e-3
    assert made.token_ids.tolist() == np.unique(found.corpus.tokens).tolist()


def test_the_same_seed_gives_the_same_model():
    found = contexts(random_documents(2, 12))
    one, two, other = (construct(found, seed=seed).model.state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["embedding.weight"], other["embedding.weight"])


def test_a_width_below_the_contexts_is_refused_with_what_it_reaches():
    documents = random_documents(3)
    within = [len(wanted(documents[: i + 1])) for i in range(len(documents))]
    reach = sum(count <= 50 for count in within)
    with pytest.raises(ConfigError, match=f"holds any 50 contexts.*first {reach} documents have {within[reach - 1]};"):
        construct(contexts(documents), width=50)
    smaller = construct(contexts(documents[:reach]), width=50)
    assert smaller.float64.deviation < 1e-6
    with pytest.raises(ConfigError, match=r"204.3 GB|[0-9,.]+ GB of memory"):
        construct(contexts(random_documents(4)), width=10**12)


def test_a_fit_below_the_contexts_is_certified():
    found = contexts(random_documents(6, 30, 5, 5))
    made = construct(found, width=20, method="fit", embedding=8)
    assert made.bound < made.lower <= made.float64.loss
    enough = construct(found, width=found.n, method="fit", embedding=8)
    assert enough.float64.relative_gap < 1e-3


def test_the_fit_is_the_minimum_of_another_solver_and_its_floor_is_below():
    draws = torch.Generator().manual_seed(0)
    hidden = torch.randn(12, 3, generator=draws, dtype=torch.float64)
    p = torch.rand(12, 4, generator=draws, dtype=torch.float64)
    p /= p.sum(1, keepdim=True)
    weights = torch.randint(1, 6, (12,), generator=draws).double()

    def loss(weight):
        return -(p * (hidden @ weight.T).log_softmax(1)).sum(1) @ weights

    weight = torch.zeros(4, 3, dtype=torch.float64, requires_grad=True)
    for _ in range(60):  # Newton's method on the dense Hessian, singular along constants
        gradient = torch.autograd.grad(loss(weight), weight)[0]
        hessian = torch.autograd.functional.hessian(loss, weight.detach()).reshape(12, 12)
        step = torch.linalg.lstsq(hessian, gradient.reshape(-1, 1), driver="gelsd").solution
        weight = (weight - step.reshape(4, 3)).detach().requires_grad_()
    weight.requires_grad_(False)
    found = fit(hidden, p, weights, precision=1e-9)
    assert found.loss == pytest.approx(float(loss(weight)), rel=1e-8)
    assert float(loss(found.weight)) == pytest.approx(found.loss, rel=1e-12)
    assert found.lower <= float(loss(weight)) * (1 + 1e-12)
    assert found.lower > float(loss(weight)) * (1 - 1e-6)
    assert found.lower > float(torch.special.entr(p).sum(1) @ weights)


@pytest.mark.parametrize("m", [40, 55, 600])
def test_solved_weights_rank_and_condition(m):
    n = 40 if m < 600 else 560
    hidden = torch.randn(n, m, generator=generator(1), dtype=torch.float64)
    logits = torch.randn(n, 3, generator=generator(2), dtype=torch.float64)
    found = solve(hidden, logits)
    least_norm = torch.linalg.pinv(hidden) @ logits
    torch.testing.assert_close(found.weight, least_norm.T, rtol=1e-7, atol=1e-8)
    values = torch.linalg.svdvals(hidden)
    assert found.condition == pytest.approx(float(values[0] / values[-1]), rel=0.05)
    assert found.rank == n
    assert found.residual < 1e-10


def test_dependent_features_are_counted():
    hidden = torch.randn(20, 12, generator=generator(1), dtype=torch.float64)
    hidden = hidden @ torch.randn(12, 25, generator=generator(2), dtype=torch.float64)
    assert solve(hidden, torch.zeros(20, 2, dtype=torch.float64)).rank == 12


def test_a_ladder_telescopes():
    features = torch.randn(50, 4, generator=generator(1), dtype=torch.float64)
    logits = torch.randn(50, 6, generator=generator(2), dtype=torch.float64)
    made = ladder(features, logits, 53, generator(3))
    hidden = torch.sigmoid(features @ made.weight.T + made.bias)
    torch.testing.assert_close(hidden @ made.output.T, logits, rtol=0, atol=1e-13)
    assert made.spacing > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "guess"}, "method is 'guess'; allowed are solve, ladder, fit"),
        ({"activation": "relu"}, "activation is 'relu'"),
        ({"method": "ladder", "activation": "tanh"}, "sigmoids"),
        ({"smoothing": 0.0}, "smoothing is 0.0"),
        ({"embedding": 0}, "embedding is 0"),
    ],
)
def test_options_out_of_range_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        construct(contexts(random_documents(1, 4)), **change)


def test_odd_corpora():
    with pytest.raises(DataError, match="no document has two tokens"):
        construct(contexts([[1], [2]]))
    for documents in ([[3, 3, 3]], [[5, 9]], [[1, 2], [1, 3], [2]]):
        made = construct(contexts(documents))
        assert made.float64.deviation < 2e-8
        assert made.float64.gap < 1e-6


@pytest.mark.parametrize(
    ("given", "p", "message"),
    [
        ([(0,), (0,)], [[0.5, 0.5]] * 2, "both"),
        ([(0,), ()], [[0.5, 0.5]] * 2, "context 1 is"),
        ([(2,)], [[0.5, 0.5]], "tokens, one at least, are 0..1"),
        ([(1,)], [[0.5, 0.6]], "row 0"),
        ([(1,)], [[1.5, -0.5]], "row 0"),
        ([(1,)], [[0.5, math.nan]], "row 0"),
        ([(1,), (0,)], [[0.5, 0.5]], "2 contexts and probabilities of shape"),
    ],
)
def test_what_is_no_distribution_is_refused(given, p, message):
    with pytest.raises(DataError, match=message):
        realise(given, np.array(p))
