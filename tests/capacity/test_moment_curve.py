import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netassay.capacity.corpus_bounds import logit_rank
from netassay.capacity.moment_curve import head_of, low_rank_head, moment_curve, vanishing
from netassay.corpus.context import contexts
from netassay.errors import ConfigError, DataError
from netassay.formats.corpus import read_corpus


def softmax(logits):
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


@given(st.integers(1, 15), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_any_small_supports_are_approached(vocabulary, s, seed):
    r = np.random.default_rng(seed)
    s = min(s, vocabulary)
    supports = [r.choice(vocabulary, r.integers(1, s + 1), replace=False) for _ in range(20)]
    probabilities = [r.dirichlet(np.ones(len(g))) + 1e-6 for g in supports]
    probabilities = [p / p.sum() for p in probabilities]
    head = low_rank_head(supports, probabilities, vocabulary)
    assert head.rank == 2 * max(map(len, supports)) <= 2 * s
    logits = head.context_factors @ head.token_factors.T
    assert logits.shape == (20, vocabulary)
    found = softmax(logits)
    for row, g, p, gap in zip(found, supports, probabilities, head.gaps_nats, strict=True):
        wanted = np.zeros(vocabulary)
        wanted[g] = p
        assert np.abs(row - wanted).max() < 1e-5
        # the divergence, by its definition
        assert gap == pytest.approx(float((p * np.log(p / row[g])).sum()), abs=1e-12)
    assert head.gap_nats() < 1e-8


def test_the_rank_does_not_grow_with_tokens_or_contexts():
    for vocabulary in (10, 400):
        supports = [np.array([g]) for g in range(vocabulary)]
        head = low_rank_head(supports, [np.ones(1)] * vocabulary, vocabulary)
        logits = head.context_factors @ head.token_factors.T
        assert np.linalg.matrix_rank(logits) == head.rank == 2
        assert head.gap_nats() < 1e-9


@pytest.mark.parametrize(
    ("vocabulary", "s", "gap"), [(200, 3, 1e-12), (750, 1, 1e-15), (750, 2, 1e-12), (750, 3, 1e-10)]
)
def test_the_gap_that_float64_holds_at_the_size_of_text(vocabulary, s, gap):
    """Supports anywhere on the circle, neighbours among them, by logits whose rank is measured."""
    r = np.random.default_rng(1)
    supports = [r.choice(vocabulary, s, replace=False) for _ in range(60)]
    probabilities = [(p + 1e-6) / (p + 1e-6).sum() for p in r.dirichlet(np.ones(s), 60)]
    head = low_rank_head(supports, probabilities, vocabulary)
    logits = head.context_factors @ head.token_factors.T
    assert np.linalg.matrix_rank(logits) <= head.rank == 2 * s
    shifted = logits - logits.max(1, keepdims=True)
    log_q = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    divergences = [p @ (np.log(p) - row[g]) for p, row, g in zip(probabilities, log_q, supports, strict=True)]
    assert max(divergences) < gap


def test_the_product_vanishes_on_the_support_and_nowhere_else():
    angles = np.array([0.3, 1.9, 4.0])
    c = vanishing(angles)
    theta = np.linspace(0, 2 * np.pi, 1001)
    curve = moment_curve(theta, 3)
    values = c[3].real + curve @ np.concatenate([2 * c[4:].real, -2 * c[4:].imag])
    assert values == pytest.approx(np.prod(1 - np.cos(theta[:, None] - angles), axis=1), abs=1e-14)


def test_text(shared_data):
    corpus = read_corpus(shared_data / "text" / "tinystories.txt", document="record", limit=6).documents
    documents = [d.tolist() for d in corpus][:100]
    found = contexts(documents, length=6)
    sparse = found.distributions()
    head, tokens = head_of(sparse)
    assert head.rank == 2 * sparse.supports.max()
    assert logit_rank(found.largest_support, found.vocabulary) == min(head.rank, found.vocabulary - 1)
    # certain contexts, most of the text, are reached to rounding
    assert sorted(tokens) == sorted({t for d in documents for t in d[1:]})
    assert head.gaps_nats[sparse.supports <= 2].max() < 1e-9
    assert head.gap_nats(sparse.totals) == pytest.approx(float(head.gaps_nats @ sparse.totals))


@pytest.mark.parametrize(
    ("support", "weights"),
    [
        ([0, 0], [0.5, 0.5]),
        ([5], [1.0]),
        ([0, 1], [1.0, 0.0]),
        ([0], [0.5]),
        ([], []),
        ([0, 1], [1.0]),
        ([0.0], [1.0]),
    ],
)
def test_what_is_no_distribution_is_refused(support, weights):
    with pytest.raises(DataError, match="distribution 0"):
        low_rank_head([np.array(support)], [np.array(weights)], 3)


def test_sizes_are_checked():
    with pytest.raises(ConfigError, match="vocabulary is 0"):
        low_rank_head([], [], 0)
    assert low_rank_head([], [], 3).gap_nats() == 0
