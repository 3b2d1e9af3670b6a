"""Matches with known motifs: against another library's Tomtom, against placements known in advance, beside chance."""

import json
from functools import cache
from pathlib import Path

import pytest
import tomtom
import torch
from scipy.stats import false_discovery_control, spearmanr
from tomtom import QUERIES, blurred

from netassay.dna.motifs.match import compare, match_motifs, q_values
from netassay.errors import DataError
from netassay.formats.jaspar import read_database
from netassay.formats.motifs import Motifs

database = cache(read_database)


def vertebrates():
    return database("jaspar-vertebrates")


TOLD = Path(tomtom.__file__).with_suffix(".json")


@pytest.mark.skipif(not TOLD.is_file(), reason="tests/tomtom.json is not there: tests/tomtom.py makes it in a minute")
def test_like_another_librarys_tomtom():
    """Other nulls and other scores of columns: p-values of like order over mostly unlike targets (found: Spearman
    0.59 to 0.86, 0.75 in the mean), the same motifs first."""
    told = json.loads(TOLD.read_text())
    known, names = vertebrates(), told["targets"]
    pairs, like = compare(blurred(known), known), []
    for i in range(len(QUERIES)):
        mine = pairs.filter(query=i)
        p = dict(zip([known.names[j] for j in mine["target"]], mine["p"], strict=True))
        both = [(p[name], theirs) for name, theirs in zip(names, told["p"][i], strict=True) if name in p]
        like.append(spearmanr(*zip(*both, strict=True)).statistic)
        best = [known.names[j] for j in mine["target"][:5]]
        assert set(told["best"][i]) & set(best)
        assert QUERIES[i] in best
    assert min(like) > 0.5
    assert sum(like) / len(like) > 0.7


def test_by_chance_p_is_uniform():
    """Columns drawn as the null has them: so many pairs are below p as p says."""
    draws = torch.Generator().manual_seed(0)

    def random_motifs(n, width):
        # shares of a Dirichlet law of 1/2: squares of normal numbers
        columns = torch.randn(n, 4, width, generator=draws, dtype=torch.float64) ** 2
        return Motifs.of_matrices(
            [f"m{i}" for i in range(n)], list(100 * columns / columns.sum(1, keepdim=True)), [100] * n
        )

    p = compare(random_motifs(60, 10), random_motifs(100, 9))["p"]
    assert len(p) == 6000
    for level in (0.5, 0.1, 0.01):
        # pairs share motifs, so their numbers spread more than independent ones would
        spread = 3 * (level * (1 - level) / 600) ** 0.5
        assert (p < level).mean() == pytest.approx(level, abs=spread)


def placed(matrix, before, width=19):
    """The motif `before` columns into a filter that is flat elsewhere, cut at its ends."""
    columns = torch.full((4, width + 60), 0.25, dtype=torch.float64)
    columns[:, 30 + before : 30 + before + matrix.shape[1]] = matrix
    return columns[:, 30 : 30 + width]


def test_where_and_which_way_round_a_known_motif_lies():
    known = vertebrates()
    i = known.names.index("MA0142.1")
    matrix = known.pwm[i][:, known.seen[i]]
    ways = [
        (matrix, "+", 3),
        (matrix.flip(0, 1), "-", 2),
        (matrix, "+", -4),
        (matrix.flip(0, 1), "-", 8),
        (matrix, "+", 0),
    ]
    queries = Motifs.of_matrices([f"q{k}" for k in range(5)], [100 * placed(m, at) for m, _, at in ways], [100] * 5)
    pairs = compare(queries, known).filter(target=i)
    assert pairs.select("query", "orientation", "offset").rows() == [
        (k, orientation, at) for k, (_, orientation, at) in enumerate(ways)
    ]
    assert pairs["similarity"].min() > 0.99


