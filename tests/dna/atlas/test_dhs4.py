import numpy as np
import pytest
import torch

from netassay import find_atlas


@pytest.fixture(scope="module")
def atlas():
    return find_atlas("dhs4")


def test_sites_cell_types_and_sets(atlas):
    assert (len(atlas), atlas.length) == (47_872, 200)
    assert atlas.cell_types == ("GM12878", "hESC", "K562", "HepG2")
    assert atlas.heights.sum(0).tolist() == [11_968] * 4
    assert torch.equal(atlas.heights.sum(1), torch.ones(47_872))
    assert [len(part) for part in atlas.split()] == [39_254, 4_053, 4_565]
    assert not atlas.simulated
    assert int((atlas.codes > 3).sum()) == 0


def test_windows_that_overlap_hold_the_same_bases(atlas):
    """The coordinates are the sequences': checked wherever two windows share bases."""
    order = atlas.peaks.with_row_index("row").sort("chromosome", "start")
    rows, chromosomes, starts = (order[name].to_numpy() for name in ("row", "chromosome", "start"))
    shift = np.diff(starts)
    near = np.flatnonzero((chromosomes[1:] == chromosomes[:-1]) & (shift < 190))
    assert len(near) > 100
    codes = atlas.codes.numpy()
    for i in near:
        first, second = codes[rows[i]], codes[rows[i + 1]]
        assert (first[shift[i] :] == second[: 200 - shift[i]]).all()
