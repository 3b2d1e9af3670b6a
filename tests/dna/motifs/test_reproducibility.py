"""Reproducible filters and consensus clusters on motifs written by hand."""

import itertools
import math

import numpy as np
import pytest
import torch

from netassay.dna.motifs.match import likeness, q_values_by_row
from netassay.dna.motifs.reproducibility import (
    align,
    cluster_motifs,
    permute_columns,
    reproducible_filters,
    runs_needed,
)
from netassay.errors import DataError
from netassay.formats.motifs import Motifs

AP1, ETS, RUNX = "TGACTCAT", "ACCGGAAGT", "TGTGGTTA"
COMPLEMENT = str.maketrans("ACGT", "TGCA")


def turned(word):
    return word.translate(COMPLEMENT)[::-1]


def motif(word, first=0, width=19, sharp=0.9, sites=100):
    """Counts (4, width): `word` from column `first` on, nothing known elsewhere."""
    counts = torch.full((4, width), sites / 4, dtype=torch.float64)
    for place, letter in enumerate(word, start=first):
        counts[:, place] = sites * (1 - sharp) / 3
        counts["ACGT".index(letter), place] = sites * sharp
    return counts


def run_of(*matrices):
    return Motifs.of_matrices([f"filter_{i}" for i in range(len(matrices))], matrices, [100] * len(matrices))


@pytest.fixture(scope="module")
def runs():
    """AP-1 in all three runs, once turned; ETS in two; RUNX in one; noise, and a motif of four columns, in each."""
    flat = motif("")
    return [
        run_of(motif(AP1, 3), motif(ETS, 2), flat, motif("TGAC", 5)),
        run_of(motif(ETS, 8), flat, motif(turned(AP1), 6)),
        run_of(flat, motif(AP1, 9), motif(RUNX, 4), motif("TGAC", 5)),
    ]


def test_needed_is_eight_of_nine_and_what_that_is_of_fewer():
    assert [runs_needed(runs) for runs in (10, 9, 5, 3, 2)] == [8, 8, 4, 2, 1]
    assert runs_needed(10, 0.5) == 5
    assert runs_needed(3, 0.0) == 1


def test_a_filter_is_reproducible_where_the_others_have_it(runs):
    found = reproducible_filters(runs, generator=torch.Generator().manual_seed(0))
    told = {(run, name): (times, good) for run, _, name, times, good in found.filters.iter_rows()}
    assert (found.other_runs, found.runs_needed) == (2, 2)
    assert told == {
        (0, "filter_0"): (2, True), (0, "filter_1"): (1, False), (0, "filter_2"): (0, False),
        (0, "filter_3"): (0, False),
        (1, "filter_0"): (1, False), (1, "filter_1"): (0, False), (1, "filter_2"): (2, True),
        (2, "filter_0"): (0, False), (2, "filter_1"): (2, True), (2, "filter_2"): (0, False),
        (2, "filter_3"): (0, False),
    }  # fmt: skip
    assert not found.permuted["reproducible"].any()
    assert len(found.permuted) == 4
    half = reproducible_filters(runs, share=0.5, generator=torch.Generator())
    assert half.filters["reproducible"].sum() == 5


def test_clusters_join_what_is_alike_on_either_strand_at_any_place(runs):
    found = cluster_motifs(runs)
    assert found.runs.tolist() == [3, 2, 1]
    assert found.held_by().tolist() == [0]
    assert found.held_by(0.5).tolist() == [0, 1]
    rows = list(found.members.iter_rows())
    assert {row[:3] for row in rows} == {(0, 0, 0), (0, 1, 2), (0, 2, 1), (1, 0, 1), (1, 1, 0), (2, 2, 2)}
    words = [c if c in (AP1, ETS, RUNX) else turned(c) for c in found.motifs.consensus]
    assert words == [AP1, ETS, RUNX]
    assert found.motifs.sites.tolist() == [300, 200, 100]


