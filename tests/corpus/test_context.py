import math
import pydoc_data.topics
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netassay.corpus import counting, prefixes, tallies
from netassay.corpus.context import contexts
from netassay.errors import ConfigError, DataError
from netassay.formats.corpus import read_corpus
from netassay.formats.documents import Documents

EXAMPLE_11 = [(1, 2, 4), (1, 2, 5), (1, 3, 4)]


def counted(documents, window=None):
    """The definition, by a dictionary: context -> how often each next token follows."""
    found = defaultdict(Counter)
    for document in documents:
        for t, token in enumerate(document):
            found[tuple(document[max(0, t - window) if window else 0 : t])][token] += 1
    return found


def bound(found, empty):
    return math.fsum(
        -count * math.log(count / sum(following.values()))
        for context, following in found.items()
        if context or empty
        for count in following.values()
    )


def close(a, b):
    return math.isclose(a, b, rel_tol=1e-10, abs_tol=1e-12)


@st.composite
def corpora(draw):
    """Few tokens and shared beginnings, so that prefixes meet; lengths, ids and copies of all kinds."""
    ids = draw(st.sampled_from([[0], [0, 1], [0, 1, 2], [-5, 3, 2**40], [7, 10**6]]))
    documents = draw(st.lists(st.lists(st.sampled_from(ids), max_size=7), max_size=30))
    stem = draw(st.lists(st.sampled_from(ids), max_size=30))
    copies = draw(st.lists(st.integers(0, len(stem)), max_size=6))
    return [*documents, *(stem[:size] for size in copies)]


@given(corpora(), st.none() | st.integers(1, 6), st.none() | st.integers(1, 8), st.booleans())
@example([], None, None, False)
@example([[], []], None, 3, False)
@example([[0]], 1, 1, False)
@example([[3, 3, 3, 3]] * 5, None, 2, True)
@settings(max_examples=400)
def test_everything_equals_the_dictionary(documents, window, length, exact):
    exact = exact and length is not None
    used = [d[:length] for d in documents if not exact or len(d) >= length]
    truth = counted(used, window)
    found = contexts(documents, length=length, window=window, exact_length=exact)
    assert (found.n, found.n_with_empty) == (len(truth) - (() in truth), len(truth))
    assert (found.documents, found.empty) == (len(used), sum(not d for d in used))
    assert (found.tokens, found.vocabulary) == (sum(map(len, used)), len({t for d in used for t in d}))
    assert found.dropped == len(documents) - len(used)
    assert found.shortened == sum(length is not None and len(d) > length for d in documents)
    assert close(found.bound_nats, bound(truth, False))
    assert close(found.bound_nats_with_empty, bound(truth, True))
    assert found.degrees_of_freedom == sum(len(f) - 1 for c, f in truth.items() if c)
    assert found.degrees_of_freedom_with_empty == sum(len(f) - 1 for f in truth.values())
    assert found.predictions == sum(sum(f.values()) for c, f in truth.items() if c)
    assert dict(found.distributions(empty=True)) == truth
    assert dict(found.distributions()) == {c: f for c, f in truth.items() if c}
    for size, number in enumerate(found.contexts_by_length):
        here = {c: f for c, f in truth.items() if len(c) == size}
        assert number == len(here)
        assert found.certain_by_length[size] == sum(len(f) == 1 for f in here.values())
        assert found.predictions_by_length[size] == sum(sum(f.values()) for f in here.values())
        assert found.widest_by_length[size] == max(map(len, here.values()), default=0)
        assert close(found.nats_by_length[size], bound(here, True))
    assert found.largest_support == max((len(f) for c, f in truth.items() if c), default=0)


def test_example_11():
    found = contexts(EXAMPLE_11)
    assert (found.n, found.n_with_empty) == (3, 4)
    assert found.bound_nats_with_empty == pytest.approx(3 * math.log(3), rel=1e-15)


def test_what_a_corpus_may_be_given_as():
    expected = contexts(EXAMPLE_11).bound_nats_with_empty
    rows = np.array(EXAMPLE_11)
    for form in (
        rows,
        rows.astype(np.uint8),
        rows.T.copy().T,
        list(rows),
        map(list, EXAMPLE_11),
        Documents.of(rows),
    ):
        assert contexts(form).bound_nats_with_empty == expected
    assert contexts([iter(d) for d in EXAMPLE_11]).bound_nats_with_empty == expected


@pytest.mark.parametrize("packed", [True, False])
def test_both_ways_to_sort_agree(packed, monkeypatch):
    r = np.random.default_rng(0)
    documents = r.zipf(1.5, (3000, 6)) % 50
    truth = bound(counted(documents.tolist()), True)
    if not packed:
        monkeypatch.setattr(prefixes, "WORD", 30)
        monkeypatch.setattr(counting, "WORD", 12)
    assert close(contexts(documents).bound_nats_with_empty, truth)


def test_digits_survive_a_context_that_is_almost_certain():
    documents = np.zeros((1_000_000, 2), np.int64)
    documents[0, 1] = 1
    n = 1_000_000
    expected = (n - 1) * math.log1p(1 / (n - 1)) + math.log(n)
    assert math.isclose(contexts(documents).bound_nats, expected, rel_tol=1e-14)


