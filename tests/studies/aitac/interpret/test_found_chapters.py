"""The chapters on reproducible filters and recovery, on networks whose first layers are written by hand."""

from types import SimpleNamespace

import polars as pl
import pytest
import torch

from netassay.dna.atlas.simulate import simulate_atlas
from netassay.dna.motifs.filters import filter_motifs
from netassay.dna.motifs.match import match_motifs
from netassay.dna.motifs.truth import planted_motifs
from netassay.dna.network.network import Network
from netassay.errors import DataError
from netassay.formats.motifs import cluster_motifs_of
from netassay.interpreting import interpret
from netassay.nets import AITAC
from netassay.numerics.devices import generator
from netassay.performing import perform, summarise
from netassay.presenting import report
from netassay.reporting import Figure, Note
from netassay.runs import State
from netassay.studies.aitac.config import tiny
from netassay.studies.aitac.interpret.chapters import motifs
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.interpret.pages import SECTIONS
from netassay.studies.aitac.start import reduced_config

PEAKS = 400


@pytest.fixture(scope="module")
def atlas():
    return simulate_atlas(PEAKS)


def network(atlas, factors, seed):
    """A network whose first filters answer to the motifs of these factors, the last two to nothing in particular."""
    g = torch.Generator().manual_seed(seed)
    model = AITAC(len(atlas.cell_types), n_filters=len(factors) + 2, n_channels=6, n_hidden=8, generator=g).eval()
    planted = planted_motifs(atlas.truth)
    with torch.no_grad():
        model.convolution1.weight[: len(factors)] = 0
        model.convolution1.bias.zero_()
        for filter_, factor in enumerate(factors):
            i = planted.names.index(factor)
            matrix = planted.pwm[i, :, slice(*planted.spans[i])].float()
            first = int(torch.randint(0, 19 - matrix.shape[1] + 1, (), generator=g))
            model.convolution1.weight[filter_, :, first : first + matrix.shape[1]] = matrix
            model.convolution1.bias[filter_] = -0.75 * float(matrix.amax(0).sum())
    return model


@pytest.fixture(scope="module")
def subject(atlas):
    return made_subject(atlas, ["Spi1", "IRF8", "EBF1"], [["IRF8", "Spi1", "GATA3"], ["Spi1", "IRF8", "CTCF"]])


def made_subject(atlas, own, others):
    models = [network(atlas, factors, seed) for seed, factors in enumerate((own, *others))]
    found = {}
    return SimpleNamespace(
        network=Network(models[0]),
        peers=tuple(map(Network, models[1:])),
        runs=tuple(f"aitac-{i:012x}" for i in range(len(models))),
        atlas=atlas,
        codes=atlas.codes,
        motif_peaks=torch.arange(PEAKS),
        config=InterpretConfig(),
        lineages=atlas.lineages,
        truth=atlas.truth,
        motifs=filter_motifs(models[0], atlas.codes),
        tables=found,
        generator=lambda what: generator(0, what),
        ablated_layer=None,
        earlier=lambda chapter, table: found[(chapter, table)],
        matches_of=lambda motifs: match_motifs(motifs, planted_motifs(atlas.truth)),
    )


def test_reproducible_filters_are_those_the_other_networks_have(subject):
    # so strict because among five filters of a run one is like anything at 0.05 more often than among 300
    config = InterpretConfig(reproducible_q=0.001)
    made = motifs.reproducible(subject, config)
    own = made["filters"].filter(pl.col("run") == subject.runs[0])
    assert own.filter("reproducible")["filter"].to_list() == [0, 1]
    assert own["found"].to_list()[:3] == [2, 2, 0]
    assert not made["permuted"]["reproducible"].any()
    held = made["clusters"].filter("held")
    assert set(held.filter(pl.col("q") < 0.01)["like"]) == {"Spi1", "IRF8"}
    assert held["runs"].to_list() == [3, 3]
    assert made["members"].filter(pl.col("cluster") == 0)["run"].n_unique() == 3
    numbers = dict(made["numbers"].iter_rows())
    assert (numbers["reproducible"], numbers["clusters held"], numbers["needed"]) == (2, 2, 2)
    again = cluster_motifs_of(made["clusters"], made["matrices"])
    assert again.consensus == tuple(made["clusters"]["consensus"])
    page = SECTIONS["reproducible"](made, config)
    assert "2 of 5 filters" in page.text
    assert {item.name for item in page.items if isinstance(item, Figure)} >= {"aitac-reproduced"}
    subject.tables |= {("reproducible", name): table for name, table in made.items()}


def test_recovery_by_one_run_and_by_several(subject):
    config = InterpretConfig()
    subject.tables |= {("reproducible", name): t for name, t in motifs.reproducible(subject, config).items()}
    made = motifs.recovery(subject, config)
    factors = made["factors"].filter("recovered")
    assert factors.filter(pl.col("by") == "one run")["factor"].to_list() == ["Spi1", "IRF8", "EBF1"]
    assert factors.filter(pl.col("by") != "one run")["factor"].to_list() == ["Spi1", "IRF8"]
    scores = made["scores"].rows_by_key(["what", "by"], named=True, unique=True)
    assert scores[("motifs", "one run")]["recall"] == 3 / 16
    assert scores[("motifs", "clusters of several runs")]["precision"] == 1
    assert scores[("pairs", "one run")]["planted"] == 6
    assert set(made["tested"].select("first", "second").unique().rows()) == {
        ("Spi1", "IRF8"),
        ("Spi1", "EBF1"),
        ("IRF8", "EBF1"),
    }
    page = SECTIONS["recovery"](made, config)
    assert any(isinstance(item, Note) and "SIMULATED" in item.text for item in page.items)
    assert "2 of 16 planted motifs" in page.text


def test_one_run_alone(atlas):
    alone = made_subject(atlas, ["Spi1"], [])
    with pytest.raises(DataError, match="as peers"):
        motifs.reproducible(alone, InterpretConfig())
    made = motifs.recovery(alone, InterpretConfig())
    assert made["factors"]["by"].unique().to_list() == ["one run"]
    assert made["tested"].height == 0
    assert "1 of 16" in SECTIONS["recovery"](made, InterpretConfig()).text


def test_an_atlas_without_truth_leaves_a_sentence():
    real = SimpleNamespace(truth={}, atlas=SimpleNamespace(source="my peaks"))
    with pytest.raises(DataError, match="'my peaks' has no tables of planted motifs"):
        motifs.recovery(real, InterpretConfig())


def test_an_interpretation_of_two_runs_tells_which_filters_to_keep(tmp_path):
    config = tiny().replace(peaks=200, epochs=1, first_activation="relu")
    runs = [perform(config.replace(seed=seed), tmp_path, threads=1) for seed in (0, 1)]
    made = interpret(runs[0], runs[1:], only="recovery", peaks="all", motif_best=50, reproducible_q=0.9, threads=1)
    assert made.state is State.FINISHED
    told = summarise(made)["chapters"]
    assert set(told) == {"reproducible", "recovery"}
    assert told["recovery"]["factors"] == 32
    table = made.table("reproducible_filters").filter(pl.col("run") == runs[0].id)
    assert len(table) == 12
    page = report([made], tmp_path / "page.html").read_text()
    assert "SIMULATED" in page
    assert "Reproducible filters" in page
    smaller = perform(reduced_config(runs[0], epochs=1), tmp_path, threads=1)
    assert smaller.table("reduction")["filters"].to_list()[1] == table["reproducible"].sum() > 0
