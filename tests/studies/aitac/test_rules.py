"""What aitac runs and interpretations say in sentences, on runs of which it is known."""

import numpy as np
import polars as pl
import pytest
from hand_made_runs import hand_made

from netassay.runs.facts import fact_table
from netassay.studies.aitac.findings import verdict
from netassay.studies.aitac.interpret import rules as interpretation
from netassay.studies.aitac.rules import findings


def aitac(tmp_path, correlations, *, auroc=None, simulated=False, areas=None, **config):
    peaks = pl.DataFrame({"r": correlations}, schema={"r": pl.Float64}).with_columns(
        name=pl.int_range(pl.len()).cast(pl.String),
        chromosome=pl.lit("chr1"),
        start=pl.int_range(pl.len(), dtype=pl.Int64) * 1000,
        r_baseline=pl.lit(0.1),
    )
    tables = {"peaks": peaks, "atlas": fact_table({"cell types": 4, "simulated": simulated})}
    if areas:
        tables["cell_types"] = pl.DataFrame({"cell type": list(areas), "AUROC": list(areas.values())})
    rows = [(1, "r_mean", "baseline", 0.1)] + ([(1, "auroc", "test", auroc)] if auroc else [])
    return hand_made(tmp_path, "aitac", rows, tables, **config)


GOOD, NOISE = [0.5, 0.7] * 50, [-0.1, 0.1] * 50


def test_a_score_is_said_beside_that_of_its_null(tmp_path):
    run = aitac(tmp_path, GOOD)
    assert findings([run]) == []  # a score without its null says nothing
    aitac(tmp_path, NOISE, null="rows")
    (finding,) = findings([run])
    judged = {row["what"]: row for row in verdict(run).table.to_dicts()}
    own, null = judged["model"], judged["null: rows"]
    assert 0.57 < own["low"] < 0.59 and 0.61 < own["high"] < 0.63
    assert f"mean r = 0.600 [{own['low']:.3f}, {own['high']:.3f}]" in finding.text
    assert "trained on shuffled peaks gives 0.000 [−0.0" in finding.text
    assert f"which is 0.600 [{null['above_low']:.3f}, {null['above_high']:.3f}] less" in finding.text
    assert "single peaks resampled" in finding.text
    assert "the means of the cell types give 0.100" in finding.text and "SIMULATED" not in finding.text


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ("chromosome", "peaks of chromosomes that it never saw"),
        ("chromosome-folds", "peaks of chromosomes that it never saw"),
        ("random", "peaks that it never saw"),
        ("folds", "peaks that it never saw"),
    ],
)
def test_chromosomes_are_named_where_the_split_is_by_them(tmp_path, split, said):
    run = aitac(tmp_path, GOOD, split=split)
    aitac(tmp_path, NOISE, null="rows", split=split)
    (finding,) = findings([run])
    assert said in finding.text


def test_a_score_that_is_not_above_its_null_says_nothing(tmp_path):
    aitac(tmp_path, GOOD, null="rows")
    draws = np.random.default_rng(0).normal(0, 0.1, len(GOOD))  # peak by peak neither is above the other
    assert findings([aitac(tmp_path, [value + noise for value, noise in zip(GOOD, draws, strict=True)])]) == []


def test_simulated_data_are_called_so(tmp_path):
    aitac(tmp_path, NOISE, null="rows", simulated=True)
    (finding,) = findings([aitac(tmp_path, GOOD, simulated=True)])
    assert finding.text.startswith("SIMULATED DATA: ")


@pytest.mark.parametrize(("null", "said"), [(0.5, True), (0.85, False)])
def test_areas_are_said_where_every_cell_type_is_above_the_null(tmp_path, null, said):
    areas = {"K562": 0.8, "HepG2": 0.95}
    aitac(tmp_path, NOISE, auroc=null, areas=areas, null="rows")
    run = aitac(tmp_path, GOOD, auroc=0.875, areas=areas)
    texts = [finding.text for finding in findings([run]) if "AUROC" in finding.text]
    assert [("from 0.800 (K562) to 0.950 (HepG2)" in text) for text in texts] == ([True] if said else [])


def factors(influence, null, q):
    return pl.DataFrame(
        {"set": ["GATA", "filter 3"], "influence": [influence, 9.0], "null": [null, 0.0], "q": [q, 0.0]}
    )


@pytest.mark.parametrize(
    ("influence", "null", "q", "said"),
    [(0.2, 0.01, 1e-6, True), (0.2, 0.19, 1e-6, False), (0.2, 0.01, 0.2, False)],
)
def test_a_factor_is_named_where_its_influence_is_clear_of_its_null(tmp_path, influence, null, q, said):
    outputs = pl.DataFrame({"set": ["GATA", "IRF"], "cell type": ["K562"] * 2, "influence": [3.0, 1.0]})
    tables = {"influence_factors": factors(influence, null, q), "influence_outputs": outputs}
    run = hand_made(tmp_path, "aitac-interpret", [], tables, run="aitac-000000000000")
    texts = [finding.text for finding in interpretation.findings([run])]
    assert len(texts) == said
    if said:
        assert "filters of GATA" in texts[0] and "influence 0.2, null 0.01 (q = 1e-06)" in texts[0]
        assert "K562 changes most (75 % of all influence there)" in texts[0]


@pytest.mark.parametrize(("most", "said"), [(0.1, 1), (0.4, 0)])
def test_names_of_filters_are_counted_against_permuted_ones(tmp_path, most, said):
    shares = pl.DataFrame({"q": [0.05], "filters": [0.3], "permuted": [0.05], "permuted most": [most]})
    tables = {"motifs_shares": shares, "motifs_filters": pl.DataFrame({"filter": ["a"] * 10})}
    run = hand_made(tmp_path, "aitac-interpret", [], tables, run="aitac-000000000000")
    assert len(interpretation.findings([run])) == said
