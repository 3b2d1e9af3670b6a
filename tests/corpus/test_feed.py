"""Rows of a corpus as a model is fed them, against loops and dictionaries."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import netassay
from netassay.corpus.feed import Feed
from netassay.corpus.occurrence import occurrences
from netassay.errors import ConfigError, DataError

DOCUMENTS = st.lists(st.lists(st.integers(0, 3), max_size=9), min_size=1, max_size=12)


def rows_by_hand(documents, blocks=None, stride=None, first=None, length=None):
    """(context, token, document) of every prediction, by loops."""
    documents = [document[:length] for document in documents]
    before = [] if first is None else [first]
    if blocks is None:
        for number, document in enumerate(documents):
            for t in range(1 - len(before), len(document)):
                yield (*before, *document[:t]), document[t], number
        return
    stream = [(token, number) for number, document in enumerate(documents) for token in document]
    size = blocks - len(before)
    stride = stride or size
    predicted, start = 1 - len(before), 0
    while predicted < len(stream):
        while predicted <= min(start + size, len(stream) - 1):
            token, number = stream[predicted]
            yield (*before, *(word for word, _ in stream[start:predicted])), token, number
            predicted += 1
        start += stride


@given(
    DOCUMENTS,
    st.sampled_from([None, 2, 3, 5, 8]),
    st.integers(1, 8),
    st.sampled_from([None, 0, 7]),
    st.sampled_from([None, 3]),
)
def test_rows_and_occurrences_are_those_of_loops(documents, blocks, stride, first, length):
    stride = min(stride, blocks - (first is not None)) if blocks is not None else None
    how = {"blocks": blocks, "stride": stride, "first": first, "length": length}
    truth = list(rows_by_hand(documents, **how))
    if not truth:
        with pytest.raises(DataError, match="nothing to predict"):
            Feed.of(documents, **how)
        return
    feed = Feed.of(documents, **how)
    assert feed.predictions == len(truth)
    assert [tuple(feed.context(i).tolist()) for i in range(len(truth))] == [context for context, *_ in truth]
    assert feed.targets().tolist() == [token for _, token, _ in truth]
    assert feed.documents_of().tolist() == [number for *_, number in truth]
    assert feed.context_lengths().tolist() == [len(context) for context, *_ in truth]

    follow, firsts = defaultdict(Counter), {}
    for i, (context, token, _) in enumerate(truth):
        follow[context][token] += 1
        firsts.setdefault(context, i)
    found = occurrences(feed)
    assert found.contexts.tolist() == [firsts[context] for context, *_ in truth]
    assert found.totals.tolist() == [follow[context].total() for context, *_ in truth]
    assert found.counts.tolist() == [follow[context][token] for context, token, _ in truth]
    assert found.supports.tolist() == [len(follow[context]) for context, *_ in truth]
    assert found.likeliest.tolist() == [
        follow[context][token] == max(follow[context].values()) for context, token, _ in truth
    ]
    nats = [-math.log(follow[context][token] / follow[context].total()) for context, token, _ in truth]
    assert np.allclose(found.nats(), nats, rtol=1e-12, atol=0)


def test_the_bound_of_documents_is_that_of_their_contexts():
    documents = np.random.default_rng(0).integers(0, 3, (400, 12))
    counted = netassay.contexts(documents)
    assert math.isclose(occurrences(Feed.of(documents)).nats().sum(), counted.bound_nats, rel_tol=1e-12)
    begun = occurrences(Feed.of(documents, first=9)).nats().sum()
    assert math.isclose(begun, counted.bound_nats_with_empty, rel_tol=1e-12)


def test_rows_that_begin_alike_for_long_are_counted_alike():
    shared = list(range(3000))
    feed = Feed.of([[*shared, 1], [*shared, 2], [*shared, 2]])
    found = occurrences(feed)
    assert found.totals.tolist() == [3] * 9000
    assert found.contexts.tolist() == list(range(3000)) * 3
    assert found.counts.reshape(3, -1)[:, -1].tolist() == [1, 2, 2]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"blocks": 0}, "blocks is 0"),
        ({"stride": 2}, "give blocks too"),
        ({"blocks": 4, "stride": 5}, "would be left out"),
        ({"blocks": 4, "stride": 4, "first": 0}, "give 1 to 3"),
        ({"blocks": 1, "first": 0}, "give 2 or more"),
        ({"first": -1}, "token id"),
        ({"length": 0}, "length is 0"),
    ],
)
def test_sizes_out_of_range_are_refused(how, said):
    with pytest.raises(ConfigError, match=said):
        Feed.of([[1, 2, 3]], **how)
