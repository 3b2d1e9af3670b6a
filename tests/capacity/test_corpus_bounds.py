import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import netassay
from netassay.capacity.corpus_bounds import verdict
from netassay.corpus.context import contexts
from netassay.corpus.tallies import telescoped_bound
from netassay.errors import ConfigError
from netassay.formats.corpus import read_corpus


@given(st.lists(st.lists(st.integers(0, 2), min_size=4, max_size=4), min_size=1, max_size=40))
def test_the_bound_telescopes(documents):
    found = contexts(documents)
    _, counts = np.unique(documents, axis=0, return_counts=True)
    n = len(documents)
    entropy = -math.fsum(c / n * math.log(c / n) for c in counts)
    assert found.bound_nats_with_empty == pytest.approx(n * entropy, rel=1e-12, abs=1e-12)
    assert found.bound_nats_with_empty == pytest.approx(telescoped_bound(n, counts), rel=1e-10, abs=1e-10)
    # the empty context's part leaves when first tokens are not predicted
    firsts = np.unique([d[0] for d in documents], return_counts=True)[1]
    rest = math.fsum(c * math.log(c) for c in firsts) - math.fsum(c * math.log(c) for c in counts)
    assert found.bound_nats == pytest.approx(rest, rel=1e-10, abs=1e-10)


@given(st.lists(st.lists(st.integers(0, 2), min_size=4, max_size=4), min_size=1, max_size=40))
def test_degrees_of_freedom_count_the_new_prefixes(documents):
    found = contexts(documents)
    distinct = [len({tuple(d[:t]) for d in documents}) for t in range(5)]
    assert found.degrees_of_freedom == distinct[4] - distinct[1] <= len(documents) - 1
    assert found.degrees_of_freedom_with_empty == distinct[4] - distinct[0]


def test_degrees_of_freedom_are_the_dimension_of_what_the_counts_can_say():
    """The rank of the map from free logits on the support to the distributions, counted by brute force."""
    found = contexts([[0, 1], [0, 2], [0, 1], [1, 0], [2, 1], [2, 0], [2, 2]]).distributions()
    rank, draws = 0, torch.Generator().manual_seed(0)
    for support in found.supports:
        logits = torch.randn(int(support), dtype=torch.float64, generator=draws)
        jacobian = torch.func.jacrev(lambda z: torch.softmax(z, 0))(logits)
        rank += int(torch.linalg.matrix_rank(jacobian, atol=1e-12))
    assert rank == contexts([[0, 1], [0, 2], [0, 1], [1, 0], [2, 1], [2, 0], [2, 2]]).degrees_of_freedom == 3


@given(
    st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=5), min_size=1, max_size=60),
    st.sampled_from([None, 1, 2]),
)
def test_unequal_branches_are_the_distinct_counts_less_one(documents, window):
    found = contexts(documents, window=window)
    after = {}
    for document in documents:
        for t, token in enumerate(document):
            context = tuple(document[:t] if window is None else document[max(t - window, 0) : t])
            after.setdefault(context, Counter())[token] += 1
    by_length = Counter()
    for context, counts in after.items():
        by_length[len(context)] += len(set(counts.values())) - 1
    expected = [by_length[t] for t in range(len(found.unequal_by_length))]
    assert found.unequal_by_length.tolist() == expected
    assert found.degrees_of_freedom_unequal == sum(expected[1:])
    assert (found.unequal_by_length <= found.branches_by_length).all()


def test_one_parameter_reaches_a_bound_below_the_degrees_of_freedom():
    """Equal branches: a table in a buffer, scaled by one parameter. Unequal ones ask for a parameter of their own."""
    documents = [[0, 1], [0, 2], [3, 1], [3, 2], [4, 1], [4, 5]]
    found = contexts(documents)
    table = torch.full((6, 6), -1.0, dtype=torch.float64)
    for before, after in documents:
        table[before, after] = 0
    logits = 60 * table[torch.tensor(documents)[:, 0]]
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(documents)[:, 1], reduction="sum")
    assert float(loss) == pytest.approx(found.bound_nats, abs=1e-12)
    judged = verdict(found, 1)
    assert judged.answer == "not for almost all frequencies"
    assert (found.degrees_of_freedom, judged.degrees_of_freedom_unequal) == (3, 0)
    assert "0 degrees of freedom are left where equally frequent next tokens stay so" in judged.words
    assert verdict(contexts([*documents, [0, 1]]), 1).degrees_of_freedom_unequal == 1


def test_information_of_a_thousand_stories(shared_data):
    corpus = read_corpus(shared_data / "text" / "tinystories.txt", document="record", limit=10).documents
    found = contexts(list(corpus)[:1000], length=10)
    bits = (9000 * math.log(761) - found.bound_nats) / math.log(2)
    assert found.information_bits == pytest.approx(bits)
    assert found.predicted_parameters() == pytest.approx(bits / 3.6)
    assert found.predicted_parameters(bits_per_parameter=3.83) == pytest.approx(bits / 3.83)


