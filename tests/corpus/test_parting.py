import tracemalloc
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netassay.corpus import context, parting
from netassay.corpus.context import contexts, contexts_within
from netassay.corpus.parting import Division
from netassay.errors import ConfigError, DataError, StoreError
from netassay.formats.documents import Documents
from netassay.formats.spill import Spill

NUMBERS = [
    *("documents", "empty", "shortened", "dropped", "tokens", "vocabulary", "n", "n_with_empty"),
    *("predictions", "degrees_of_freedom", "degrees_of_freedom_with_empty", "largest_support"),
]
ARRAYS = (
    "contexts_by_length",
    "predictions_by_length",
    "certain_by_length",
    "branches_by_length",
    "unequal_by_length",
    "widest_by_length",
)


@contextmanager
def cramped():
    """Memory for a few documents only, so that small corpora are parted again and again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(context, "LEAST_ROOM", 0)
        patch.setattr(parting, "PARTING_BYTES", 1)
        yield


def same(found, expected):
    for name in NUMBERS:
        assert getattr(found, name) == getattr(expected, name), name
    longest = len(expected.contexts_by_length)
    for name in ARRAYS:
        array = getattr(found, name)
        assert array[:longest].tolist() == getattr(expected, name).tolist()
        assert not array[longest:].any()
    # to the last bit, however the corpus was divided
    assert found.nats_by_length[:longest].tolist() == expected.nats_by_length.tolist()
    assert found.bound_nats == expected.bound_nats


@st.composite
def corpora(draw):
    ids = draw(st.sampled_from([[0], [0, 1, 2], [-5, 3, 2**40], list(range(40))]))
    documents = draw(st.lists(st.lists(st.sampled_from(ids), max_size=6), max_size=40))
    stem = draw(st.lists(st.sampled_from(ids), max_size=20))
    copies = draw(st.lists(st.integers(0, len(stem)), max_size=20))
    return draw(st.permutations([*documents, *(stem[:size] for size in copies)]))


@given(
    corpora(),
    st.integers(1, 20),
    st.sampled_from([2_000, 3_500, 10_000]),
    st.none() | st.integers(1, 7),
    st.booleans(),
)
@settings(max_examples=150)
def test_on_disk_equals_in_memory(documents, size, memory, length, exact):
    exact = exact and length is not None
    parts = Documents.of(documents).parts(size)
    with cramped():
        found = contexts_within(parts, memory=memory, length=length, exact_length=exact)
    same(found, contexts(documents, length=length, exact_length=exact))


def test_parts_are_parted_again():
    r = np.random.default_rng(0)
    documents = [[7] * r.integers(0, 9) + (r.zipf(1.3, r.integers(1, 12)) % 300).tolist() for _ in range(3000)]
    documents += [documents[0]] * 500
    with cramped():
        found = contexts_within(Documents.of(documents).parts(1000), memory=5_000)
    assert found.sequences is None
    same(found, contexts(documents))
    with pytest.raises(DataError, match="counted on disk"):
        found.distributions()


def test_what_fits_stays_in_memory():
    documents = [[1, 2, 4], [1, 2, 5], [], [1, 3, 4]]
    found = contexts_within(Documents.of(documents).parts(3), memory=1 << 26)
    same(found, contexts(documents))
    assert dict(found.distributions()) == dict(contexts(documents).distributions())
    same(contexts_within([], memory=1 << 26), contexts([]))


@pytest.mark.parametrize(("memory", "on_disk"), [(4_000_000, False), (100_000, True)])
def test_what_is_not_held_is_divided_in_memory_first(monkeypatch, memory, on_disk):
    r = np.random.default_rng(0)
    documents = [(r.zipf(1.4, r.integers(0, 9)) % 300).tolist() for _ in range(6_000)]
    monkeypatch.setattr(context, "SAMPLE", 50_000)
    written = []
    monkeypatch.setattr(Spill, "write", lambda self, write=Spill.write: written.append(self) or write(self))
    with cramped():
        result = contexts_within(Documents.of(documents).parts(900), memory=memory, hold=False)
    same(result, contexts(documents))
    assert (result.sequences, result.on_disk, bool(written)) == (None, on_disk, on_disk)


@given(corpora(), st.integers(1, 6))
def test_windows_on_disk_are_those_in_memory(documents, window):
    corpus = Documents.of(documents)
    whole = contexts(corpus, window=window)
    with cramped():
        found = contexts_within(corpus.parts(5), memory=3_000, window=window)
    assert found.window == whole.window
    for name in ("documents", "empty", "tokens", "vocabulary"):
        assert getattr(found, name) == getattr(whole, name), name
    for name in ("contexts", "predictions", "certain", "branches", "unequal", "widest"):
        mine, theirs = (getattr(one, f"{name}_by_length").tolist() for one in (found, whole))
        assert mine == theirs, name
    assert found.nats_by_length.tolist() == whole.nats_by_length.tolist()


@pytest.mark.parametrize(
    ("memory", "divided", "split"), [(1 << 30, False, False), (300_000, True, False), (3_000, True, True)]
)
def test_each_way_of_counting_is_met(monkeypatch, memory, divided, split):
    """In memory; in files that fit; in files that are divided again, those of one token and those of several."""
    calls = []
    for module, name in ((context, "Division"), (parting, "_split")):
        function = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *words, name=name, function=function: calls.append(words) or function(*words)
        )
    documents = (np.random.default_rng(0).zipf(1.4, (2_000, 5)) % 300).astype(np.uint16)
    with cramped():
        found = contexts_within(Documents.of(documents).parts(900), memory=memory)
    same(found, contexts(documents))
    splits = [words[0].complete for words in calls if isinstance(words[0], parting.Part)]
    assert (bool(len(calls) - len(splits)), bool(splits)) == (divided, split)
    assert set(splits) == ({True, False} if split else set())


def test_first_tokens_that_the_sample_does_not_have_are_counted():
    r = np.random.default_rng(0)
    parts = [
        r.integers(0, 3, (100, 4)),
        r.integers(0, 900, (400, 4)),
        r.integers(2**20, 2**40, (300, 4)),
        -1 - r.integers(0, 9, (50, 4)),
    ]
    with cramped():
        found = contexts_within(map(Documents.of, parts), memory=60_000)
    assert found.sequences is None
    same(found, contexts(np.concatenate(parts)))


def test_parts_that_do_not_add_up_are_seen(monkeypatch):
    documents = np.random.default_rng(0).integers(0, 9, (300, 4))
    counts = Division.counts
    monkeypatch.setattr(Division, "counts", lambda self: 2 * counts(self))
    with cramped(), pytest.raises(AssertionError, match="the parts add up to"):
        contexts_within([Documents.of(documents)], memory=5_000)


def test_memory_is_kept():
    """Of NumPy's arrays and Python's objects; Polars's sorting buffers are measured in benchmarks/entropy.py."""
    memory = 1 << 26
    r = np.random.default_rng(0)

    def parts():
        for _ in range(30):
            yield Documents.of((r.zipf(1.3, (20_000, 10)) % 50_000).astype(np.int32))

    tracemalloc.start()
    found = contexts_within(parts(), memory=memory)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.tokens == 6_000_000
    assert found.sequences is None
    assert peak < memory


