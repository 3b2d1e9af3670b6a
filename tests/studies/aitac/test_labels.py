"""Several labels a sequence: their loss by hand, and a run with areas and intervals."""

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.metrics import roc_auc_score
from toy_atlas import write_fasta

from netassay import AitacConfig, build_atlas, perform
from netassay.dna.network.evaluate import scores
from netassay.dna.network.network import is_labels, loss_named
from netassay.errors import DataError
from netassay.studies.aitac.config import tiny
from netassay.studies.aitac.pages import sections


def test_binary_cross_entropy_by_hand():
    draw = np.random.default_rng(0)
    logits, labels = draw.standard_normal((6, 3)), (draw.random((6, 3)) < 0.4).astype(float)
    by_hand = -(labels * np.log(expit(logits)) + (1 - labels) * np.log(expit(-logits))).mean()
    assert loss_named("binary_cross_entropy")(torch.tensor(logits), torch.tensor(labels)).item() == pytest.approx(
        by_hand
    )
    assert is_labels(torch.tensor(labels)) and not is_labels(torch.ones(2, 2)) and not is_labels(torch.rand(2, 2))


def test_areas_rank_the_outputs_themselves():
    draw = np.random.default_rng(1)
    logits, labels = draw.standard_normal((40, 3)), (draw.random((40, 3)) < 0.4).astype(float)
    found = scores(torch.tensor(logits), torch.tensor(labels), one_of_k=False, labels=True)
    by_hand = np.mean([roc_auc_score(labels[:, i], logits[:, i]) for i in range(3)])
    assert found["auroc"] == pytest.approx(by_hand) and "accuracy" not in found


@pytest.fixture
def config(tmp_path):
    draw = np.random.default_rng(2)
    labels = (draw.random((240, 3)) < 0.4).astype(int)
    words = ("GATAAGAT", "CCACCTGG", "TTGCAATT")
    sequences = {}
    for i, row in enumerate(labels):
        letters = list("".join(draw.choice([*"ACGT"], 60)))
        for place, (word, here) in enumerate(zip(words, row, strict=True)):
            if here:
                letters[20 * place : 20 * place + 8] = word
        sequences[f"chr{i % 4 + 1}:{100 * i}-{100 * i + 60}"] = "".join(letters)
    write_fasta(tmp_path / "s.fa", sequences)
    (tmp_path / "l.csv").write_text(
        "name,x,y,z\n" + "".join(f"{n},{a},{b},{c}\n" for n, (a, b, c) in zip(sequences, labels, strict=True))
    )
    build_atlas(tmp_path / "s.fa", tmp_path / "l.csv", out=tmp_path / "atlas")
    return {
        **tiny().mapping(),
        "atlas": str(tmp_path / "atlas"),
        "peaks": 0,
        "loss": "binary_cross_entropy",
        "epochs": 1,
    }


def test_a_run_on_labels(config, tmp_path):
    run = perform(AitacConfig.from_mapping(config, where="test"), tmp_path / "runs")
    last = run.last_values()
    assert 0 < last[("auroc", "test")] < 1 and ("accuracy", "test") not in last
    types = run.table("cell_types")
    assert types["AUROC"].mean() == pytest.approx(last[("auroc", "test")], abs=1e-6)
    assert (types["AUROC low"] <= types["AUROC"]).all() and (types["AUPRC"] <= types["AUPRC high"]).all()
    assert any(section.title == "Cell types" for section in sections([run]))
    with pytest.raises(DataError, match="not 1 in one cell type"):
        perform(AitacConfig.from_mapping({**config, "loss": "cross_entropy"}, where="test"), tmp_path / "runs")


def test_heights_are_no_labels(tmp_path):
    config = {**tiny().mapping(), "loss": "binary_cross_entropy"}
    with pytest.raises(DataError, match="are not all 0 or 1; use pearson, mse"):
        perform(AitacConfig.from_mapping(config, where="test"), tmp_path / "runs")
