from itertools import product

import numpy as np
import polars as pl
import pytest
import torch

from netassay import Atlas, describe_atlas, simulate_atlas
from netassay.dna.atlas.grammar import HAEMATOPOIESIS
from netassay.dna.atlas.simulate import NEXT_BASE, background, scan, scorer
from netassay.errors import DataError
from netassay.formats.bases import decode, encode, reverse_complement

PEAKS, LENGTH = 400, 120


@pytest.fixture(scope="module")
def atlas():
    return simulate_atlas(PEAKS, length=LENGTH, seed=2, noise=0.1)


def test_it_says_that_it_is_simulated_and_keeps_the_truth(atlas, tmp_path):
    atlas.save(tmp_path / "a")
    back = Atlas.open(tmp_path / "a", verify=True)
    assert back.simulated
    assert back.source.startswith("simulated: 16 factors of JASPAR2024, 6 pairs, noise 0.1, seed 2")
    assert describe_atlas(back)["simulated"] is True
    assert all(back.truth[name].equals(frame) for name, frame in atlas.truth.items())
    assert set(atlas.peaks["name"].str.slice(0, 10)) == {"simulated_"}


def test_heights_follow_from_the_truth_tables(atlas):
    """Sums taken by hand from sites, effects and pairs give the signal, up to one level a peak."""
    effects = {(f, c): e for f, c, e in atlas.truth["effects"].select("factor", "cell_type", "effect").iter_rows()}
    of_pairs = {(f, c): e for f, c, e in atlas.truth["pair_effects"].iter_rows()}
    expected = np.zeros((PEAKS, len(atlas.cell_types)))
    for column, cell_type in enumerate(atlas.cell_types):
        for row in atlas.truth["sites"].iter_rows(named=True):
            expected[row["peak"], column] += row["strength"] * effects[row["factor"], cell_type]
        for row in atlas.truth["pair_sites"].iter_rows(named=True):
            expected[row["peak"], column] += row["weight"] * of_pairs[row["pair"], cell_type]
    rest = atlas.truth["signal"].to_numpy() - expected
    assert rest.std(axis=1).max() < 1e-5
    assert rest.mean() == pytest.approx(2.0, abs=0.1)
    noise = atlas.heights.numpy() - atlas.truth["signal"].to_numpy()
    assert noise.std() == pytest.approx(0.1, abs=0.005)


def test_pairs_against_a_loop_over_sites(atlas):
    widths = dict(atlas.truth["factors"].select("factor", "width").iter_rows())
    sites = [atlas.truth["sites"].filter(pl.col("peak") == peak).to_dicts() for peak in range(PEAKS)]
    found = {(row["peak"], row["pair"]): row["weight"] for row in atlas.truth["pair_sites"].to_dicts()}
    assert len(found) > 30
    for pair, peak in product(atlas.truth["pairs"].to_dicts(), range(PEAKS)):
        best = 0.0
        for a, b in product(sites[peak], repeat=2):
            if (a["factor"], b["factor"]) != (pair["first"], pair["second"]):
                continue
            wa, wb = widths[a["factor"]], widths[b["factor"]]
            if a["start"] < b["start"] + wb and b["start"] < a["start"] + wa:
                continue
            distance = abs(a["start"] + wa / 2 - b["start"] - wb / 2)
            fall = np.exp(-0.5 * ((distance - pair["distance"]) / pair["spread"]) ** 2)
            best = max(best, a["strength"] * b["strength"] * fall)
        assert found.get((peak, pair["pair"]), 0.0) == pytest.approx(best, abs=1e-12)


def test_planted_sites_are_there_on_their_strand(atlas):
    consensus = dict(atlas.truth["factors"].select("factor", "consensus").iter_rows())
    planted = atlas.truth["sites"].filter(pl.col("planted"))
    assert len(planted) > PEAKS
    perfect = planted.filter(pl.col("strength") > 1 - 1e-9)
    assert set(perfect["strand"]) == {-1, 1}
    for row in perfect.iter_rows(named=True):
        width = len(consensus[row["factor"]])
        codes = atlas.codes[row["peak"], row["start"] : row["start"] + width].numpy()
        # where the best letters of a column tie, the consensus is one of them
        assert (
            sum(
                a != b
                for a, b in zip(
                    decode(codes if row["strand"] > 0 else reverse_complement(codes)),
                    consensus[row["factor"]],
                    strict=True,
                )
            )
            <= 1
        )
    assert encode(consensus["TCF7"]).max() < 4


