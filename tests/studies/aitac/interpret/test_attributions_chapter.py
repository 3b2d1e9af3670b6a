"""The chapter on attributions: planted sites are found and shuffled weights find none; what the page says."""

import dataclasses

import polars as pl
import pytest
import torch
from easy_atlas import MOTIFS, SMALL, easy_atlas
from small_networks import draws, network, sequences

from netassay.dna.attributions import contributions as science
from netassay.dna.attributions.contributions import shuffled_weights, site_auroc
from netassay.errors import DataError
from netassay.formats.bases import decode
from netassay.performing import perform
from netassay.reporting import Figure, Note, Section, Table, save_figure
from netassay.runs import Store
from netassay.studies.aitac.config import AitacConfig
from netassay.studies.aitac.interpret.chapters import attributions as chapter
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.interpret.pages import SECTIONS
from netassay.studies.aitac.interpret.subject import Subject


def planted():
    """The easy atlas with the truth of a simulated one: where the motifs are, and what they do."""
    atlas = easy_atlas(n=700)
    sites = [
        (i, motif, decode(row.numpy()).find(motif), 1)
        for i, row in enumerate(atlas.codes)
        for motif in MOTIFS
        if motif in decode(row.numpy())
    ]
    effects = [(motif, cell, 2.0 * (m == c)) for m, motif in enumerate(MOTIFS) for c, cell in enumerate("abcd")]
    truth = {
        "factors": pl.DataFrame({"factor": MOTIFS, "width": [len(motif) for motif in MOTIFS]}),
        "effects": pl.DataFrame(effects, schema=["factor", "cell_type", "effect"], orient="row"),
        "sites": pl.DataFrame(sites, schema=["peak", "factor", "start", "strand"], orient="row"),
    }
    return dataclasses.replace(atlas, truth=truth)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("chapter")


@pytest.fixture(scope="module")
def subject(folder):
    atlas = planted().save(folder / "atlas")
    words = {**SMALL, "n_filters": 20, "n_channels": 12, "n_hidden": 24, "epochs": 12, "learning_rate": 5e-3}
    runs = [perform(AitacConfig(atlas=str(atlas), seed=seed, **words), folder / "runs", threads=1) for seed in (0, 1)]
    config = InterpretConfig(
        run=runs[0].id,
        peers=runs[1].id,
        peaks="all",
        well_predicted=0.8,
        attribution_peaks=6,
        attribution_references=4,
    )
    return Subject(config, Store(folder / "runs"))


@pytest.fixture(scope="module")
def tables(subject):
    return chapter.tables(subject, subject.config)


def test_contributions_lie_on_planted_sites(tables):
    auroc = {(row["network"], row["method"]): row["AUROC mean"] for row in tables["sites"].iter_rows(named=True)}
    assert auroc["trained", "mutagenesis"] > 0.8, auroc
    # a base that a reference shares contributes nothing, so that few references blur sites
    for method in science.METHODS:
        assert auroc["trained", method] > 0.65, auroc
    assert abs(auroc["shuffled weights", "mutagenesis"] - 0.5) < 0.15, auroc


def test_methods_and_trainings_agree_more_than_their_nulls(tables):
    r = dict(tables["agreement"].group_by("kind").agg(pl.col("r mean").mean()).iter_rows())
    assert r["trained"] > 0.6
    assert r["repetition"] > 0.2 + max(r["another peak"], r["shuffled weights"])
    assert abs(r["another peak"]) < 0.3
    assert abs(r["shuffled weights"]) < 0.3


def test_peaks_are_the_best_of_each_cell_type(subject, tables):
    peaks = tables["peaks"]
    assert set(peaks["cell type"]) <= set("abcd")
    assert (peaks["r"] > 0.8).all()
    assert peaks.group_by("cell type").len()["len"].max() <= 6
    for row in peaks.iter_rows(named=True):
        assert int(subject.heights[row["row"]].argmax()) == row["output"]
        assert subject.atlas.peaks["name"][int(subject.index[row["row"]])] == row["peak"]
    assert tables["bases"].columns == ["peak", "cell type", "position", "base", *science.METHODS]


def test_the_section_is_drawn_from_the_tables(tables, subject, tmp_path):
    section = SECTIONS["attributions"](tables, subject.config)
    assert isinstance(section, Section)
    assert any(isinstance(item, Note) and "SIMULATED" in item.text for item in section.items)
    figures = [item for item in section.items if isinstance(item, Figure)]
    assert [figure.name for figure in figures] == ["attribution-logos", "attribution-agreement"]
    for figure in figures:
        assert save_figure(figure, tmp_path, ("svg",))[0].stat().st_size > 5_000
    assert {item.name for item in section.items if isinstance(item, Table)} == {
        "attribution-numbers",
        "attribution-sites",
        "attribution-peaks",
    }


def test_without_the_extra_the_others_are_made_and_a_note_names_it(subject, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tangermeme", None)
    config = subject.config.replace(attribution_peaks=1, attribution_cell_types=1)
    made = chapter.tables(subject, config)
    assert made["missing"]["method"].to_list() == ["deepshap"]
    assert "deepshap" not in made["bases"].columns
    section = SECTIONS["attributions"](made, config)
    assert any(isinstance(item, Note) and "netassay[attributions]" in item.text for item in section.items)


def test_where_no_peak_is_well_predicted_that_is_said(subject, folder):
    poor = Subject(subject.config.replace(well_predicted=0.999999), Store(folder / "runs"))
    with pytest.raises(DataError, match="no peak of the all set is well predicted"):
        chapter.tables(poor, poor.config)


def test_shuffled_weights_keep_every_units_weights():
    model = network(40)
    shuffled = shuffled_weights(model, draws(3))
    for name, weight in model.named_parameters():
        other = dict(shuffled.named_parameters())[name]
        if weight.ndim > 1:
            assert not torch.equal(weight, other)
            assert torch.equal(weight.flatten(1).sort(1).values, other.flatten(1).sort(1).values)
        else:
            assert torch.equal(weight, other)


def test_area_over_bases_by_hand():
    contributions = torch.tensor([[0.1, -0.9, 0.8, 0.2], [0.5, 0.5, 0.5, 0.5], [1.0, 2.0, 3.0, 4.0]])
    inside = torch.tensor([[False, True, True, False], [True, False, True, False], [False] * 4])
    found = site_auroc(contributions, inside)
    assert found[:2].tolist() == [1.0, 0.5]
    assert found[2].isnan()
    codes = sequences(1, 200)
    size, mask = torch.rand(1, 200, generator=draws(1)), codes < 1
    wins = (size[mask][:, None] > size[~mask][None]).double().mean()
    assert site_auroc(size, mask)[0] == pytest.approx(float(wins))
