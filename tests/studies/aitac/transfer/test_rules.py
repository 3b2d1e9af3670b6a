"""What transfers say in sentences, on runs of which it is known."""

import numpy as np
import polars as pl
import pytest
from hand_made_runs import hand_made

from netassay.runs.facts import fact_table
from netassay.studies.aitac.transfer.rules import findings


def transfer(tmp_path, null_high, *, rho=(0.8, 0.7, 0.9), **facts):
    r = np.random.default_rng(0).normal(0.5, 0.1, 400)
    peaks = pl.DataFrame({"chromosome": ["chr1"] * 400, "start": range(400), "r transfer": r})
    scores = pl.DataFrame(
        {
            "model": ["transfer", "null: permuted rows", "null: permuted map"],
            "score": ["r_mean"] * 3,
            "value": [float(r.mean()), 0.0, -0.02],
            "high": [float(r.mean()), 0.1, null_high],
            "draws": [1, 20, 20],
        }
    )
    agreement = pl.DataFrame(
        [("filters", "loss of r", "other atlas", *rho, 40), ("filters", "loss of r", "null", 0.1, -0.2, 0.4, 40)],
        schema=["of", "measure", "against", "rho", "low", "high", "n"],
        orient="row",
    )
    tables = {"scores": scores, "peaks": peaks, "agreement": agreement, "facts": fact_table(facts)}
    pairs = '[["a", "b"]]'
    return hand_made(tmp_path, "aitac-transfer", [], tables, run="aitac-000000000000", atlas="mouse", cell_types=pairs)


def test_a_score_is_said_beside_both_nulls(tmp_path):
    score, ranks = findings([transfer(tmp_path, 0.2)])
    assert "400 peaks of atlas mouse, predictions correlate with heights at mean r = 0.49" in score.text
    assert "heights of other peaks give 0.000 (largest of 20: 0.100)" in score.text
    assert "wrong maps give −0.020 (largest of 20: 0.200)" in score.text
    assert score.command.startswith("netassay transfer aitac-000000000000 ") and "SIMULATED" not in score.text
    assert "40 filters is 0.80 [0.70, 0.90]; with heights of other peaks 0.10 [−0.20, 0.40]." in ranks.text


@pytest.mark.parametrize(("null_high", "rho", "said"), [(0.6, (0.8, 0.7, 0.9), 1), (0.2, (0.8, 0.3, 0.9), 1)])
def test_what_is_not_above_its_null_is_not_said(tmp_path, null_high, rho, said):
    assert len(findings([transfer(tmp_path, null_high, rho=rho)])) == said


def test_kept_peaks_and_simulated_data_are_named(tmp_path):
    facts = {"they are": "kept", "peaks trained on": 12, "simulated": True}
    score, _ = findings([transfer(tmp_path, 0.2, **facts)])
    assert score.text.startswith("SIMULATED DATA: On 400 peaks of atlas mouse (the network was trained on 12 of them)")
