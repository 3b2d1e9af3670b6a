"""Transfers as runs: from Python and the command line, refused, interrupted, drawn."""

import json
import shlex

import polars as pl
import pytest
import torch
from easy_atlas import MOTIFS, SMALL, easy_atlas
from scipy import stats

from netassay.cli import main
from netassay.dna.atlas.atlas import with_values
from netassay.dna.influence.singles import influence
from netassay.errors import ConfigError, DataError, Interrupted
from netassay.formats.bases import decode
from netassay.formats.motifs import Motifs
from netassay.interpreting import transfer
from netassay.numerics.devices import generator
from netassay.performing import perform, resume, summarise
from netassay.presenting import report
from netassay.runs import Run, State, Store
from netassay.runs.facts import facts_of
from netassay.studies.aitac.config import AitacConfig
from netassay.studies.aitac.fit import config_of, material
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.interpret.subject import Subject
from netassay.studies.aitac.transfer.findings import (
    BASELINE,
    CEILING,
    CHANGE,
    LOSS,
    MAP,
    NULL,
    OTHER,
    ROWS,
    TRANSFER,
)
from netassay.study import command

SAME = [(name, name) for name in "abcd"]


@pytest.fixture(scope="module", autouse=True)
def database():
    """The motifs of the atlas as the database, which takes no time to compare with."""
    matrices = [100 * torch.eye(4, dtype=torch.float64)[["ACGT".index(x) for x in word]].T for word in MOTIFS]
    names = [f"T{i}" for i in range(4)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Subject, "database", Motifs.of_matrices(names, matrices, [100] * 4, names))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transfer")
    for seed in (0, 1):
        easy_atlas(seed=seed).save(folder / f"atlas_{seed}")
    return folder


@pytest.fixture(scope="module")
def run(folder):
    config = AitacConfig(atlas=str(folder / "atlas_0"), **{**SMALL, "epochs": 6, "learning_rate": 3e-3})
    return perform(config, folder / "runs", threads=1)


@pytest.fixture(scope="module")
def done(run, folder):
    return transfer(run, folder / "atlas_1", SAME, influence_peaks=600, threads=1)


def r_means(run):
    rows = run.table("scores").filter(pl.col("score") == "r_mean")
    return {row["model"]: row for row in rows.to_dicts()}


def test_the_same_grammar_is_read_and_the_nulls_are_not(done):
    found = r_means(done)
    assert found[TRANSFER]["value"] > 0.25
    assert abs(found[ROWS]["value"]) < 0.05
    assert abs(found[BASELINE]["value"]) < 0.05
    assert found[ROWS]["high"] < found[TRANSFER]["value"] / 2
    assert found[MAP]["value"] < 0.1
    assert found[MAP]["high"] < found[TRANSFER]["value"]
    assert [found[name]["draws"] for name in (TRANSFER, ROWS, MAP)] == [1, 20, 9]
    peaks = done.table("peaks")
    assert len(peaks) == 600
    assert peaks[f"r {TRANSFER}"].null_count() == 1  # the constant row
    assert peaks[f"r {TRANSFER}"].mean() == pytest.approx(found[TRANSFER]["value"])
    types = done.table("cell_types")
    assert (types["r, rows centred"] > types["null high"]).all()


def test_a_wrong_map_gives_nothing(run, folder):
    wrong = transfer(run, folder / "atlas_1", list(zip("abcd", "bcda", strict=True)), influence_peaks=0, threads=1)
    assert r_means(wrong)[TRANSFER]["value"] < 0.1
    assert "agreement" not in wrong.tables()
    assert "null" not in str(wrong.table("map")["source"].to_list())


def test_ranks_of_filters_stand_beside_their_nulls(done, run):
    rows = done.table("agreement").filter(pl.col("of") == "filters").to_dicts()
    held = {(row["measure"], row["against"]): row for row in rows}
    assert set(held) == {(m, a) for m in (LOSS, CHANGE) for a in (OTHER, NULL, CEILING)}
    # in another sample of the same grammar the same filters lower r; with heights of other peaks they do not
    assert held[LOSS, OTHER]["rho"] > 0.4
    assert held[LOSS, OTHER]["rho"] > held[LOSS, NULL]["rho"]
    found = done.table("influence").filter(pl.col("of") == "filters", pl.col("measure") == LOSS)
    assert found["filters"].to_list() == [str(i) for i in range(12)]
    subject = Subject(InterpretConfig(run=run.id), Store(run.folder.parent))
    want = influence(subject.network.model, subject.codes, subject.heights)
    assert found["own"].to_list() == pytest.approx(want.overall_signed.tolist(), abs=1e-6)
    draws = generator(done.config["seed"], "transfer", "ceiling")
    parts = torch.randperm(len(subject.codes), generator=draws).chunk(2)
    halves = [influence(subject.network.model, subject.codes[part], subject.heights[part]) for part in parts]
    rho = stats.spearmanr(*(half.overall_signed.numpy() for half in halves)).statistic
    assert held[LOSS, CEILING]["rho"] == pytest.approx(2 * rho / (1 + rho), abs=1e-4)


