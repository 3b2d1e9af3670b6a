import math
from collections import Counter, defaultdict
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netassay.corpus import counting, tallies
from netassay.corpus.context import contexts
from netassay.corpus.counting import Form, tallied
from netassay.formats.documents import Documents

NAMES = ("contexts", "predictions", "certain", "branches", "unequal", "widest")


@contextmanager
def divided(block, deepest=8, many=1 << 18, documents=1 << 15):
    """Documents counted in small blocks and piles, so that a few meet every branch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "BLOCK", block)
        patch.setattr(counting, "DEEPEST", deepest)
        patch.setattr(counting, "MANY", many)
        patch.setattr(counting, "DOCUMENTS", documents)
        patch.setattr(counting, "AT_ONCE", 7)
        yield


def by_dictionary(documents):
    """The numbers of each length by the definition: context -> how often each next token follows."""
    following = defaultdict(Counter)
    for document in documents:
        for t, token in enumerate(document):
            following[tuple(document[:t])][token] += 1
    rows = []
    for length in range(max(map(len, documents), default=0)):
        here = [counts for context, counts in following.items() if len(context) == length]
        terms = [c * math.log(f.total() / c) for f in here for c in f.values()]
        rows.append(
            (
                len(here),
                sum(f.total() for f in here),
                sum(len(f) == 1 for f in here),
                sum(len(f) - 1 for f in here),
                sum(len(set(f.values())) - 1 for f in here),
                max(map(len, here)),
                math.fsum(terms),
            )
        )
    return rows


def rows_of(counted):
    arrays = [getattr(counted, f"{name}_by_length").tolist() for name in (*NAMES, "nats")]
    return list(zip(*arrays, strict=True))


@st.composite
def corpora(draw):
    """Beginnings in common, copies, empty documents, and vocabularies of one to many bits."""
    ids = draw(st.sampled_from([[0], [0, 1], [3, 5, 6], list(range(50)), [0, 65_535], [1, 2, 200_000], [-5, 3, 2**40]]))
    least = draw(st.sampled_from([0, 1, 4, 9]))
    documents = draw(st.lists(st.lists(st.sampled_from(ids), min_size=least, max_size=least + 4), max_size=30))
    stem = draw(st.lists(st.sampled_from(ids), min_size=least, max_size=20))
    sizes = draw(st.lists(st.integers(min(least, len(stem)), len(stem)), max_size=20))
    return draw(st.permutations([*documents, *(stem[:size] for size in sizes)]))


@given(corpora(), st.sampled_from([2, 5, 16, 1 << 16]), st.integers(0, 8), st.booleans(), st.integers(1, 9))
@example([[0, 1]] * 9 + [[0]] * 3, 2, 1, True, 1)
@example([[]] * 5, 2, 1, True, 1)
@settings(max_examples=400)
def test_every_division_equals_the_dictionary(documents, block, deepest, piled, size):
    with divided(block, deepest, 0 if piled else 1 << 18, size):
        found = rows_of(contexts(documents))
    expected = by_dictionary(documents)
    assert [row[:-1] for row in found] == [row[:-1] for row in expected]
    assert np.allclose([row[-1] for row in found], [row[-1] for row in expected], rtol=1e-12, atol=1e-12)
    # and to the last bit what one sort of all would give
    assert rows_of(contexts(documents)) == found


@given(corpora(), st.integers(1, 6), st.sampled_from([2, 5, 1 << 16]))
def test_windows_are_the_same_in_blocks(documents, window, block):
    with divided(block):
        found = rows_of(contexts(documents, window=window))
    assert found == rows_of(contexts(documents, window=window))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_large_blocks_of_every_kind_of_integer(kind):
    rows = (np.random.default_rng(0).zipf(1.3, (20_000, 6)) % 200).astype(kind)
    whole = rows_of(contexts(rows))
    assert whole == rows_of(contexts(rows.tolist()))
    with divided(1 << 10, many=0, documents=500):
        assert rows_of(contexts(rows)) == whole
    assert [row[:6] for row in whole] == [row[:6] for row in by_dictionary(rows.tolist())]


def test_a_key_holds_as_many_tokens_as_fit():
    lengths = np.full(1 << 16, 10)
    assert Form.of(lengths, 50_000, 1 << 16) == Form(16, 16, 3, False)
    assert Form.of(lengths, 256, 1 << 16) == Form(16, 8, 6, False)
    assert Form.of(lengths, 1, 1) == Form(0, 1, 10, False)
    # a document that ends needs a number for its end
    lengths[7] = 2
    assert Form.of(lengths, 256, 1 << 16) == Form(16, 9, 5, True)
    assert Form.of(lengths, 1 << 40, 1 << 16).ahead == 1


def test_keys_are_ordered_as_documents_are():
    r = np.random.default_rng(0)
    documents = [r.integers(0, 5, r.integers(1, 9)).tolist() for _ in range(200)]
    corpus = Documents.of(documents)
    starts, lengths = corpus.offsets[:-1], corpus.lengths
    form = Form.of(lengths, 5, 200)
    order = np.argsort(form.keys(corpus.tokens, starts, lengths), kind="stable")
    ordered = [documents[i][: form.ahead] for i in order]
    assert all(a <= b for a, b in pairwise(ordered))
    assert form.heads(form.keys(corpus.tokens, starts, lengths)).tolist() == [d[0] for d in documents]


def test_documents_that_end_at_shared_contexts_are_closed():
    documents = [[1], [1], [1, 2], [1, 2], [1, 2, 3], [4], [4]]
    corpus = Documents.of(documents)
    _, closing = tallied(corpus.tokens, corpus.offsets[:-1], corpus.lengths, 5)
    # five go through (1), two end there; three through (1, 2), two end there; all that reach (4) end there
    expected = (5 * math.log(5) - 3 * math.log(3) - 2 * math.log(2)) + (3 * math.log(3) - 2 * math.log(2))
    assert math.isclose(closing, expected, rel_tol=1e-14)


def test_piles_that_do_not_add_up_are_seen(monkeypatch):
    rows = np.random.default_rng(0).integers(0, 9, (300, 4))
    counts = counting.sum_counts
    monkeypatch.setattr(counting, "sum_counts", lambda parts: 2 * counts(parts))
    with divided(16, many=0), pytest.raises(AssertionError, match="the parts add up to"):
        contexts(rows)


@given(st.lists(st.floats(0, 1e12), max_size=50), st.randoms(use_true_random=False))
def test_nats_are_the_same_in_any_order(terms, random):
    units = tallies.in_units(np.array(terms))
    random.shuffle(terms)
    assert tallies.in_units(np.array(terms)) == units
    assert sum(tallies.in_units(np.array([term])) for term in terms) == units
    assert math.isclose(tallies.from_units(units), math.fsum(terms), rel_tol=1e-12, abs_tol=1e-11)


def test_a_logarithm_does_not_depend_on_its_place():
    r = np.random.default_rng(0)
    counts = r.integers(1, 1000, 1003)
    totals = counts + r.integers(0, 10**9, 1003)
    one_by_one = sum(tallies.counts_in_units(counts[i : i + 1], totals[i : i + 1]) for i in range(1003))
    assert tallies.counts_in_units(counts, totals) == one_by_one
    once = sum(tallies.logs_in_units(totals[i : i + 1], counts[i : i + 1]) for i in range(1003))
    assert tallies.logs_in_units(totals, counts) == once
    expected = math.fsum(c * math.log(t) for c, t in zip(counts.tolist(), totals.tolist(), strict=True))
    assert math.isclose(tallies.from_units(once), expected, rel_tol=1e-13)


def test_branching_is_that_of_each_context_by_itself():
    r = np.random.default_rng(0)
    widths = r.integers(1, 6, 300)
    counts = r.zipf(1.7, widths.sum()) % 50 + 1
    contexts_ = np.split(counts, np.cumsum(widths)[:-1])
    unequal, units = tallies.branching(counts, widths, np.array([c.sum() for c in contexts_]))
    assert unequal == sum(len(set(c.tolist())) - 1 for c in contexts_)
    each = [tallies.branching(c, np.array([len(c)]), np.array([c.sum()]))[1] for c in contexts_]
    assert units == sum(each)
    expected = math.fsum(c * math.log(s.sum() / c) for s in contexts_ for c in s.tolist())
    assert math.isclose(tallies.from_units(units), expected, rel_tol=1e-12)