def test_pairs_of_both_kinds_and_effects_by_lineage(atlas):
    assert set(atlas.truth["pairs"]["kind"]) == {"synergistic", "antagonistic"}
    effects = atlas.truth["effects"]
    pax5 = effects.filter(pl.col("factor") == "PAX5")
    assert set(pax5.filter(pl.col("effect") > 0)["cell_type"]) == {
        name for name, lineage in zip(atlas.cell_types, atlas.lineages, strict=True) if lineage == "B"
    }
    assert effects.filter(pl.col("factor") == "CTCF")["effect"].n_unique() == 1
    parents = dict(atlas.truth["tree"].iter_rows())
    assert parents["B.early.1"] == "B.early"
    assert parents["T"] == "lymphoid"
    assert HAEMATOPOIESIS.lineage("granulocyte.2") == "myeloid"


def test_seeds_and_threads():
    one = simulate_atlas(60, length=80, seed=0)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert simulate_atlas(60, length=80, seed=0).digest == one.digest
    finally:
        torch.set_num_threads(threads)
    assert simulate_atlas(60, length=80, seed=1).digest != one.digest
    quiet = simulate_atlas(60, length=80, seed=0, noise=0.0)
    assert torch.equal(quiet.codes, one.codes)


def test_the_background_has_the_law_it_was_given():
    codes = background(400, 250, np.random.default_rng(0))
    counts = np.zeros((4, 4))
    np.add.at(counts, (codes[:, :-1].ravel(), codes[:, 1:].ravel()), 1)
    np.testing.assert_allclose(counts / counts.sum(1, keepdims=True), NEXT_BASE, atol=0.01)
    np.testing.assert_allclose(NEXT_BASE.sum(1), 1)


@pytest.mark.parametrize("words", [{"peaks": 0}, {"length": 10}, {"noise": -1.0}])
def test_numbers_out_of_range(words):
    with pytest.raises(DataError, match="allowed are at least 1 peak, 60 bases"):
        simulate_atlas(**{"peaks": 10, **words})


def test_the_threshold_against_every_sequence():
    draw = np.random.default_rng(0)
    for p_value in (0.5, 0.05, 0.01, 1e-3):
        held = scorer(draw.dirichlet(np.ones(4), size=5).T, p_value)
        scores = np.array([held.odds[list(word), range(5)].sum() for word in product(range(4), repeat=5)])
        reach = (scores >= held.threshold).mean()
        assert scores.max() == held.best
        assert held.threshold >= held.best // 2
        assert reach <= p_value or (scores >= held.threshold).sum() == (scores == held.best).sum()
        lower = scores[scores < held.threshold].max()
        assert (scores >= lower).mean() > p_value or held.threshold == held.best // 2


def slow(codes, scorers):
    found = []
    for peak, sequence in enumerate(codes):
        for motif, held in enumerate(scorers):
            for start in range(len(sequence) - held.width + 1):
                word = sequence[start : start + held.width]
                both = [
                    sum(int(held.odds[b, i]) if b < 4 else 0 for i, b in enumerate(w))
                    for w in (word, reverse_complement(word))
                ]
                if max(both) >= held.threshold:
                    strand = 1 if both[0] >= both[1] else -1
                    found.append((peak, motif, start, strand, max(both)))
    return found


def test_sites_against_a_loop_over_words():
    draw = np.random.default_rng(1)
    scorers = [scorer(draw.dirichlet(np.ones(4) * 0.3, size=w).T, 0.01) for w in (4, 7, 5)]
    codes = draw.integers(0, 5, (6, 40)).astype(np.uint8)
    sites = scan(torch.from_numpy(codes), scorers)
    found = list(zip(*(getattr(sites, n).tolist() for n in ("peak", "motif", "start", "strand", "score")), strict=True))
    assert found == slow(codes, scorers)
    assert len(found) > 10
