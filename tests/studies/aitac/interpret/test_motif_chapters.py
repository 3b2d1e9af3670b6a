"""The chapters on motifs, on a network whose first filters are the motifs of known factors."""

from functools import cache
from types import SimpleNamespace

import polars as pl
import pytest
import torch

from netassay.dna.network.layers import activations
from netassay.dna.network.network import Network
from netassay.errors import DataError
from netassay.formats.jaspar import read_database
from netassay.formats.meme import read_meme, write_meme
from netassay.formats.motifs import motifs_of_table
from netassay.nets import AITAC
from netassay.numerics.devices import generator
from netassay.reporting import Figure, Note, Table, write_page
from netassay.runs.facts import facts_of
from netassay.studies.aitac.interpret.chapters import motifs
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.interpret.findings import layer_motifs
from netassay.studies.aitac.interpret.pages import SECTIONS
from netassay.studies.aitac.interpret.subject import Subject

KNOWN = ("MA0080.7", "MA0114.5", "MA0036.4", "MA0050.4")
CONFIG = InterpretConfig(motif_permutations=2, motif_logos=3, motif_threshold=0.7)


@cache
def vertebrates():
    return read_database("jaspar-vertebrates")


class Made(Subject):
    """A subject without a run: 150 random sequences with sites of four factors written into them."""

    def __init__(self, config=CONFIG, well=True, one_of_k=False):
        self.config, draws = config, torch.Generator().manual_seed(0)
        database = vertebrates().select(range(0, 879, 9))
        known = vertebrates().select([vertebrates().names.index(name) for name in KNOWN])
        self.database = type(known)(
            known.names + tuple(f"X{i}" for i in range(len(database))),
            torch.cat([known.counts, database.counts]),
            torch.cat([known.sites, database.sites]),
            known.titles + database.titles,
        )
        self.codes = torch.randint(0, 4, (150, 60), generator=draws).to(torch.uint8)
        model = AITAC(3, length=60, n_filters=6, n_channels=5, n_hidden=4, generator=draws).eval()
        with torch.no_grad():
            model.convolution1.weight.zero_()
            model.convolution1.bias.zero_()
            for i in range(4):
                start, stop = known.spans[i]
                matrix = known.pwm[i, :, start:stop]
                model.convolution1.weight[i, :, 2 : 2 + stop - start] = matrix.float() - 0.25
                drawn = torch.multinomial(matrix.T, 40, replacement=True, generator=draws).T.to(torch.uint8)
                self.codes[35 * i : 35 * i + 40, 20 : 20 + stop - start] = drawn[: len(self.codes) - 35 * i]
            model.convolution1.bias[5] = -1.0  # never active
        self.network = Network(model)
        self.heights = torch.randn(150, 3, generator=draws)
        self.predicted = self.heights if well else -self.heights
        self.material = SimpleNamespace(one_of_k=one_of_k)
        self.atlas = SimpleNamespace(cell_types=("a", "b", "c"), simulated=True, lineages=("", "", ""), truth={})

    def generator(self, purpose):
        return generator(0, purpose)


@pytest.fixture(scope="module")
def tables():
    return motifs.first_layer(Made(), CONFIG)


def test_filters_are_named_after_what_they_look_for(tables):
    filters = tables["filters"]
    assert filters["filter"].to_list() == [f"filter_{i}" for i in range(6)]
    assert filters["target"].to_list()[:4] == list(KNOWN)
    assert filters["q"].to_list()[:4] == pytest.approx([0] * 4, abs=5e-3)
    assert filters["factor"].to_list() == ["Spi1", "HNF4A", "GATA2", "Irf1", None, None]
    assert filters["fdr"].to_list()[:4] == pytest.approx([0] * 4, abs=0.05)
    assert filters["offset"].to_list()[0] <= 2
    assert filters["q"].is_null().to_list()[4:] == [True, True]  # flat, and silent
    facts = facts_of(tables["facts"])
    assert facts["silent"] == ["filter_4", "filter_5"]
    assert facts["peaks"] == 150
    assert tables["shares"].filter(q=5e-3)["filters"].item() == 1
    assert (
        tables["positions"].group_by("filter").agg(pl.col("sites").sum()).sort("filter")["sites"].to_list()
        == (filters["sites"].to_list()[:4])
    )
    assert tables["profiles"].columns == ["filter", "a", "b", "c"]
    assert set(tables["known"]["motif"]) == set(filters["target"].drop_nulls())