def test_the_page_shows_scores_and_ranks(done, tmp_path):
    page = report([done], tmp_path / "page.html", figures=tmp_path / "figures").read_text()
    assert "SIMULATED" in page
    names = {path.stem for path in (tmp_path / "figures").glob("*.svg")}
    assert names == {
        "transfer-score",
        "transfer-r",
        "transfer-cell-types",
        "transfer-ranks-1",
        "transfer-ranks-2",
    }
    json.dumps(summarise(done))
    assert done.verify() == []


def test_an_interrupted_transfer_goes_on_to_the_same_numbers(run, folder):
    options = {"influence_peaks": 40, "seed": 3, "threads": 1}
    whole = transfer(run, folder / "atlas_1", SAME, **options)
    wanted = {name: whole.table(name) for name in whole.tables() if name != "metrics"}
    Store(whole.folder.parent).delete([whole.id])

    def stop(step, values):
        raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, Interrupted)):
        transfer(run, folder / "atlas_1", SAME, **options, watch=stop)
    part = Run.open(whole.folder)
    assert part.state is State.INTERRUPTED
    again = resume(part.folder, threads=1)
    for name, frame in wanted.items():
        assert again.table(name).equals(frame, null_equal=True), name


def test_the_command_makes_run_and_page(run, folder, tmp_path, capsys):
    table = tmp_path / "map.tsv"
    table.write_text("# mouse to man\nsource type\ttarget type\na\ta\nb\ta\nc\tb\nd\tc\n")
    out = tmp_path / "page.html"
    words = ["transfer", run.id, "--store", str(run.folder.parent), "--atlas", str(folder / "atlas_1")]
    assert (
        main(
            [
                *words,
                "--cell-types",
                str(table),
                "--influence-peaks",
                "0",
                "--out",
                str(out),
                "--format",
                "json",
            ]
        )
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert told["transfers"] == run.id
    assert set(told["r_mean"]) == {TRANSFER, ROWS, MAP, BASELINE}
    assert out.exists()
    made = Run.open(folder / "runs" / told["run"])
    assert made.table("cell_types")["stands for it"].to_list() == ["a, b", "c", "d"]
    assert made.table("map").rows()[-1] == (None, "d")
    before = len(list(run.folder.parent.iterdir()))
    table.write_text("source,target\na,a\nb,a\nc,b\nd,ce\n")
    assert main([*words, "--cell-types", str(table)]) == 2
    assert f"{table}:5: the atlas has no cell type 'ce'" in capsys.readouterr().err
    assert main([*words, "--cell-types", str(table), "--out", f"{table}/page.html"]) == 2
    assert "map.tsv is a file" in capsys.readouterr().err
    assert main([*words, "--cell-types", str(table), "--figures", "f"]) == 2
    assert "give --out" in capsys.readouterr().err
    assert len(list(run.folder.parent.iterdir())) == before


def test_the_command_that_a_run_names_is_the_run(done, capsys):
    words = shlex.split(command(done))
    assert main([*words[1:], "--store", str(done.folder.parent), "--threads", "1", "--format", "json"]) == 0
    assert done.id in capsys.readouterr().out


def test_what_does_not_fit_is_refused_and_leaves_no_run(run, folder):
    before = sorted(run.folder.parent.iterdir())
    shorter = easy_atlas(n=40, length=55).save(folder / "shorter")
    with pytest.raises(DataError, match=r"reads 60 bases.*have 55; build that atlas with --width 60"):
        transfer(run, shorter, SAME)
    with pytest.raises(DataError, match="nowhere"):
        transfer(run, folder / "nowhere", SAME)
    with pytest.raises(DataError, match="pair 1: the network has no cell type 'x'"):
        transfer(run, folder / "atlas_1", [("x", "a")])
    with pytest.raises(ConfigError, match="permutations"):
        transfer(run, folder / "atlas_1", SAME, permutations=1)
    assert sorted(run.folder.parent.iterdir()) == before


def test_transfers_are_not_transferred_again(done, folder):
    with pytest.raises(ConfigError, match="of study aitac-transfer"):
        transfer(done, folder / "atlas_1", SAME)


def turned_and_moved(atlas, rows, by):
    """The other strand of these peaks, moved along by some bases, with others in their place."""
    codes = atlas.codes.clone()
    others = torch.randint(4, (len(rows), by), generator=torch.Generator().manual_seed(5)).to(torch.uint8)
    codes[rows] = 3 - torch.cat([codes[rows][:, by:], others], dim=1).flip(1)
    return with_values(atlas, codes=codes, heights=atlas.heights, peaks=atlas.peaks, truth={})


def by_hand(run, atlas, other):
    """Peaks of `other` of which half of the words of 24 bases or more stand in a trained sequence, on either strand."""
    split = material(config_of(run)).split
    words = set()
    for row in torch.cat([split.train, split.validation]).tolist():
        for text in (decode(atlas.codes[row].numpy()), decode(3 - atlas.codes[row].flip(0).numpy())):
            words |= {text[i : i + 24] for i in range(len(text) - 23)}
    texts = [decode(row.numpy()) for row in other.codes]
    return [sum(t[i : i + 24] in words for i in range(len(t) - 23)) >= (len(t) - 23) / 2 for t in texts]


def test_sequences_that_were_trained_on_are_left_out_and_counted(run, folder, tmp_path, capsys):
    """By sequence: whole, turned round, and moved by some bases; one moved by most of its length is another one."""
    own, fresh = easy_atlas(seed=0), easy_atlas(seed=1)
    moved = turned_and_moved(own, torch.arange(0, 200), 10)
    moved = turned_and_moved(moved, torch.arange(200, 260), 40)
    mixed = with_values(
        moved,
        codes=torch.cat([moved.codes[:300], fresh.codes[300:]]),
        heights=own.heights,
        peaks=own.peaks,
        truth={},
    )
    mixed.save(folder / "mixed")
    want = by_hand(run, own, mixed)
    assert 100 < sum(want) < 300 and not any(want[200:260]) and not any(want[300:])
    made = transfer(run, folder / "mixed", SAME, influence_peaks=0, threads=1)
    facts = facts_of(made.table("facts"))
    assert (facts["peaks trained on"], facts["they are"]) == (sum(want), "left out")
    left = made.table("peaks")["name"].to_list()
    assert left == [name for name, known in zip(mixed.peaks["name"], want, strict=True) if not known]
    told = summarise(made)["trained_on"]
    assert told == {"peaks": sum(want), "share": pytest.approx(sum(want) / 600), "they_are": "left out"}
    kept = transfer(run, folder / "mixed", SAME, influence_peaks=0, trained_on="keep", threads=1)
    assert len(kept.table("peaks")) == 600
    assert summarise(kept)["trained_on"]["they_are"] == "kept"
    words = f"on the sequences of {sum(want)} of 600 peaks ({sum(want) / 600:.1%}) of the other atlas: they are"
    pages = [report([one], tmp_path / "page.html").read_text() for one in (made, kept)]
    assert f"{words} left out." in pages[0] and f"{words} kept. The scores include them." in pages[1]
    assert r_means(kept)[TRANSFER]["value"] > r_means(made)[TRANSFER]["value"]


def test_an_atlas_of_nothing_but_what_was_trained_on_is_refused(run, folder):
    own = easy_atlas(seed=0)
    rows = material(config_of(run)).split.train
    chosen = with_values(own, codes=own.codes[rows], heights=own.heights[rows], peaks=own.peaks[rows.numpy()], truth={})
    chosen.save(folder / "trained")
    with pytest.raises(DataError, match=r"trained on the sequences of all .* peaks .*--trained-on keep"):
        transfer(run, folder / "trained", SAME)


@pytest.mark.parametrize("text", ["", "{}", '[["a"]]', '[["a", 1]]', "nonsense"])
def test_configs_hold_a_list_of_pairs(text):
    from netassay.studies.aitac.transfer.config import TransferConfig

    with pytest.raises(ConfigError, match=r"cell_types = .* is not allowed"):
        TransferConfig(cell_types=text)