def test_the_merged_motif_is_the_mean_of_its_aligned_members():
    sharp, blunt = motif(AP1, 3, sharp=0.97, sites=50), motif(turned(AP1), 6, sharp=0.79, sites=500)
    found = cluster_motifs([run_of(sharp), run_of(blunt)])
    assert len(found.motifs) == 1
    start, stop = found.motifs.spans[0]
    word = found.motifs.consensus[0]
    for place, letter in enumerate(word, start=start):
        assert found.motifs.pwm[0]["ACGT".index(letter), place].item() == pytest.approx(0.88, abs=1e-9)
    assert stop - start == len(AP1)
    # what a member's first column is, counted from the cluster's, puts its word where the cluster has it
    for _, run, _, _, offset, strand in found.members.iter_rows():
        first = 3 if run == 0 else (6 if strand == "+" else 19 - 6 - len(AP1))
        assert first + offset == start


def test_alignment_against_all_places_counted_one_by_one():
    g = np.random.default_rng(0)
    for _ in range(20):
        one, other = (torch.from_numpy(g.dirichlet([0.4] * 4, size=width).T.copy()) for width in (9, 6))
        best = {}
        for strand, place in itertools.product("+-", range(-5, 9)):
            matrix = other if strand == "+" else other.flip(0, 1)
            score = 0.0
            for j in range(6):
                if 0 <= j + place < 9:
                    score += float(((one[:, j + place] - 0.25) * (matrix[:, j] - 0.25)).sum())
            best[place, strand] = score
        assert align(one, other) == max(best, key=best.get)


def test_permuted_keeps_columns_and_flanks():
    motifs = run_of(motif(ETS, 4))
    again = permute_columns(motifs, torch.Generator().manual_seed(1))
    assert again.spans == motifs.spans
    assert not torch.equal(again.counts, motifs.counts)
    assert torch.equal(again.counts[0].T.sort(0).values, motifs.counts[0].T.sort(0).values)
    assert torch.equal(again.counts[:, :, :4], motifs.counts[:, :, :4])


def test_likeness_of_random_motifs_is_evenly_spread_and_of_like_ones_small():
    g = np.random.default_rng(1)
    n = 60
    counts = torch.from_numpy(100 * g.dirichlet([0.3] * 4, size=(n, 12)).transpose(0, 2, 1).copy())
    motifs = Motifs(tuple(map(str, range(n))), counts, torch.full((n,), 100))
    p = likeness(motifs, motifs)
    off = ~torch.eye(n, dtype=torch.bool)
    assert p.diagonal().max() < 1e-9
    assert 0.03 < (p[off] < 0.05).double().mean() < 0.09
    some = motifs.select([3, 8])
    torch.testing.assert_close(likeness(some, motifs), p[[3, 8]])
    short = run_of(motif("ACGT"))
    assert likeness(short, motifs).min() == likeness(motifs, short).min() == 1


def test_adjusted_by_the_definition():
    g = torch.Generator().manual_seed(0)
    p = torch.rand(5, 7, generator=g, dtype=torch.float64) ** 3
    for row, found in zip(p.tolist(), q_values_by_row(p).tolist(), strict=True):
        for i, value in enumerate(row):
            wanted = min(7 * other / sum(x <= other for x in row) for other in row if other >= value)
            assert math.isclose(found[i], min(1, wanted))


def test_one_run_is_too_few(runs):
    with pytest.raises(DataError, match="two or more"):
        cluster_motifs(runs[:1])
    with pytest.raises(DataError, match="as peers"):
        reproducible_filters(runs[:1], generator=torch.Generator())


def test_no_filter_with_information_makes_no_cluster():
    found = cluster_motifs([run_of(motif("")), run_of(motif(""))])
    assert len(found.motifs) == len(found.members) == 0
    one = cluster_motifs([run_of(motif(AP1)), run_of(motif(""))])
    assert one.runs.tolist() == [1]
