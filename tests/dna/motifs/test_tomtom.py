"""p-values of alignments: against draws of columns one by one, and by what the null is made of."""

import random

import numpy as np
import pytest

from netassay.dna.motifs.tomtom import alignments, permuted_p_values

LEAST = 4


def matrices(n, widths, seed, sharp=0.3):
    rng = np.random.default_rng(seed)
    return [rng.dirichlet(np.full(4, sharp), rng.integers(*widths)).T for _ in range(n)]


def pearson(a, b):
    return float(np.corrcoef(a, b)[0, 1])


def turned(matrix):
    return matrix[::-1, ::-1]


def slow_placements(query, targets):
    """Every placement of every target on both strands: (target, strand, offset, score), by loops."""
    null = [column for matrix in targets for strand in (matrix, matrix[::-1]) for column in strand.T]
    scores = [[pearson(own, column) for column in null] for own in query.T]
    middle = [sorted(row)[(len(row) - 1) // 2] for row in scores]
    spread = [[s - m for s in row] for row, m in zip(scores, middle, strict=True)]
    placements = []
    for number, matrix in enumerate(targets):
        for strand, held in (("+", matrix), ("-", turned(matrix))):
            for offset in range(LEAST - held.shape[1], query.shape[1] - LEAST + 1):
                places = [j for j in range(held.shape[1]) if 0 <= offset + j < query.shape[1]]
                parts = [pearson(query[:, offset + j], held[:, j]) - middle[offset + j] for j in places]
                placements.append((number, strand, offset, sum(parts)))
    return placements, spread


def slow_p(score, query, length, spread, draws):
    """Chance that some placement scores as much, each by its own draws of columns; both strands."""
    below = 1.0
    for offset in range(LEAST - length, query.shape[1] - LEAST + 1):
        columns = range(max(offset, 0), min(offset + length, query.shape[1]))
        sums = [sum(draws.choice(spread[i]) for i in columns) for _ in range(4000)]
        below *= 1 - sum(total >= score for total in sums) / len(sums)
    return 1 - below**2


def test_p_values_and_places_are_those_of_draws_of_columns():
    query, targets = matrices(1, (6, 7), 1)[0], matrices(12, (5, 9), 2)
    placements, spread = slow_placements(query, targets)
    made = next(alignments([query], targets, min_columns=LEAST))
    draws = random.Random(0)
    for number, matrix in enumerate(targets):
        _, strand, offset, score = max(
            (place for place in placements if place[0] == number), key=lambda place: place[3]
        )
        assert (made.offset[number], made.reverse[number]) == (offset, strand == "-")
        held = matrix if strand == "+" else turned(matrix)
        met = [
            pearson(query[:, offset + j], held[:, j]) for j in range(held.shape[1]) if 0 <= offset + j < query.shape[1]
        ]
        assert made.overlap[number] == len(met)
        assert made.similarity[number] == pytest.approx(np.mean(met), abs=1e-5)
        # the scores are rounded, and the draws number 4,000
        wanted = slow_p(score, query, matrix.shape[1], spread, draws)
        assert made.p[number] == pytest.approx(wanted, rel=0.15, abs=0.02)


def test_columns_in_another_order_are_those_of_a_query_written_so():
    query, targets = matrices(1, (9, 10), 3)[0], matrices(60, (5, 12), 4)
    orders = [[3, 1, 4, 0, 5, 8, 2, 6, 7], list(range(9))]
    found = next(permuted_p_values([query], [orders], targets, min_columns=5))
    for row, order in zip(found, orders, strict=True):
        np.testing.assert_allclose(row, next(alignments([query[:, order]], targets, min_columns=5)).p)


def test_columns_that_are_common_by_chance_make_a_match_less_sure():
    query, targets = matrices(1, (8, 9), 5)[0], matrices(80, (6, 12), 6)
    alike = [query] * 40  # the null is full of the query's own columns
    rare, common = (next(alignments([query], [query, *targets], more, min_columns=5)).p[0] for more in ((), alike))
    assert 0 < rare < common / 10


def test_threads_change_nothing():
    queries, targets = matrices(4, (7, 12), 7), matrices(60, (6, 12), 8)
    one, two = ([made.p for made in alignments(queries, targets, min_columns=5, threads=n)] for n in (1, 2))
    np.testing.assert_array_equal(one, two)