def test_motifs_come_back_from_tables_and_go_to_a_file(tables, tmp_path):
    subject = Made()
    made = layer_motifs(tables)
    assert made.names == subject.motifs.names[:4]
    assert torch.equal(made.counts, subject.motifs.counts[:4, :, : made.counts.shape[2]])
    assert made.titles == ("Spi1", "HNF4A", "GATA2", "Irf1")
    assert read_meme(write_meme(made, tmp_path / "m.meme")).titles == made.titles
    known, database = motifs_of_table(tables["known"]), vertebrates()
    for name in KNOWN:
        mine, theirs = known.names.index(name), database.names.index(name)
        assert int(known.sites[mine]) == int(database.sites[theirs])
        width = known.counts.shape[2]
        assert torch.equal(known.counts[mine], database.counts[theirs, :, :width])


def test_the_section_from_the_tables_alone(tables, tmp_path):
    section = SECTIONS["motifs"](tables, CONFIG)
    words = [item.text for item in section.items if isinstance(item, Note)]
    assert any(text.startswith("SIMULATED DATA") for text in words)
    assert any("2 of 6 are active nowhere and have no motif: filter_4, filter_5." in text for text in words)
    figures = {item.name: item for item in section.items if isinstance(item, Figure)}
    assert list(figures) == ["aitac-motifs-logos", "aitac-motifs-profiles", "aitac-motifs-shares"]
    profile = figures["aitac-motifs-profiles"].data.filter(filter="filter_0")
    subject = Made()
    with_site = activations(subject.network, subject.codes)[:, 0].amax(1) > subject.motifs.thresholds[0]
    want = subject.heights[with_site].mean(0) - subject.heights.mean(0)
    assert profile["difference"].to_list() == pytest.approx(want.tolist(), abs=6e-4)
    assert figures["aitac-motifs-logos"].data.height == 3
    assert "Shown are the 3 of least q, of 4." in figures["aitac-motifs-logos"].caption
    (table,) = [item for item in section.items if isinstance(item, Table)]
    assert table.data.height == 6
    page = write_page(tmp_path / "page.html", title="Motifs", sections=[section]).read_text()
    assert "filter 0 (Spi1)" in page
    none = {**tables, "filters": tables["filters"].with_columns(factor=pl.lit("unsure"))}
    assert any(
        "None of the filters" in item.text for item in SECTIONS["motifs"](none, CONFIG).items if isinstance(item, Note)
    )


def test_the_second_layer(tmp_path):
    made = motifs.second_layer(Made(), CONFIG)
    assert facts_of(made["facts"])["width"] == 51
    section = SECTIONS["second_layer"](made, CONFIG)
    assert "sees 51 bases" in section.text
    assert {item.name.rpartition("-")[0] for item in section.items if not isinstance(item, Note)} == {
        "aitac-second-layer"
    }
    write_page(tmp_path / "page.html", title="Motifs", sections=[section])


def test_no_peak_that_is_predicted_well():
    with pytest.raises(DataError, match=r"no peak is predicted with r above 0.75 .*such as --motif-best 150"):
        _ = Made(well=False).motifs
    with pytest.raises(DataError, match="no peak has its own cell type predicted highest"):
        _ = Made(well=False, one_of_k=True).motifs
    assert Made(InterpretConfig(motif_best=20), well=False).motifs.n_peaks == 20
