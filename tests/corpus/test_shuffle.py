"""A corpus in shards, shuffled into portions and counted portion by portion, equals the same corpus in memory."""

import math
from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netassay.corpus import parting
from netassay.corpus.context import contexts
from netassay.corpus.gathering import added_up, count_portion, window_joined, write_index
from netassay.corpus.shuffle import Manifest, Shuffle, stamp, write_portions
from netassay.corpus.spine import Spine
from netassay.errors import DataError
from netassay.formats.documents import Documents

NAMES = ("contexts", "predictions", "certain", "branches", "unequal", "widest")


def written(folder, documents, shards):
    """The documents in Parquet shards; their paths."""
    paths = []
    for number in range(shards):
        path = folder / f"shard-{number}.parquet"
        pl.DataFrame({"text": pl.Series(documents[number::shards], dtype=pl.List(pl.Int64))}).write_parquet(path)
        paths.append(path)
    return paths


def shuffled(folder, paths, spine, *, portions=3, memory=1 << 26, window=None, runs=False, length=None):
    job = Shuffle(
        folder,
        tuple(map(str, paths)),
        tuple(map(stamp, paths)),
        {},
        length,
        False,
        window,
        runs,
        portions,
        memory,
        tuple(spine.parents.tolist()),
        tuple(spine.tokens.tolist()),
    )
    job.write()
    for shard in range(len(paths)):
        write_portions(folder, shard)
    manifests = [Manifest.read(job.manifest(shard)) for shard in range(len(paths))]
    write_index(job, manifests)
    for portion in range(portions):
        count_portion(folder, portion)
    return added_up(job, manifests)


def same(ours, expected):
    for name in ("documents", "empty", "shortened", "dropped", "tokens", "vocabulary", "length", "window"):
        assert getattr(ours, name) == getattr(expected, name), name
    for name in NAMES:
        assert getattr(ours, f"{name}_by_length").tolist() == getattr(expected, f"{name}_by_length").tolist(), name
    assert np.allclose(ours.nats_by_length, expected.nats_by_length, rtol=1e-12, atol=1e-12)
    assert math.isclose(ours.bound_nats, expected.bound_nats, rel_tol=1e-11, abs_tol=1e-11)


@st.composite
def corpora(draw):
    ids = draw(st.sampled_from([[0], [0, 1, 2], [5, 3, 2**40], list(range(40))]))
    documents = draw(st.lists(st.lists(st.sampled_from(ids), min_size=1, max_size=6), min_size=2, max_size=40))
    stem = draw(st.lists(st.sampled_from(ids), min_size=1, max_size=12))
    copies = draw(st.lists(st.integers(1, len(stem)), max_size=20))
    return draw(st.permutations([*documents, *(stem[:size] for size in copies)]))


@given(corpora(), st.sampled_from([0.02, 0.2, 2.0]), st.none() | st.integers(1, 5), st.booleans())
@settings(max_examples=60)
def test_portions_equal_memory(tmp_path_factory, documents, share, length, cramped):
    folder = tmp_path_factory.mktemp("shuffle")
    paths = written(folder, documents, 2)
    sample = contexts(documents, length=length).corpus
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("netassay.corpus.spine.FEWEST", 1)
        patch.setattr(parting, "PARTING_BYTES", 1)
        spine = Spine.of(sample, share)
        assert share > 1 or len(documents) > 30 or len(spine) > 1
        ours = shuffled(folder, paths, spine, length=length, memory=3_500 if cramped else 1 << 26)
    same(ours, contexts(documents, length=length))


@given(corpora(), st.integers(1, 5), st.sampled_from([0.02, 0.3]))
@settings(max_examples=30)
def test_windows_equal_memory(tmp_path_factory, documents, window, share):
    folder = tmp_path_factory.mktemp("shuffle")
    paths = written(folder, documents, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("netassay.corpus.spine.FEWEST", 1)
        spine = Spine.of(Documents.of(documents), share)
        short, runs = (shuffled(folder / str(kind), paths, spine, window=window, runs=kind) for kind in (False, True))
    same(window_joined(short, runs), contexts(documents, window=window))


def test_half_of_the_documents_are_equal_and_portions_are_even(tmp_path):
    r = np.random.default_rng(0)
    copy = r.integers(0, 50, 300).tolist()
    documents = [copy] * 200 + [r.integers(0, 50, 300).tolist() for _ in range(200)]
    paths = written(tmp_path, documents, 2)
    spine = Spine.of(Documents.of(documents), 1 / 16)
    same(shuffled(tmp_path, paths, spine, portions=4), contexts(documents))
    tokens = Counter()
    for path in tmp_path.glob("shard-*.npz"):
        for portion, _, _, size in Manifest.read(path).index.tolist():
            tokens[portion] += size
    # the copies are the spine, and all but the last sixteenth of them is in no portion
    assert sum(tokens.values()) < 0.7 * 400 * 300
    assert max(tokens.values()) < 0.5 * sum(tokens.values())


def test_a_shard_that_changed_or_is_empty(tmp_path):
    paths = written(tmp_path, [[1, 2], [1, 3], [2, 2], [2, 3]], 2)
    spine = Spine([-1], [0])
    shuffled(tmp_path, paths, spine)
    written(tmp_path, [[1, 2], [1, 3, 4], [2, 2], [2, 3, 5]], 2)
    with pytest.raises(DataError, match=r"shard-1.parquet: is not on this node what it was"):
        write_portions(tmp_path, 1)
