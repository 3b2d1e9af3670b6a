"""Scores against loops, hand-made cases and empty classes."""

import math
import statistics

import polars as pl
import pytest
import torch
from scipy import stats

from netassay.dna.network.evaluate import CLASSES, class_of, height_spread, rank_scores, rescaled, scores
from netassay.dna.network.network import pearson_rows
from netassay.studies.aitac.assay import class_table


def test_scores_are_those_of_loops():
    g = torch.Generator().manual_seed(0)
    observed = torch.randn(40, 6, generator=g)
    prediction = observed + torch.randn(40, 6, generator=g)
    observed[3] = 1.5
    found = scores(prediction, observed, one_of_k=False)
    r = [stats.pearsonr(p, o).statistic for i, (p, o) in enumerate(zip(prediction, observed, strict=True)) if i != 3]
    variance = [o.var(correction=0).item() for i, o in enumerate(observed) if i != 3]
    assert found["r_mean"] == pytest.approx(sum(r) / len(r), abs=1e-6)
    assert found["r_median"] == pytest.approx(sorted(r)[19], abs=1e-6)
    weighted = sum(a * b for a, b in zip(r, variance, strict=True)) / sum(variance)
    assert found["r_weighted"] == pytest.approx(weighted, abs=1e-6)
    assert found["share_above_075"] == pytest.approx(sum(x > 0.75 for x in r) / len(r))
    assert found["r_undefined"] == 1
    cells = [stats.pearsonr(prediction[:, i], observed[:, i]).statistic for i in range(6)]
    assert found["cell_r_mean"] == pytest.approx(sum(cells) / 6, abs=1e-6)
    assert "auroc" not in found


def test_ranks_by_counting_pairs():
    g = torch.Generator().manual_seed(0)
    observed = torch.eye(3)[torch.randint(0, 3, (60,), generator=g)]
    prediction = observed + torch.randn(60, 3, generator=g)
    share = prediction.double().softmax(1)[:, 1]
    positive, negative = share[observed[:, 1] == 1], share[observed[:, 1] == 0]
    wins = sum((p > negative).sum().item() for p in positive)
    assert rank_scores(prediction, observed, 1).auroc == pytest.approx(wins / (len(positive) * len(negative)))
    found = scores(prediction, observed, one_of_k=True)
    assert found["accuracy"] == pytest.approx((prediction.argmax(1) == observed.argmax(1)).double().mean().item())
    assert found["auroc"] == pytest.approx(sum(rank_scores(prediction, observed, i).auroc for i in range(3)) / 3)
    assert scores(torch.zeros(60, 3), observed, one_of_k=True)["auroc"] == 0.5


def test_one_kind_of_peak_has_no_rank():
    observed = torch.tensor([[1.0, 0.0]] * 5)
    assert math.isnan(rank_scores(torch.randn(5, 2), observed, 0).auroc)
    assert math.isnan(scores(torch.randn(5, 2), observed, one_of_k=True)["auroc"])


def test_no_peak_with_a_defined_r():
    found = scores(torch.zeros(3, 4), torch.randn(3, 4), one_of_k=False)
    assert found["r_undefined"] == 3
    assert math.isnan(found["r_mean"])
    assert math.isnan(found["r_weighted"])


def test_borders_of_the_classes():
    r = torch.tensor([1.0, 0.76, 0.75, 0.5, 0.25, 0.1, 0.0, -0.1, -1.0, math.nan], dtype=torch.float64)
    assert class_of(r) == [
        "r > 0.75",
        "r > 0.75",
        "0.5 to 0.75",
        "0.25 to 0.5",
        "0 to 0.25",
        "0 to 0.25",
        "0 to 0.25",
        "r < 0",
        "r < 0",
        None,
    ]