def test_long_copies_cost_no_level_each():
    stem = np.random.default_rng(0).integers(0, 200, 1_000_000)
    found = contexts([stem, stem, stem[:-1], stem[:500_000]])
    assert found.n == 999_999
    assert found.bound_nats_with_empty == 0
    assert found.predictions_by_length[[0, 499_999, 500_000, 999_999]].tolist() == [4, 4, 3, 2]


def test_a_wide_window_is_every_prefix():
    documents = [list(map(ord, line)) for line in pydoc_data.topics.topics["lambda"].splitlines()]
    wide, prefix = contexts(documents, window=1000), contexts(documents)
    assert (wide.n, wide.bound_nats) == (prefix.n, prefix.bound_nats)


def test_narrower_windows_leave_more_to_guess():
    documents = [list(text.encode()) for text in pydoc_data.topics.topics.values()]
    bounds = [contexts(documents, window=window).bound_nats for window in (1, 2, 4, 8, 16)]
    assert bounds == sorted(bounds, reverse=True)


def test_text_of_the_standard_library():
    documents = [list(text.encode()) for text in pydoc_data.topics.topics.values()]
    found = contexts(documents)
    assert found.documents == len(documents)
    assert found.bound_nats_with_empty == pytest.approx(bound(counted([d[:300] for d in documents]), True))


def test_whole_stories_telescope(shared_data):
    stories = read_corpus(shared_data / "text" / "tinystories.txt", document="record").documents
    # the last of the file is cut, 2,316 are whole
    whole = Documents(stories.tokens[: stories.offsets[2316]], stories.offsets[:2317])
    assert contexts(whole).bound_nats_with_empty == pytest.approx(17_943.434278, abs=1e-6)


@pytest.mark.parametrize(("stories", "n", "vocabulary"), [(100, 283, 154), (300, 979, 393), (1000, 2932, 761)])
def test_first_ten_tokens_of_stories(stories, n, vocabulary, shared_data):
    corpus = read_corpus(shared_data / "text" / "tinystories.txt", document="record", limit=10).documents
    documents = [d.tolist() for d in corpus][:stories]
    found = contexts(documents, length=10)
    assert (found.n, found.vocabulary) == (n, vocabulary)
    assert close(found.bound_nats, bound(counted(documents), False))


def test_sums_over_contexts_are_held_against_whole_documents(monkeypatch):
    documents = np.random.default_rng(0).integers(0, 4, (500, 6))
    ids, lengths = documents.ravel(), np.full(500, 6)
    right = contexts(documents).bound_nats_with_empty
    tallies.require_telescoped(ids, lengths, right)
    with pytest.raises(AssertionError, match="add up to"):
        tallies.require_telescoped(ids, lengths, right * (1 + 1e-6))
    # a collision of hashes is no violation: documents are then compared by their tokens
    monkeypatch.setattr(tallies, "document_hashes", lambda tokens, lengths: np.zeros(len(lengths), np.uint64))
    tallies.require_telescoped(ids, lengths, right)


def test_documents_that_end_are_told_apart_from_those_that_go_on():
    # after (1) one of three documents ends: the other two share one bit
    found = contexts([[1], [1, 2], [1, 3]])
    assert found.bound_nats == pytest.approx(2 * math.log(2))
    assert found.bound_bits_per_token == pytest.approx(1)
    assert found.bound_bits_per_token_with_empty == pytest.approx(2 / 5)
    with_end = contexts([[1, 0], [1, 2, 0], [1, 3, 0]])
    assert with_end.bound_nats_with_empty == pytest.approx(3 * math.log(3))


def test_hashes_tell_documents_apart():
    r = np.random.default_rng(0)
    documents = [r.integers(0, 3, r.integers(1, 9)).tolist() for _ in range(4000)]
    flat = np.array([t for d in documents for t in d])
    hashes = tallies.document_hashes(flat, np.array(list(map(len, documents))))
    assert len(set(hashes.tolist())) == len(set(map(tuple, documents)))


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([[1, 2], [1.5]], "document 1"),
        ([[1, 2], 3], "document 1"),
        ([["a"]], "document 0"),
        ([[True, False]], "document 0"),
        ([[1], [2**70]], "document 1"),
        ("text", "tokenize it"),
        (5, "int"),
        (np.arange(4), r"shape \(4,\)"),
        (np.ones((2, 2)), "float64"),
    ],
)
def test_what_is_no_corpus_is_refused(documents, message):
    with pytest.raises(DataError, match=message):
        contexts(documents)


@pytest.mark.parametrize("words", [{"length": 0}, {"window": 0}, {"length": -1}, {"exact_length": True}])
def test_lengths_are_checked(words):
    with pytest.raises(ConfigError, match=r"length|window"):
        contexts(EXAMPLE_11, **words)


def test_distributions_are_ordered_and_whole():
    found = contexts([[5, 6, 7], [5, 6, 8], [4, 1], [5, 6, 7]]).distributions(empty=True)
    assert found.lengths.tolist() == [0, 1, 1, 2]
    assert [tuple(found.context(i)) for i in range(4)] == [(), (5,), (4,), (5, 6)]
    assert found.totals.tolist() == [4, 3, 1, 3]
    assert found.supports.tolist() == [2, 1, 1, 2]
    assert found.probabilities.tolist() == pytest.approx([0.25, 0.75, 1, 1, 2 / 3, 1 / 3])
