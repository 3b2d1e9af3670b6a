"""Names of factors: families of known motifs, and a false discovery rate measured on permuted queries."""

from functools import cache

import pytest
import torch
from scipy.stats import false_discovery_control

from netassay.dna.motifs import factor_names, match_motifs
from netassay.formats.jaspar import read_database
from netassay.formats.motifs import Motifs

database = cache(read_database)
FACTORS = ("GATA2", "GATA5", "Spi1", "CTCF", "KLF4", "SP1")


def vertebrates():
    return database("jaspar-vertebrates")


def filters(titles, noise=0, seed=0):
    """Blurred known motifs, and motifs of random columns."""
    known, draws = vertebrates(), torch.Generator().manual_seed(seed)
    matrices = []
    for title in titles:
        i = known.titles.index(title)
        matrices.append(100 * (0.75 * known.pwm[i, :, slice(*known.spans[i])] + 0.0625))
    for _ in range(noise):
        columns = torch.randn(4, 12, generator=draws, dtype=torch.float64) ** 4
        matrices.append(100 * columns / columns.sum(0))
    return Motifs.of_matrices([f"filter_{i}" for i in range(len(matrices))], matrices, [100] * len(matrices))


def test_members_of_a_family_share_a_name_that_tells_them():
    found = match_motifs(filters(FACTORS, noise=20), vertebrates(), permutations=10)
    names = factor_names(found)
    assert names["filter_0"] == names["filter_1"] == "GATA (GATA2, GATA5)"
    assert (names["filter_2"], names["filter_3"]) == ("Spi1", "CTCF")
    assert names["filter_4"] == names["filter_5"] == "KLF/SP (KLF4, SP1)"
    assert set(list(names.values())[6:]) <= {"unsure"}


@pytest.mark.parametrize("seed", range(3))
def test_motifs_of_random_columns_get_no_name(seed):
    found = match_motifs(filters((), noise=60, seed=seed), vertebrates(), permutations=5)
    assert set(factor_names(found).values()) <= {"unsure"}
    # so many would have one if q alone were asked
    assert all("(unsure)" in label or "(" not in label for label in found.labels().values())


def test_the_rate_is_that_of_benjamini_and_hochberg_over_shares_of_permuted_queries():
    found = match_motifs(filters(FACTORS[:3], noise=6), vertebrates(), permutations=5)
    null = found.null_q.flatten().tolist()
    assert len(null) >= 25 * 9  # few queries are permuted more often, or no one could be named
    shares = [(1 + sum(value <= q for value in null)) / (1 + len(null)) for q in found.best_q.tolist()]
    assert found.fdr.tolist() == pytest.approx(false_discovery_control(shares).tolist())


def test_without_permutations_nothing_has_a_name():
    found = match_motifs(filters(FACTORS[:1]), vertebrates(), permutations=0)
    assert found.fdr.isnan().all()
    assert factor_names(found) == {"filter_0": "unsure"}
    assert found.labels() == {"filter_0": "filter 0 (unsure)"}


def test_of_a_large_family_four_members_are_reported():
    found = match_motifs(filters(("KLF4", "SP1", "KLF5", "SP4", "KLF14", "SP2")), vertebrates())
    assert set(factor_names(found).values()) - {"unsure"} == {"KLF/SP (KLF14, KLF5, SP1, SP2, …)"}
