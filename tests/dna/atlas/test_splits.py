import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from netassay.dna.atlas.atlas import at_random, by_chromosome, in_chromosome_folds, in_folds
from netassay.errors import DataError

CHROMOSOMES = pl.Series("chromosome", [f"chr{i % 7 + 1}" for i in range(100)])


def held(split):
    """The three sets share no row and together are all; each rises."""
    for part in split:
        assert torch.equal(part, part.sort().values)
    assert torch.cat(tuple(split)).sort().values.tolist() == list(range(100))
    return split


def test_whole_chromosomes():
    split = held(by_chromosome(CHROMOSOMES, test=("chr1", "2"), validation=("chr5",)))
    names = [set(CHROMOSOMES[part.numpy()]) for part in split]
    assert names == [{"chr3", "chr4", "chr6", "chr7"}, {"chr5"}, {"chr1", "chr2"}]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"test": ("chrX",), "validation": ()}, r"test chromosome 'chrX' holds no peak; the atlas has chr1"),
        ({"test": ("chr1",), "validation": ("1",)}, "named for test and for validation"),
        ({"test": [f"chr{i}" for i in range(1, 8)], "validation": ()}, "no peak for training"),
    ],
)
def test_chromosomes_that_cannot_be_kept_out(words, message):
    with pytest.raises(DataError, match=message):
        by_chromosome(CHROMOSOMES, **words)
    with pytest.raises(DataError, match="no chromosomes"):
        by_chromosome(pl.Series("chromosome", [None] * 9, dtype=pl.String), test=("1",), validation=())


@given(st.integers(0, 99), st.floats(0, 0.5), st.floats(0, 0.5))
def test_random_shares(seed, test_share, validation_share):
    split = held(at_random(100, seed=seed, test_share=test_share, validation_share=validation_share))
    assert len(split.test) == round(100 * test_share)
    assert len(split.validation) == round((100 - len(split.test)) * validation_share)
    again = at_random(100, seed=seed, test_share=test_share, validation_share=validation_share)
    assert all(torch.equal(a, b) for a, b in zip(split, again, strict=True))


def test_seeds_differ_and_shares_have_a_range():
    splits = [at_random(100, seed=seed, test_share=0.1, validation_share=0.1) for seed in (0, 1)]
    assert not torch.equal(splits[0].test, splits[1].test)
    with pytest.raises(DataError, match="from 0 to below 1"):
        at_random(100, seed=0, test_share=1.0, validation_share=0.1)


@pytest.mark.parametrize("folds", [3, 7, 10])
def test_every_peak_is_tested_in_one_fold_and_validates_another(folds):
    splits = [held(in_folds(100, seed=3, folds=folds, fold=fold)) for fold in range(folds)]
    for part in ("test", "validation"):
        rows = torch.cat([getattr(split, part) for split in splits])
        assert rows.sort().values.tolist() == list(range(100))
    assert torch.equal(splits[0].validation, splits[1].test)


def test_folds_of_whole_chromosomes():
    splits = [held(in_chromosome_folds(CHROMOSOMES, seed=3, folds=3, fold=fold)) for fold in range(3)]
    tested = [set(CHROMOSOMES[split.test.numpy()]) for split in splits]
    assert sum(map(len, tested)) == 7
    assert set().union(*tested) == set(CHROMOSOMES)
    assert max(len(split.test) for split in splits) <= 45


@pytest.mark.parametrize(("folds", "fold"), [(2, 0), (101, 0), (5, 5), (5, -1)])
def test_folds_out_of_range(folds, fold):
    with pytest.raises(DataError, match="allowed are"):
        in_folds(100, seed=0, folds=folds, fold=fold)
