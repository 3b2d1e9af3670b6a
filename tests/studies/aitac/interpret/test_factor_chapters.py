"""The chapters on influence and pairs: their tables against the science, their sections drawn from tables alone."""

from types import SimpleNamespace

import polars as pl
import pytest
import torch
from plain_aitac import random_aitac

from netassay import influence
from netassay.dna.network.network import Network
from netassay.errors import DataError
from netassay.formats.motifs import Motifs
from netassay.numerics.devices import generator
from netassay.reporting import Figure, Note, write_page
from netassay.reporting.export import vega_lite
from netassay.studies.aitac.interpret.chapters import influence as chapter
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.interpret.pages import SECTIONS

CONFIG = InterpretConfig(permutations=50, pair_factors=4, scanned_pairs=1, backgrounds=3)
TYPES, LINEAGES = ("B.1", "B.2", "T.1"), ("B", "B", "T")


def network(seed):
    return random_aitac(3, length=101, n_filters=7, n_channels=8, n_hidden=8, seed=seed)


def stub(**changes):
    """What the chapters take of a subject, with seven filters of which two are called GATA1."""
    draws = torch.Generator().manual_seed(2)
    codes = torch.randint(0, 4, (80, 101), generator=draws, dtype=torch.uint8)
    best = pl.DataFrame(
        {
            "query": [f"filter_{i}" for i in range(7)],
            "name": ["GATA1", "SPI1", "GATA1", "<b>CTCF</b>", "x", "x", "x"],
            "target": list("abcdefg"),
            "q": [0.01, 0.02, 0.03, 0.04, 1.0, 1.0, 1.0],
        }
    )
    counts = torch.rand(7, 4, 8, generator=draws, dtype=torch.float64) ** 6
    given = {
        "network": Network(network(0), both_strands=True),
        "peers": (),
        "runs": ("aitac-0",),
        "codes": codes,
        "heights": torch.rand(80, 3, generator=draws),
        "cell_types": TYPES,
        "lineages": LINEAGES,
        "truth": {},
        "tables": {},
        "ablated_layer": None,
        "atlas": SimpleNamespace(simulated=False),
        "generator": lambda purpose: generator(0, purpose),
        "motifs": Motifs(tuple(best["query"]), 100 * counts, torch.full((7,), 100)),
        "matches": SimpleNamespace(
            best=lambda: best,
            queries=tuple(best["query"]),
            fdr=torch.zeros(7),
            database=Motifs(tuple(best["target"]), 100 * counts, torch.full((7,), 100), tuple(best["name"])),
        ),
    }
    subject = SimpleNamespace(**given | changes)
    subject.earlier = lambda chapter, table: subject.tables[(chapter, table)]
    return subject


def with_influence(subject):
    made = chapter.influence(subject, CONFIG)
    subject.tables |= {("influence", name): frame for name, frame in made.items()}
    return made


def drawn(section):
    """Every figure as strict Vega-Lite; names of the figures."""
    figures = [item for item in section.items if isinstance(item, Figure)]
    for figure in figures:
        assert vega_lite(figure)
    return [figure.name for figure in figures]


def test_tables_of_influence_are_what_the_science_gives(tmp_path):
    subject = stub()
    made = with_influence(subject)
    sets = [(0, 2), (1,), (3,), (4,), (5,), (6,)]
    want = influence(subject.network.model, subject.codes, subject.heights, sets=sets, both_strands=True)
    factors = made["factors"]
    assert factors["set"].to_list() == ["GATA1", "SPI1", "<b>CTCF</b>", "filter 4", "filter 5", "filter 6"]
    assert factors["filters"].to_list() == ["0,2", "1", "3", "4", "5", "6"]
    assert factors["influence"].to_list() == pytest.approx(want.overall.tolist())
    assert factors["z"].to_list() == pytest.approx(want.z.tolist())
    outputs = made["outputs"].filter(pl.col("set") == "GATA1")
    assert outputs["influence"].to_list() == pytest.approx(want.by_output[0].tolist())
    assert outputs["lineage"].to_list() == list(LINEAGES)
    assert made["filters"]["factor"].to_list() == ["GATA1", "SPI1", "GATA1", "<b>CTCF</b>", None, None, None]
    section = SECTIONS["influence"](made, CONFIG)
    assert drawn(section) == ["aitac-influence-null", "aitac-influence-map", "aitac-influence-lineages"]
    page = write_page(tmp_path / "page.html", title="x", sections=[section]).read_text()
    assert "<b>CTCF" not in page


def test_repetitions_are_averaged_over_matched_filters():
    members = pl.DataFrame({"cluster": [0, 0], "run": ["aitac-0", "aitac-1"], "filter": [1, 4]})
    subject = stub(
        peers=(Network(network(1), both_strands=True),),
        runs=("aitac-0", "aitac-1"),
        tables={("reproducible", "members"): members},
    )
    table = chapter.influence(subject, CONFIG)["ensemble"]
    each = [
        influence(model, subject.codes, subject.heights, both_strands=True).overall
        for model in (subject.network, *subject.peers)
    ]
    assert table["influence"][0] == pytest.approx(float(each[0][1] + each[1][4]) / 2)
    assert table["cell type"].to_list() == list(TYPES)