@pytest.mark.parametrize(
    ("parts", "words", "message"),
    [
        ([], {"memory": 1000}, "at least 67,108,864"),
        ([Documents.of([[1], range(10**7)])], {"memory": 1 << 26}, r"document 1 .* has 10,000,000 tokens"),
        ([Documents.of([range(2**40, 2**40 + 10**6)] * 2)], {"memory": 1 << 26}, "document 0 .from 0. has"),
    ],
)
def test_what_does_not_fit_is_refused(parts, words, message):
    with pytest.raises((ConfigError, DataError), match=message):
        contexts_within(parts, **words)


def test_a_full_disk_is_reported(tmp_path):
    spill = Spill(tmp_path / "missing" / "spill")
    with pytest.raises(StoreError, match=r"spill: cannot be written .*No such file"):
        spill.append(Documents.of([[1]]))
    spill = Spill(tmp_path / "spill")
    spill.append(Documents.of([[1, 2], [3]]))
    spill.path.write_bytes(spill.path.read_bytes()[:-2])
    with pytest.raises(StoreError, match="cannot be read back: the file ends early"):
        list(spill.parts(5))
    spill.remove()
    assert not list(tmp_path.iterdir())


KINDS = {"u1": 2**8, "u2": 2**16, "i4": 2**31, "u4": 2**32, "i8": 2**63, "u8": 2**63}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(KINDS)),
            st.lists(st.lists(st.integers(0, 2**63 - 1), max_size=4), max_size=5) | st.just([[1, 2]] * 3),
        ),
        max_size=9,
    ),
    st.integers(1, 9),
    st.sampled_from([0, 5, 30, 1000]),
    st.none() | st.integers(0, 9),
)
def test_spilled_documents_come_back(parts, size, block, written_after):
    """Parts of several kinds of integers, of documents of one length and of several."""
    expected = []
    with TemporaryDirectory() as folder:
        spill = Spill(Path(folder) / "spill", block=block, waits=written_after is not None)
        for number, (kind, documents) in enumerate(parts):
            if number == written_after:
                assert not any(Path(folder).iterdir())
                spill.write()
                assert spill.waiting == 0
            documents = [[token % KINDS[kind] for token in document] for document in documents]
            part = Documents.of(documents)
            spill.append(Documents(part.tokens.astype(kind), part.offsets))
            expected += documents
        again = list(spill.parts(size))
        assert [d.tolist() for part in again for d in part] == expected
        assert all(len(part) == 1 or max(len(part), len(part.tokens)) <= size for part in again)
        assert [d.tolist() for d in spill.all()] == expected
        assert (spill.documents, spill.tokens) == (len(expected), sum(map(len, expected)))
        spill.remove()
        assert not any(Path(folder).iterdir())
        assert spill.waiting == 0
