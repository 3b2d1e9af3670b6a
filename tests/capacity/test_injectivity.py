import math

import numpy as np
import pytest
import torch

from netassay.capacity.injectivity import (
    _draw,
    scalar_attention,
    scalar_average,
    separations,
)
from netassay.corpus.context import contexts
from netassay.errors import ConfigError, DataError

DOCUMENTS = np.random.default_rng(2).integers(0, 6, (40, 5)).tolist()


def slow(context, z, u):
    x = [float(z[g] + u[t]) for t, g in enumerate(context)]
    powers = [math.exp(a * x[-1]) for a in x]
    attention = sum(a * w for a, w in zip(x, powers, strict=True)) / sum(powers)
    return attention, sum(float(u[t] * z[g]) for t, g in enumerate(context))


def test_the_maps_written_out():
    z, u = _draw(6, 5, 0)
    tokens = torch.tensor(DOCUMENTS)
    attention, average = scalar_attention(tokens, z, u), scalar_average(tokens, z, u)
    for i, document in enumerate(DOCUMENTS):
        for t in range(5):
            found = (float(attention[i, t]), float(average[i, t]))
            assert found == pytest.approx(slow(document[: t + 1], z, u), rel=1e-11, abs=1e-13)


def test_the_smallest_gap_is_that_of_all_pairs():
    rows = separations(contexts(DOCUMENTS), sizes=[20, 40], seeds=[3])
    assert len(rows) == 2 * 2 * 2
    z, u = _draw(6, 4, 3)
    for size in (20, 40):
        distinct = {tuple(d[:t]) for d in DOCUMENTS[:size] for t in range(1, 5)}
        for place, scalar_map in enumerate(("attention", "averaging")):
            images = [slow(context, z, u)[place] for context in distinct]
            pairs = [abs(a - b) for i, a in enumerate(images) for b in images[:i]]
            row = next(r for r in rows if (r.documents, r.scalar_map, r.dtype) == (size, scalar_map, "float64"))
            assert row.contexts == len(distinct)
            assert row.width == pytest.approx(max(pairs), rel=1e-12)
            assert row.smallest * row.width == pytest.approx(min(pairs), rel=1e-6)
            assert row.collisions == 0
            assert row.least_image == pytest.approx(min(map(abs, images)), rel=1e-9)


def test_float32_loses_contexts_that_float64_keeps():
    documents = np.random.default_rng(0).integers(0, 200, (3000, 8))
    rows = separations(contexts(documents), sizes=[3000], seeds=[0])
    lost = {(row.scalar_map, row.dtype): row.collisions for row in rows}
    assert lost["attention", "float32"] > 0
    assert lost["averaging", "float32"] > 0
    assert lost["attention", "float64"] == lost["averaging", "float64"] == 0


def test_sizes_and_corpora_out_of_range_are_refused():
    with pytest.raises(ConfigError, match=r"size 41.*has 40 documents"):
        separations(contexts(DOCUMENTS), sizes=[41])
    with pytest.raises(DataError, match="no context to map"):
        separations(contexts([[1], [2]]))
