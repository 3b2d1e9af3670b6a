"""Entropy bounds at many lengths of context, against dictionaries and against one window at a time."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import netassay
import netassay.corpus.conditional as module
from netassay.corpus.conditional import conditional_entropies
from netassay.errors import ConfigError, DataError
from netassay.formats.documents import Documents

DOCUMENTS = st.lists(st.lists(st.integers(-1, 1), max_size=14), min_size=1, max_size=10)


def by_hand(documents, length):
    follow, tokens = defaultdict(Counter), Counter()
    for document in documents:
        for t in range(1, len(document)):
            start = max(t - length, 0)
            # a context that begins a document is another than one within
            follow[tuple(document[start:t]), start == 0 and t < length][document[t]] += 1
            tokens[document[t]] += 1
    nats = [c * math.log(n.total() / c) for n in follow.values() for c in n.values()]
    once = [next(iter(n)) for n in follow.values() if n.total() == 1]
    return {
        "predictions": tokens.total(),
        "contexts": len(follow),
        "certain": sum(len(n) == 1 for n in follow.values()),
        "branches": sum(len(n) - 1 for n in follow.values()),
        "unequal": sum(len(set(n.values())) - 1 for n in follow.values()),
        "widest": max(map(len, follow.values())),
        "nats": math.fsum(nats),
        "once": len(once),
        "once_nats": -math.fsum(math.log(tokens[token] / tokens.total()) for token in once),
    }


def check(documents, lengths, **how):
    for row in conditional_entropies([Documents.of(documents)], lengths, **how):
        for name, value in by_hand(documents, row.length).items():
            assert math.isclose(getattr(row, name), value, rel_tol=1e-12, abs_tol=1e-12), (row.length, name)


@given(DOCUMENTS, st.sets(st.integers(1, 16), min_size=1))
def test_all_numbers_are_those_of_a_dictionary(documents, lengths):
    if max(map(len, documents)) < 2:
        with pytest.raises(DataError, match="nothing to predict"):
            conditional_entropies([Documents.of(documents)], [*lengths])
        return
    check(documents, [*lengths])


@pytest.mark.parametrize("memory", [1 << 62, 1 << 14])
def test_copies_ends_and_parts_on_disk(memory, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 97)
    draws = np.random.default_rng(0)
    text = draws.integers(0, 6, 60).tolist()
    documents = [text, text, text[:40], text[5:50], *draws.integers(0, 6, (20, 7)).tolist(), [], [1], text]
    check(documents, [1, 2, 3, 5, 8, 30, 39, 40, 41, 59, 60, 61, 1024], memory=memory, folder=tmp_path)
    assert not [*tmp_path.iterdir()]


def test_each_length_is_the_window_of_that_length():
    documents = np.random.default_rng(1).integers(0, 4, (50, 30))
    for row in conditional_entropies([Documents.of(documents)], [1, 3, 6, 40]):
        window = netassay.contexts(documents, window=row.length)
        assert math.isclose(row.nats, window.bound_nats, rel_tol=1e-12)
        assert (row.contexts, row.predictions) == (window.n, window.predictions)
        assert (row.branches, row.widest) == (window.degrees_of_freedom, window.largest_support)
        assert row.share_certain == window.share_certain
        assert math.isclose(row.bits_per_token, window.bound_bits_per_token, rel_tol=1e-12)


def test_lengths_that_are_none_are_refused():
    for lengths in ([], [0, 1], [1 << 21]):
        with pytest.raises(ConfigError, match="give lengths of context"):
            conditional_entropies([Documents.of([[1, 2]])], lengths)
