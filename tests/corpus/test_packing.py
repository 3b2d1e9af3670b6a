"""Rows across documents, against those that a model is fed."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import netassay
from netassay.corpus.feed import Feed
from netassay.corpus.packing import packed
from netassay.errors import ConfigError
from netassay.formats.documents import Documents

DOCUMENTS = st.lists(st.lists(st.integers(0, 3), max_size=9), min_size=1, max_size=12)


@given(DOCUMENTS, st.integers(1, 8), st.integers(1, 8), st.integers(1, 9))
def test_packed_rows_are_those_of_a_feed(documents, blocks, stride, at_once):
    stride = min(stride, blocks)
    corpus = Documents.of(documents)
    rows = [row.tolist() for part in packed(corpus.parts(at_once), blocks, stride) for row in part]
    if len(corpus.tokens) < 2:
        assert not rows
        return
    feed = Feed.of(corpus, blocks=blocks, stride=stride)
    assert rows == [feed.row(i).tolist() for i in range(len(feed))]


def test_the_bound_of_packed_rows_is_that_of_what_a_model_is_fed():
    documents = np.random.default_rng(0).integers(0, 3, (40, 9))
    found = netassay.contexts(Documents.concatenate(packed([Documents.of(documents)], 5)))
    feed = Feed.of(documents, blocks=5)
    assert found.predictions == feed.predictions
    assert math.isclose(found.bound_nats, netassay.corpus.occurrences(feed).nats().sum(), rel_tol=1e-12)


def test_sizes_out_of_range_are_refused_before_anything_is_read():
    for blocks, stride in ((0, None), (4, 5), (4, 0)):
        with pytest.raises(ConfigError):
            packed([], blocks, stride)
