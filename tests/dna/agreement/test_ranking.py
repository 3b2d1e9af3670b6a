"""Areas and their errors, against every pair and every threshold taken one by one."""

import numpy as np
import pytest
import torch

from netassay.dna.agreement import ranking


def case(n=60, s=4, seed=0):
    draw = np.random.default_rng(seed)
    scores = draw.integers(0, 12, (n, s)).astype(float)  # many ties
    scores[:, 1] += 0.5 * scores[:, 0]
    marked = draw.random(n) < 0.3
    scores[marked, 0] += 2
    return scores, marked


def beats(a, b):
    return (a > b) + (a == b) / 2


def brute_parts(scores, marked):
    """Per marked peak the share of others it beats, per other the share of marked that beat it (DeLong's V)."""
    pairs = np.array(
        [[[beats(a, b) for a, b in zip(x, y, strict=True)] for y in scores[~marked]] for x in scores[marked]]
    )
    return pairs.mean(axis=1), pairs.mean(axis=0)


def test_areas_and_covariance_are_those_of_all_pairs():
    scores, marked = case()
    found = ranking.areas(scores, marked)
    ten, one = brute_parts(scores, marked)
    assert found.auroc == pytest.approx(ten.mean(axis=0))
    want = np.cov(ten.T) / len(ten) + np.cov(one.T) / len(one)
    assert found.covariance == pytest.approx(want)
    assert found.error == pytest.approx(np.sqrt(np.diag(want)))
    held = found.difference(0, 1)
    contrast = np.array([1, -1, 0, 0])
    assert held.value == pytest.approx(found.auroc[0] - found.auroc[1])
    assert held.error == pytest.approx(np.sqrt(contrast @ want @ contrast))


def test_the_error_is_the_spread_over_repeated_samples():
    draw = np.random.default_rng(1)
    values, errors = [], []
    for _ in range(400):
        marked = np.arange(120) < 30
        scores = draw.normal(size=(120, 1)) + marked[:, None]
        found = ranking.areas(scores, marked)
        values.append(found.auroc[0])
        errors.append(found.error[0])
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.1)


def test_a_score_against_itself_differs_by_nothing():
    scores, marked = case()
    same = ranking.areas(np.stack([scores[:, 0], scores[:, 0]], axis=1), marked).difference(0, 1)
    assert (same.value, same.error) == pytest.approx((0, 0), abs=1e-9)


def test_average_precision_is_that_of_every_threshold():
    scores, marked = case()
    found = ranking.average_precision(scores, marked)
    for column, value in zip(scores.T, found, strict=True):
        total, before = 0.0, 0.0
        for threshold in sorted(set(column), reverse=True):
            taken = column >= threshold
            recall = marked[taken].sum() / marked.sum()
            total += (recall - before) * marked[taken].mean()
            before = recall
        assert value == pytest.approx(total)


def test_strata_compare_only_their_own_peaks():
    scores, marked = case(n=90)
    kind = np.arange(90) % 3
    scores[kind == 1] += 100
    marked[kind == 2] = False
    strata = [kind == i for i in range(3)]
    pairs = [
        beats(scores[i, 0], scores[j, 0])
        for i in np.flatnonzero(marked)
        for j in np.flatnonzero(~marked)
        if kind[i] == kind[j]
    ]
    found = ranking.stratified(scores, marked, strata)
    assert found.auroc[0] == pytest.approx(np.mean(pairs))
    assert found.marked == marked.sum()
    # a stratum of one marked peak has no known error: it is left out, of the null as well
    marked[np.flatnonzero(kind == 2)[0]] = True
    again = ranking.stratified(scores, marked, strata)
    assert (again.auroc == found.auroc).all()
    assert again.marked == marked.sum() - 1
    # what tells the strata alone tells nothing
    between = ranking.stratified(kind[:, None].astype(float), marked, strata)
    assert (between.auroc[0], between.error[0]) == (0.5, 0.0)


def test_permuted_marks_stay_within_their_strata_and_are_centred_on_a_half():
    scores, marked = case(n=200)
    kind = np.arange(200) % 2
    scores[:, 0] = 10 * kind + np.random.default_rng(3).random(200)
    marked = kind == 1
    marked[:60] = np.random.default_rng(4).random(60) < 0.5
    strata = [kind == 0, kind == 1]
    draws = torch.Generator().manual_seed(0)
    null = ranking.permuted_areas(scores, marked, strata, draws, 300)
    assert null.shape == (300, 4)
    assert null.mean(axis=0) == pytest.approx(np.full(4, 0.5), abs=0.01)
    assert null.std(axis=0) == pytest.approx(ranking.stratified(scores, marked, strata).error, rel=0.5)
    again = ranking.permuted_areas(scores, marked, strata, torch.Generator().manual_seed(0), 300)
    assert (again == null).all()


def test_one_permutation_is_the_area_of_the_permuted_marks():
    scores, marked = case(n=40)
    whole = [np.ones(40, bool)]
    null = ranking.permuted_areas(scores, marked, whole, torch.Generator().manual_seed(5), 1)
    keys = torch.rand(1, 40, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    moved = np.zeros(40, bool)
    moved[keys.argsort(dim=1).numpy()[0, : marked.sum()]] = True
    assert null[0] == pytest.approx(ranking.areas(scores, moved).auroc)


@pytest.mark.parametrize("value", [True, False])
def test_where_all_are_marked_or_none_there_is_no_area(value):
    scores, _ = case()
    marked = np.full(60, value)
    assert np.isnan(ranking.areas(scores, marked).auroc).all()
    assert np.isnan(ranking.average_precision(scores, marked)).all()
    assert np.isnan(ranking.stratified(scores, marked, [np.ones(60, bool)]).auroc).all()
    draws = torch.Generator().manual_seed(0)
    assert np.isnan(ranking.permuted_areas(scores, marked, [np.ones(60, bool)], draws, 3)).all()


def test_one_marked_peak_has_an_area_and_no_known_error():
    scores, _ = case()
    found = ranking.areas(scores, np.arange(60) == 7)
    assert np.isfinite(found.auroc).all()
    assert np.isnan(found.error).all()


def test_intervals_stay_within_zero_and_one():
    assert ranking.interval(0.5, 0.1) == pytest.approx((0.304, 0.696), abs=1e-3)
    assert ranking.interval(0.99, 0.1)[1] == 1.0
    assert np.isnan(ranking.interval(0.9, np.nan)).all()