def test_long_targets_are_cut_and_their_offsets_are_those_of_the_whole():
    g = torch.Generator().manual_seed(0)
    matrix = torch.rand(4, 40, generator=g, dtype=torch.float64) ** 4
    matrix[:, 10:32] = torch.eye(4, dtype=torch.float64)[torch.randint(0, 4, (22,), generator=g)].T + 0.01
    known = Motifs.of_matrices(["long", "short"], [matrix, matrix[:, :9]], [9, 9])
    queries = Motifs.of_matrices(["a", "b"], [matrix[:, 15:28], matrix[:, 15:28].flip(0, 1)], [9, 9])
    found = match_motifs(queries, known, permutations=0)
    assert found.skipped == {"targets longer than 22 columns, cut to the most informative 22": 1}
    long = found.table.filter(target="long")
    assert long.select("query", "offset", "orientation").rows() == [("a", -15, "+"), ("b", -12, "-")]
    assert found.null_q.shape == (0, 2)


def test_flat_and_short_queries_are_not_compared():
    spi1 = vertebrates().select([vertebrates().names.index("MA0080.7")])
    flat, short = torch.full((4, 12), 0.25), torch.eye(4)[:, :3]
    some = Motifs.of_matrices(["flat", "short", "good"], [flat.double(), short.double(), spi1.counts[0]], [1, 1, 1])
    found = match_motifs(some, vertebrates())
    assert found.table["query"].unique().to_list() == ["good"]
    assert found.best_q.isfinite().tolist() == found.null_q[0].isfinite().tolist() == [False, False, True]
    assert found.skipped["queries with fewer than 5 columns or 4 bits, not compared"] == 2
    assert found.labels() == {"flat": "flat", "short": "short", "good": "good (Spi1)"}
    nothing = match_motifs(some.select([0]), vertebrates())
    assert nothing.best().height == 0
    assert nothing.table.columns == found.table.columns
    assert str(nothing.share()) == "(nan, nan)"


def test_shares_beside_chance():
    known = vertebrates()
    queries = blurred(known)
    found = match_motifs(queries, known, permutations=4, per_query=3)
    mine, chance = found.share(0.05)
    assert mine > 0.8
    assert chance < 0.2
    assert found.table.group_by("query").len()["len"].to_list() == [3] * len(queries)
    assert bool((found.table["p"].is_between(0, 1)).all())
    again = match_motifs(queries, known, permutations=4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(found.null_q, again.null_q)
    other = match_motifs(queries, known, permutations=4, generator=torch.Generator().manual_seed(1))
    assert not torch.equal(found.null_q, other.null_q)
    # what a query is like does not depend on which others are compared
    alone = match_motifs(queries.select([3]), known, per_query=3)
    assert alone.table.equals(found.table.filter(query=QUERIES[3]))


def test_adjusted_values():
    p = torch.rand(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 3
    assert torch.allclose(q_values(p), torch.from_numpy(false_discovery_control(p.numpy())))
    more = torch.cat([p, torch.ones(20, dtype=torch.float64)])
    assert torch.allclose(q_values(p, 70), torch.from_numpy(false_discovery_control(more.numpy()))[:50])


def test_what_cannot_be_compared():
    one = vertebrates().select([0])
    with pytest.raises(DataError, match="no motif of the 1 in the database has 5 columns"):
        match_motifs(one, Motifs.of_matrices(["x"], [torch.ones(4, 3).double()], [1]))
    with pytest.raises(DataError, match="motif database 'jaspar-birds': give one of jaspar-vertebrates, "):
        match_motifs(one, "jaspar-birds")
    with pytest.raises(DataError, match="permutations -1"):
        match_motifs(one, one, permutations=-1)


def test_few_targets_are_not_their_own_null():
    """Beside one target the null is of JASPAR's columns: p is that of a match in a whole database, or nearly."""
    known = vertebrates()
    i = known.names.index("MA0080.7")
    queries = blurred(known)
    alone, among = compare(queries, known.select([i])), compare(queries, known).filter(target=i)
    assert alone["p"].to_list() == pytest.approx(among["p"].to_list(), rel=0.05)