@pytest.mark.parametrize("values", [[], [0.9], [None], [0.8, 0.9, -0.5, None, -0.1, 0.3]])
def test_the_table_of_classes_with_empty_ones(values):
    r = torch.tensor([math.nan if v is None else v for v in values], dtype=torch.float64)
    spreads = [10.0 * i for i in range(len(values))]
    peaks = pl.DataFrame(
        {"r": values, "class": class_of(r), "height SD": spreads, "height IQR": [-s for s in spreads]},
        schema={"r": pl.Float64, "class": pl.String, "height SD": pl.Float64, "height IQR": pl.Float64},
    )
    table = class_table(peaks)
    assert table["class"].to_list() == list(CLASSES)
    known = [v for v in values if v is not None]
    assert table["peaks"].sum() == len(known)
    if known:
        assert table["share"].sum() == pytest.approx(1)
    empty = table.filter(pl.col("peaks") == 0)
    assert empty["r mean"].null_count() == len(empty)
    if len(known) == 5:
        well = table.row(0, named=True)
        assert well["r mean"] == pytest.approx(0.85)
        assert [well[name] for name in ("height SD", "height SD lower quartile", "height SD upper quartile")] == [
            5.0,
            2.5,
            7.5,
        ]
        assert well["height IQR"] == -5.0


def test_rescaled_predictions_have_the_rows_mean_and_spread():
    g = torch.Generator().manual_seed(0)
    observed, prediction = torch.randn(5, 8, generator=g), 9 * torch.randn(5, 8, generator=g) + 4
    prediction[2] = 1.0
    found = rescaled(prediction, observed)
    assert torch.allclose(found.mean(1), observed.mean(1), atol=1e-6)
    assert torch.allclose(found.std(1)[[0, 1, 3, 4]], observed.std(1)[[0, 1, 3, 4]], atol=1e-5)
    assert torch.equal(found[2], observed[2].mean().expand(8))


def test_the_spread_is_that_of_the_observed_heights():
    g = torch.Generator().manual_seed(0)
    observed = torch.randn(6, 9, generator=g)
    found = height_spread(observed)
    for row, sd, iqr in zip(observed.tolist(), *(v.tolist() for v in found.values()), strict=True):
        assert sd == pytest.approx(statistics.pstdev(row))
        assert iqr == pytest.approx(stats.iqr(row))


def test_r_of_cell_types_after_a_loss_that_leaves_an_offset_free():
    """Any number added to a row of predictions changes nothing; a prediction right but for that is perfect."""
    g = torch.Generator().manual_seed(0)
    observed = torch.randn(50, 4, generator=g) + 2 * torch.randn(50, 1, generator=g)
    prediction = observed + torch.randn(50, 4, generator=g)
    moved = prediction + 5 * torch.randn(50, 1, generator=g)
    words = {"one_of_k": False, "free_offset": True}
    found = scores(prediction, observed, **words)
    a, b = (rows - rows.mean(1, keepdim=True) for rows in (prediction, observed))
    loop = [stats.pearsonr(a[:, i], b[:, i]).statistic for i in range(4)]
    assert found["cell_r_mean_centred"] == pytest.approx(sum(loop) / 4, abs=1e-6)
    assert scores(moved, observed, **words)["cell_r_mean_centred"] == pytest.approx(sum(loop) / 4, abs=1e-5)
    assert abs(scores(moved, observed, one_of_k=False)["cell_r_mean"] - found["cell_r_mean_centred"]) > 0.1
    right = scores(observed + torch.randn(50, 1, generator=g), observed, **words)
    assert right["cell_r_mean_centred"] == pytest.approx(1) and "cell_r_mean" not in right
    means = observed.mean(0).expand_as(observed)
    assert math.isnan(scores(means, observed, **words)["cell_r_mean_centred"])


@pytest.mark.parametrize("types", [1, 2])
def test_across_fewer_than_three_cell_types_there_is_no_correlation(types):
    g = torch.Generator().manual_seed(0)
    observed, prediction = torch.randn(30, types, generator=g), torch.randn(30, types, generator=g)
    assert pearson_rows(prediction, observed).isnan().all()
    found = scores(prediction, observed, one_of_k=False)
    assert found["r_undefined"] == 30
    assert all(math.isnan(found[name]) for name in ("r_mean", "r_median", "r_weighted", "share_above_075"))
    assert math.isfinite(found["cell_r_mean"])
