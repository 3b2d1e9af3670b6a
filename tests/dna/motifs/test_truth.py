"""Recovery of planted motifs and pairs, counted by hand."""

import math

import polars as pl
import pytest
import torch

from netassay.dna.atlas.simulate import simulate_atlas
from netassay.dna.motifs.truth import (
    matched_filters,
    pair_recovery,
    planted_motifs,
    recovery,
)
from netassay.errors import DataError
from netassay.formats.motifs import Motifs

WORDS = {"AP1": "TGACTCATT", "ETS": "ACCGGAAGT", "RUNX": "TGTGGTTAG"}


def motif(word, first=0, width=15, sharp=0.94, sites=100):
    counts = torch.full((4, width), sites / 4, dtype=torch.float64)
    for place, letter in enumerate(word, start=first):
        counts[:, place] = sites * (1 - sharp) / 3
        counts["ACGT".index(letter), place] = sites * sharp
    return counts


def truth(pairs=()):
    rows = [
        (factor, place, *(100 * motif(word)[:, place] / 100).tolist())
        for factor, word in WORDS.items()
        for place in range(len(word))
    ]
    motifs = pl.DataFrame(rows, schema=["factor", "position", *"ACGT"], orient="row")
    # ETS does the same in both cell types
    effects = [(f, c, 1.0 if f == "ETS" or c == "a" else 0.0) for f in WORDS for c in "ab"]
    return {
        "motifs": motifs.with_columns(pl.col(letter) / 100 for letter in "ACGT"),
        "effects": pl.DataFrame(effects, schema=["factor", "cell_type", "effect"], orient="row"),
        "pairs": pl.DataFrame(
            list(pairs), orient="row", schema={"first": pl.String, "second": pl.String, "effect": pl.Float64}
        ),
    }


@pytest.fixture
def found():
    """AP-1 twice, RUNX turned, something else, a motif of few sites and one of little information."""
    turned = WORDS["RUNX"].translate(str.maketrans("ACGT", "TGCA"))[::-1]
    matrices = [
        motif(WORDS["AP1"], 3),
        motif(WORDS["AP1"], 1, sharp=0.85),
        motif(turned, 2),
        motif("CCCATTGGGCA", 1),
        motif(WORDS["ETS"], 2),
        motif(WORDS["ETS"], 2, sharp=0.5),
        motif(""),
    ]
    return Motifs.of_matrices([f"f{i}" for i in range(7)], matrices, [100, 100, 100, 100, 19, 100, 100])


def draws():
    return torch.Generator().manual_seed(0)


def test_recall_and_precision_are_those_counted_by_hand(found):
    told = recovery(found, truth(), generator=draws())
    assert told.factors.select("factor", "visible", "recovered", "finding").rows() == [
        ("AP1", True, True, "f0"), ("ETS", False, False, None), ("RUNX", True, True, "f2"),
    ]  # fmt: skip
    assert told.findings.select("finding", "factor").rows() == [
        ("f0", "AP1"),
        ("f1", "AP1"),
        ("f2", "RUNX"),
        ("f3", None),
    ]
    assert told.recall == pytest.approx(2 / 3)
    assert told.recall_of_visible == 1
    assert told.precision == 3 / 4
    assert told.permuted < 0.5
    assert told.findings["information"][0] == pytest.approx(9 * (2 + 0.94 * math.log2(0.94) + 0.06 * math.log2(0.02)))


def test_what_counts_as_a_finding_can_be_chosen(found):
    assert recovery(found, truth(), generator=draws(), least_sites=10).recall == 1
    assert recovery(found, truth(), generator=draws(), rows=[3]).precision == 0
    nothing = recovery(found, truth(), generator=draws(), least_bits=30)
    assert nothing.recall == 0
    assert math.isnan(nothing.precision)
    assert nothing.factors["q"].null_count() == 3


def test_filters_of_each_factor(found):
    assert matched_filters(found, truth()) == {"AP1": [0, 1], "RUNX": [2]}
    assert matched_filters(found, truth(), least_sites=10)["ETS"] == [4]


def test_pairs_are_counted_once_with_the_sign_of_their_strongest_lineage():
    grammar = truth([("AP1", "ETS", 1.5), ("ETS", "RUNX", -1.0), ("AP1", "RUNX", -1.0)])
    rows = [
        ("ETS", "AP1", 0.4, 0.001),
        ("ETS", "AP1", -0.9, 0.2),  # right: the stronger one is not sure
        ("ETS", "RUNX", 0.3, 0.01),
        ("ETS", "RUNX", -0.2, 0.04),  # the wrong sign is the stronger one
        ("AP1", "RUNX", -0.3, None),
        ("AP1", "RUNX", -0.3, float("nan")),  # not tested
        ("AP1", "SOX", 0.35, 0.03),
        ("AP1", "GATA", 0.2, 0.06),  # false; not found
    ]
    tested = pl.DataFrame(rows, schema=["first", "second", "effect", "q"], orient="row")
    told = pair_recovery(tested, grammar)
    assert told.pairs.select("pair", "recovered", "q", "rank").rows() == [
        ("AP1+ETS", True, 0.001, 1), ("ETS+RUNX", False, 0.01, 3), ("AP1+RUNX", False, None, None),
    ]  # fmt: skip
    assert told.recall == pytest.approx(1 / 3)
    assert told.findings.rows() == [
        ("AP1", "ETS", 0.4, 0.001, True), ("AP1", "SOX", 0.35, 0.03, False), ("ETS", "RUNX", 0.3, 0.01, False),
    ]  # fmt: skip
    assert told.precision == told.strongest == pytest.approx(1 / 3)
    assert (told.tested, told.testable) == (4, 2)
    one = truth([("AP1", "ETS", 1.5)])
    assert pair_recovery(tested, one).strongest == 1
    assert math.isnan(pair_recovery(tested.clear(), one).precision)


def test_the_planted_motifs_themselves_are_all_recovered():
    atlas = simulate_atlas(20)
    planted = planted_motifs(atlas.truth)
    assert list(planted.names) == atlas.truth["factors"]["factor"].to_list()
    # HOXA9's matrix has 6.8 bits; its sites, which must score high, have more
    told = recovery(planted, atlas.truth, generator=draws(), least_bits=6)
    assert told.recall == told.precision == 1
    assert told.findings["factor"].to_list() == list(planted.names)
    assert told.factors.filter(~pl.col("visible"))["factor"].to_list() == ["CTCF"]
    assert told.permuted <= 0.2


def test_an_atlas_without_truth_is_refused(found):
    with pytest.raises(DataError, match="only simulated atlases"):
        recovery(found, {}, generator=draws())