def test_pairs_of_the_most_influential_factors_are_tested_and_planted():
    subject = stub()
    factors = with_influence(subject)["factors"].sort("on_predictions", descending=True)
    made = chapter.pairs(subject, CONFIG)
    assert made["factors"]["set"].to_list() == factors["set"].head(4).to_list()
    assert made["pairs"].height == 6 * 2
    assert made["pairs"]["p"].drop_nulls().is_between(1 / 51, 1).all()
    assert made["spacing"]["orientation"].unique(maintain_order=True).to_list() == ["++", "+-", "-+", "--"]
    section = SECTIONS["pairs"](made, CONFIG)
    assert not (made["pairs"]["q"] < 0.05).any()
    assert drawn(section) == ["aitac-pairs-distance"] and "No pair has q < 0.05" in str(section.items)
    sure = made | {"pairs": made["pairs"].with_columns(q=pl.lit(0.01))}
    assert drawn(SECTIONS["pairs"](sure, CONFIG)) == ["aitac-pairs-network", "aitac-pairs-distance"]


def test_a_simulated_atlas_names_what_it_planted_and_says_so():
    motifs = stub().motifs
    rows = [("PAX5", j, *column) for j, column in enumerate(motifs.pwm[1].T.tolist())]
    rows += [("EBF1", j, *column) for j, column in enumerate(motifs.pwm[5].T.tolist())]
    truth = {
        "motifs": pl.DataFrame(rows, schema=["factor", "position", *"ACGT"], orient="row"),
        "pairs": pl.DataFrame({"first": ["EBF1"], "second": ["PAX5"], "distance": [20.0]}),
    }
    subject = stub(truth=truth, atlas=SimpleNamespace(simulated=True))
    made = with_influence(subject)
    assert {"PAX5", "EBF1"} <= set(made["factors"]["set"])
    config = CONFIG.replace(pair_factors=7)
    pairs = chapter.pairs(subject, config)
    assert {*pairs["spacing"]["first"], *pairs["spacing"]["second"]} == {"PAX5", "EBF1"}
    assert pairs["spacing"]["planted"].unique().to_list() == [20.0]
    for name, tables in (("influence", made), ("pairs", pairs)):
        section = SECTIONS[name](tables, config)
        assert any(isinstance(item, Note) and "SIMULATED" in item.text for item in section.items)
        drawn(section)


def test_a_network_that_hears_one_factor_has_no_pairs():
    subject = stub()
    with torch.no_grad():
        subject.network.model.convolution2.weight[:, 1:] = 0
    with_influence(subject)
    subject.tables[("influence", "factors")] = subject.tables[("influence", "factors")].filter(pl.col("set") == "SPI1")
    with pytest.raises(DataError, match="pairs need two or more"):
        chapter.pairs(subject, CONFIG)


def of_network(seed):
    draws = torch.Generator().manual_seed(3)
    model = random_aitac(4, length=60, n_filters=6, n_channels=8, n_hidden=8, seed=seed)
    codes = torch.randint(0, 4, (25, 60), generator=draws, dtype=torch.uint8)
    return influence(model, codes, torch.rand(25, 4, generator=draws))


def test_an_ensemble_sums_within_runs_and_averages_over_them():
    runs = [of_network(0), of_network(1)]
    matching = pl.DataFrame({"cluster": ["a", "a", "a", "b"], "run": [0, 0, 1, 1], "filter": [0, 3, 2, 5]})
    table = chapter.ensemble(runs, matching)
    a = table.filter(pl.col("cluster") == "a")
    sums = torch.stack([runs[0].overall[[0, 3]].sum(), runs[1].overall[2]])
    assert a["influence"][0] == pytest.approx(float(sums.mean()))
    assert a["spread"][0] == pytest.approx(float(sums.std()))
    outputs = torch.stack([runs[0].by_output[[0, 3]].sum(0), runs[1].by_output[2]])
    assert a["by_output"].to_list() == pytest.approx(outputs.mean(0).tolist())
    assert a["output"].to_list() == [0, 1, 2, 3]
    b = table.filter(pl.col("cluster") == "b")
    assert (b["runs"][0], b["filters"][0], b["spread"][0]) == (1, 1, None)
    assert b["influence"][0] == pytest.approx(float(runs[1].overall[5]))


@pytest.mark.parametrize(
    ("matching", "message"),
    [
        ({"cluster": ["a"], "run": [2], "filter": [0]}, "of run 2, of 2"),
        ({"cluster": ["a"], "run": [0], "filter": [6]}, r"filters \[6\]"),
        ({"cluster": ["a"], "filter": [6]}, "needed are cluster, run and filter"),
    ],
)
def test_a_matching_of_other_runs_is_refused(matching, message):
    with pytest.raises(DataError, match=message):
        chapter.ensemble([of_network(0), of_network(1)], pl.DataFrame(matching))