def test_a_corpus_known_by_heart_in_bits():
    # eight equally frequent words, each the only continuation of its own context: three bits each, no loss
    found = contexts([[i, i] for i in range(8)])
    assert found.bound_nats == 0
    assert found.information_bits == pytest.approx(24)
    assert contexts([[5, 5]]).information_bits == 0
    with pytest.raises(ConfigError, match="above 0"):
        found.predicted_parameters(bits_per_parameter=0)


@pytest.fixture
def corpus():
    r = np.random.default_rng(0)
    return contexts(r.integers(0, 5, (200, 5)))


def test_verdicts(corpus):
    n, freedom = corpus.n, corpus.degrees_of_freedom
    least = verdict(corpus, 1).fewest_parameters_worst_case
    cases = {
        (freedom - 1, None): ("not for almost all frequencies", "cannot"),
        (freedom, None): ("may", "may" if freedom >= least else "cannot"),
        (least, None): ("may", "may"),
        (10 * least, n - 1): ("may", "may"),
        (10 * least, n): ("can", "can"),
    }
    for (parameters, width), answers in cases.items():
        found = verdict(corpus, parameters, width=width)
        assert (found.answer, found.worst_case) == answers
        generic = found.answer == "not for almost all frequencies"
        assert found.not_for_almost_all_frequencies == generic
        begin = "Not for almost all frequencies" if generic else f"It {found.answer} memorise this corpus"
        assert found.words.startswith(begin)
        assert "cannot memorise" not in found.words
        assert ("no setting of them fits" in found.words) == (found.worst_case == "cannot")
        assert found.sufficient_width == found.contexts == n
        assert found.fewest_parameters_this_corpus == freedom
        assert found.degrees_of_freedom_unequal == corpus.degrees_of_freedom_unequal < freedom
    assert verdict(corpus, least - 1).worst_case == "cannot"


def test_a_larger_vocabulary_asks_for_more(corpus):
    assert (
        verdict(corpus, 10, vocabulary=50).fewest_parameters_worst_case
        > verdict(corpus, 10).fewest_parameters_worst_case
    )
    with pytest.raises(ConfigError, match="holds 5 different tokens"):
        verdict(corpus, 10, vocabulary=4)


@pytest.mark.parametrize("documents", [[[7, 7, 7]] * 3, [[1], [2]], []])
def test_nothing_to_learn_can_be_learned(documents):
    found = verdict(contexts(documents), 0)
    assert (found.answer, found.worst_case) == ("can", "can")
    assert found.words.startswith("It can memorise this corpus: nothing")


def test_bounds_of_a_number_and_of_a_module(corpus):
    model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 5))
    found = netassay.bounds(model, 5, width=8)
    assert found == netassay.bounds(4 * 8 + 9 * 5, 5, width=8)
    assert found.upper_general == 77 / 4
    assert found.upper_empirical == pytest.approx(2.25 * 77 / 4 + 2)
    assert (found.upper_empirical_tight, found.lower_construct) == (found.upper_empirical - 1, 8)
    assert found.verdict is None
    judged = netassay.bounds(model, corpus=corpus)
    assert judged.verdict == verdict(corpus, 77)
    assert (judged.vocabulary, judged.lower_construct) == (5, None)


def test_bounds_never_contradict_each_other(corpus):
    # the output layer alone has 4 x 6 weights: with fewer parameters, Lemma 9 would lie below Theorem 21
    with pytest.raises(ConfigError, match="hidden layer of 6 with 5 tokens"):
        netassay.bounds(23, 5, width=6)
    with pytest.raises(ConfigError, match="hidden layer of 6 with 5 tokens"):
        netassay.bounds(23, width=6, corpus=corpus)
    found = netassay.bounds(24, 5, width=6)
    assert found.lower_construct <= found.upper_general <= found.upper_empirical
    with pytest.raises(ConfigError, match="give a vocabulary"):
        netassay.bounds(5)


def test_all_bounds_side_by_side(corpus):
    rows = {row.bound: row for row in netassay.side_by_side(corpus, embedding=4)}
    n = corpus.n
    assert rows["any distributions"].parameters == n * 4
    assert rows["worst corpus"].parameters == verdict(corpus, 1).fewest_parameters_worst_case
    assert rows["degrees of freedom"].parameters == corpus.degrees_of_freedom
    unequal = rows["degrees of freedom of unequal branches"]
    assert unequal.parameters == corpus.degrees_of_freedom_unequal < corpus.degrees_of_freedom
    predicted = rows["bits, 3.6 a parameter"]
    assert predicted.leaves_out == "the fixed cost of embedding and attention"
    assert rows["bits, 3.6 a parameter"].parameters == corpus.predicted_parameters()
    assert rows["rank of the logits"].rank == 4
    theory = rows["decoder of the theory, a neuron a context"]
    assert theory.width == n
    assert theory.parameters == netassay.decoder_parameters(5, n, embedding=4, longest=5)
    # what suffices for every corpus is no less than what is necessary for one
    for row in rows.values():
        if row.says == "necessary":
            assert row.parameters <= theory.parameters
    larger = {row.bound: row for row in netassay.side_by_side(corpus, vocabulary=50)}
    assert larger["any distributions"].parameters == n * 49
    with pytest.raises(ConfigError, match="holds 5 different tokens"):
        netassay.side_by_side(corpus, vocabulary=4)
    assert netassay.side_by_side(contexts([]))[0].width == 0
