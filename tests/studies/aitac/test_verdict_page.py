"""The verdict of a run on an atlas of drawn cells: in its tables, its summary and on its page."""

import numpy as np
import pytest
from scipy import stats

from netassay import AitacConfig, perform, simulate_atlas
from netassay.reporting import Figure, Note
from netassay.studies.aitac import findings
from netassay.studies.aitac.assay import material
from netassay.studies.aitac.assay import test_tables as tables_of
from netassay.studies.aitac.config import tiny
from netassay.studies.aitac.pages import sections


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verdict")
    simulate_atlas(200, length=80, cells=30, depth=2000, out=folder / "atlas")
    plain = {**tiny().mapping(), "atlas": str(folder / "atlas"), "peaks": 0, "epochs": 1}
    return [
        perform(AitacConfig.from_mapping({**plain, "null": null}, where="test"), folder / "runs")
        for null in ("none", "rows", "dinucleotide")
    ]


def test_tables_and_summary(runs):
    model = runs[0]
    peaks, ceiling = model.table("peaks"), model.table("ceiling")
    assert {"r_beyond", "r_halves", "ceiling"} <= set(peaks.columns)
    assert ceiling["what"].to_list() == ["ceiling", "r of halves"] and 0.5 < ceiling["value"][0] < 1
    assert model.table("cell_types")["ceiling"].null_count() == 0
    told = findings.summary(model)
    assert "above what dinucleotide composition explains" in told["verdict"] and "% of the ceiling" in told["verdict"]
    assert told["ceiling"]["value"] == ceiling["value"][0]
    worth = findings.verdict(model)
    assert worth.table["what"].to_list()[:4] == ["model", "baseline: column means", "null: dinucleotide", "null: rows"]
    score = model.last_values()[("r_mean", "test")]
    assert worth.table["r"][0] == pytest.approx(score, abs=1e-6)
    assert findings.verdict(runs[1]) is None


def test_the_page(runs):
    section = next(section for section in sections(runs) if section.title == "Verdict")
    assert [item.name for item in section.items if isinstance(item, Figure)] == ["aitac-verdict"]
    texts = [item.text for item in section.items if isinstance(item, Note)]
    assert texts == [findings.summary(runs[0])["verdict"]]
    alone = next(section for section in sections(runs[:1]) if section.title == "Verdict")
    assert any("--null dinucleotide" in item.text for item in alone.items if isinstance(item, Note))
    assert not [section for section in sections(runs[1:]) if section.title == "Verdict"]


def test_a_perfect_model_scores_the_ceiling(runs):
    data = material(AitacConfig.from_mapping(runs[0].config, where="test"))
    truth = data.atlas.truth["signal"].to_torch()[data.split.test]
    tables = tables_of(data, truth.float(), free_offset=True)
    low, high = (tables["ceiling"][name][0] for name in ("low", "high"))
    assert low <= tables["peaks"]["r"].mean() <= high
    types = tables["cell_types"]
    within = (types["ceiling low"] <= types["r, rows centred"]) & (types["r, rows centred"] <= types["ceiling high"])
    assert within.mean() > 0.6
    observed = data.heights[data.split.test].numpy()
    means = data.heights[data.split.train].mean(0).numpy()

    def left(values):
        fit = stats.linregress(means, values)
        return values - fit.slope * means - fit.intercept

    by_hand = np.corrcoef(left(observed[3]), left(truth[3].numpy()))[0, 1]
    assert tables["peaks"]["r_beyond"][3] == pytest.approx(by_hand, abs=1e-4)
