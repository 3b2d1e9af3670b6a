"""A verdict by hand."""

import numpy as np
import polars as pl
import pytest

from netassay.dna.ceiling.bootstrap import Interval
from netassay.dna.ceiling.verdict import beyond_means, verdict_of


def peaks(n=400, seed=0):
    draw = np.random.default_rng(seed)
    hard = draw.standard_normal(n) * 0.3  # of the peak, the same for every model
    return pl.DataFrame(
        {
            "name": [f"p{i}" for i in range(n)],
            "chromosome": [f"chr{i % 20}" for i in range(n)],
            "start": np.arange(n),
            "r": 0.5 + hard,
            "r_baseline": 0.2 + hard + 0.01 * draw.standard_normal(n),
        }
    )


def test_table_and_sentence():
    given = peaks()
    null = given.select("name", r=pl.col("r") - 0.05)[::-1]  # in another order
    found = verdict_of(given, {"rows": null.with_columns(r=0.0), "dinucleotide": null}, ceiling=Interval(0.8, 0.7, 0.9))
    rows = {row["what"]: row for row in found.table.iter_rows(named=True)}
    assert [*rows] == ["model", "baseline: column means", "null: dinucleotide", "null: rows", "ceiling"]
    assert rows["model"]["r"] == pytest.approx(given["r"].mean())
    assert rows["null: dinucleotide"]["above"] == pytest.approx(0.05)
    assert rows["null: dinucleotide"]["above_low"] == pytest.approx(0.05)  # peak by peak, it is the same everywhere
    assert rows["model"]["high"] - rows["model"]["low"] > 0.03
    assert rows["model"]["share"] == pytest.approx(given["r"].mean() / 0.8)
    assert found.resampled == "chromosomes"
    share = f"{given['r'].mean() / 0.8:.0%}".replace("%", " %")
    assert found.sentence.endswith(
        f": 0.050 [0.050, 0.050] above what dinucleotide composition explains; {share} of the ceiling."
    )


def test_without_nulls_and_below_them():
    given = peaks()
    assert "above the column means." in verdict_of(given).sentence
    worse = given.select("name", r=pl.col("r") + pl.col("r_baseline").sin() * 0.01 + 0.1)
    sentence = verdict_of(given, {"rows": worse}).sentence
    low, high = map(float, sentence.split(": ")[1].split("[")[1].split("]")[0].split(", "))
    assert 0.09 < low <= high < 0.12 and sentence.endswith("below heights permuted over peaks.")


def test_missing_scores():
    given = peaks().with_columns(r=pl.when(pl.col("name") == "p0").then(None).otherwise("r"))
    rows = verdict_of(given, {"rows": given.select("name", "r")[:10]}).table
    assert rows["peaks"].to_list() == [399, 400, 9]
    none = verdict_of(given.with_columns(r=pl.lit(None, pl.Float64)))
    assert none.sentence == "No peak has a defined r."


def test_beyond_means_is_the_correlation_of_residuals():
    draw = np.random.default_rng(1)
    means, heights, predictions = draw.random((3, 12))
    heights, predictions = heights + means, predictions - 2 * means

    def residual(values):
        slope, offset = np.polyfit(means, values, 1)
        return values - slope * means - offset

    def r(a, b):
        return np.array([np.corrcoef(a, b)[0, 1]])

    by_hand = np.corrcoef(residual(heights), residual(predictions))[0, 1]
    found = beyond_means(r(heights, predictions), r(heights, means), r(predictions, means))
    assert found[0] == pytest.approx(by_hand)
    assert np.isnan(beyond_means(np.array([0.3]), np.array([1.0]), np.array([0.3])))[0]
