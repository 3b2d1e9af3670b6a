"""The contexts of a corpus as sequences: against those compared one by one, and in memory of the corpus's own size."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import netassay
from netassay.corpus import target
from netassay.corpus.target import targets
from netassay.errors import DataError

DOCUMENTS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=8)


@given(DOCUMENTS, st.sampled_from([None, 1, 2]))
def test_sequences_and_places_are_those_of_all_contexts_compared(documents, window):
    found = netassay.contexts(documents, window=window)
    to = targets(found)
    names = {token: i for i, token in enumerate(np.unique(found.corpus.tokens).tolist())}
    contexts = [tuple(names[token] for token in context) for context, _ in found.distributions()]
    maximal = sorted(
        one for one in contexts if not any(other != one and other[: len(one)] == one for other in contexts)
    )
    if not contexts:
        return
    longest = max(map(len, contexts))
    assert to.sequences.tolist() == [[*one, *[0] * (longest - len(one))] for one in maximal]
    first = [next(i for i, other in enumerate(maximal) if other[: len(one)] == one) for one in contexts]
    places = [row * longest + len(one) - 1 for row, one in zip(first, contexts, strict=True)]
    assert to.places.tolist() == places


def test_one_long_document_takes_memory_of_its_own_length():
    # every beginning of it is a context: filled up to its length they would take 1.8 GB
    found = netassay.contexts([np.random.default_rng(0).integers(0, 50, 15_000).tolist(), [1, 2]])
    tracemalloc.start()
    to = targets(found)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(to) > 14_000
    assert peak < 100_000_000


def test_what_does_not_fit_is_refused_before_memory_is_taken(monkeypatch):
    monkeypatch.setattr(target, "machine_bytes", lambda: 900)
    with pytest.raises(DataError, match=r"3 sequences filled up to the longest, 4 tokens, .*--length"):
        targets(netassay.contexts([[1, 2, 3, 4, 5], [2, 3], [3, 1]]))
