"""Networks of others from module and atlas to a page: a small Basset, a BPNet of two heads, a DeepSTARR regressor."""

import hashlib
import json
import re
from pathlib import Path

import polars as pl
import pytest
import torch
from easy_atlas import MOTIFS, easy_atlas
from safetensors.torch import load_file, save_file
from torch import nn

from netassay.cli import main
from netassay.dna.atlas.atlas import with_values
from netassay.dna.attributions.contributions import attribute
from netassay.dna.influence.singles import influence
from netassay.dna.network.loading import made_by
from netassay.dna.network.network import Network, predict
from netassay.errors import ConfigError, DataError, Interrupted, RunFailed
from netassay.formats.bases import decode, one_hot
from netassay.formats.motifs import Motifs
from netassay.interpreting import interpret
from netassay.nets.sequence_cnn import pooled_lengths
from netassay.performing import resume, summarise
from netassay.presenting import report
from netassay.runs import Run, State
from netassay.runs.facts import facts_of
from netassay.studies.aitac.interpret.findings import NOTE, chapter_tables
from netassay.studies.aitac.interpret.subject import Subject

NETS = '''"""Forms that others write."""

import torch
from torch import nn


class Basset(nn.Module):
    """Convolution, norm, ReLU in place, pooling."""

    def __init__(self, outputs=4):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(4, 12, 11, padding=5), nn.BatchNorm1d(12), nn.ReLU(inplace=True), nn.MaxPool1d(3),
            nn.Conv1d(12, 12, 5, padding=2), nn.BatchNorm1d(12), nn.ReLU(inplace=True), nn.MaxPool1d(4),
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(60, 16), nn.ReLU(), nn.Linear(16, outputs))

    def forward(self, x):
        return self.head(self.features(x))


class BPNet(nn.Module):
    """(profile (n, 1, length), counts (n, 4)) of (n, length, 4), with dilated convolutions of function calls."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(4, 12, 11, padding=5)
        self.dilated = nn.ModuleList([nn.Conv1d(12, 12, 3, padding=2**i, dilation=2**i) for i in (1, 2)])
        self.profile, self.counts = nn.Conv1d(12, 1, 15, padding=7), nn.Linear(12, 4)

    def forward(self, x):
        h = torch.relu(self.first(x.transpose(1, 2)))
        for layer in self.dilated:
            h = h + torch.relu(layer(h))
        return self.profile(h), self.counts(h.mean(2))


class DeepSTARR(Basset):
    """Two outputs, of which there is no correlation."""

    def __init__(self):
        super().__init__(outputs=2)


def basset():
    return Basset()


def bpnet():
    return BPNet()


def deepstarr():
    return DeepSTARR()


def tracks():
    """The profile's mean as the only output: what needs a function is said by a Network."""
    import netassay

    return netassay.Network(BPNet(), readout=lambda y: y[0].mean(2), layout="channels_last")


def nothing():
    return 3


def breaks():
    raise RuntimeError("no such luck")
'''
KINDS = {
    "basset": {"loss": "pearson"},
    "bpnet": {"readout": "1", "layout": "channels_last"},
    "deepstarr": {"strands": "both"},
}
QUICK = {
    "peaks": "all", "pair_factors": 3, "permutations": 20, "scanned_pairs": 1, "backgrounds": 3,
    "attribution_references": 2, "attribution_peaks": 3, "motif_permutations": 1, "motif_best": 200,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def database():
    """The motifs of the atlas as the database, which takes no time to compare with."""
    matrices = [100 * torch.eye(4, dtype=torch.float64)[["ACGT".index(x) for x in word]].T for word in MOTIFS]
    names = [f"T{i}" for i in range(4)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Subject, "database", Motifs.of_matrices(names, matrices, [100] * 4, names))
        yield


def trained(model, read, atlas, steps=150):
    """A few steps of regression, which is enough for filters to look like the planted words."""
    torch.manual_seed(0)
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    x = one_hot(atlas.codes)
    for step in range(steps):
        rows = torch.arange(step * 50, step * 50 + 50) % len(x)
        optimiser.zero_grad()
        torch.nn.functional.mse_loss(read(model, x[rows]), atlas.heights[rows]).backward()
        optimiser.step()
    return model.eval()


READ = {
    "basset": lambda m, x: m(x),
    "bpnet": lambda m, x: m(x.transpose(1, 2))[1],
    "deepstarr": lambda m, x: m(x),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "nets.py").write_text(NETS)
    atlas = easy_atlas()
    two = with_values(
        atlas,
        codes=atlas.codes,
        heights=atlas.heights[:, :2],
        peaks=atlas.peaks,
        truth={},
        cell_types=atlas.cell_types[:2],
        lineages=atlas.lineages[:2],
    )
    for kind in KINDS:
        held = two if kind == "deepstarr" else atlas
        held.save(folder / f"{kind}_atlas")
        torch.manual_seed(1)
        model = trained(made_by(f"{folder / 'nets.py'}:{kind}"), READ[kind], held)
        save_file(model.state_dict(), folder / f"{kind}.safetensors")
    return folder


def options(folder, kind):
    return {
        "module": f"{folder / 'nets.py'}:{kind}",
        "weights": str(folder / f"{kind}.safetensors"),
        "atlas": str(folder / f"{kind}_atlas"),
        **KINDS[kind],
    }


def flags(words):
    return [part for key, value in words.items() for part in (f"--{key.replace('_', '-')}", str(value))]


def loaded(folder, kind):
    model = made_by(f"{folder / 'nets.py'}:{kind}")
    model.load_state_dict(load_file(folder / f"{kind}.safetensors"))
    return model.eval()


@pytest.fixture(scope="module")
def made(folder):
    return {kind: interpret(store=folder / "runs", threads=1, **options(folder, kind), **QUICK) for kind in KINDS}


CHAPTERS = ("motifs", "second_layer", "influence", "pairs", "attributions")


@pytest.mark.parametrize("kind", KINDS)
def test_every_chapter_that_needs_no_repetition_is_made(made, kind):
    run = made[kind]
    assert run.state is State.FINISHED
    for chapter in CHAPTERS:
        tables = chapter_tables(run, chapter)
        assert NOTE not in tables, (chapter, tables[NOTE]["text"][0])
    filters = chapter_tables(run, "motifs")["filters"]
    assert len(filters) == 12
    assert len(set(filters.filter(pl.col("q") < 0.01)["name"])) >= (2 if kind == "basset" else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_influence_of_the_page_is_that_of_the_module(made, folder, kind):
    """Against the function, and that (tested elsewhere) against hooks."""
    layer = {"basset": "features.0", "bpnet": "first", "deepstarr": "features.0"}[kind]
    facts = facts_of(chapter_tables(made[kind], "influence")["facts"])
    assert facts["ablated"] == f"of layer {layer}"
    atlas = easy_atlas()
    heights = atlas.heights[:, :2] if kind == "deepstarr" else atlas.heights
    network = Network.of(
        loaded(folder, kind),
        both_strands=kind == "deepstarr",
        readout=1 if kind == "bpnet" else None,
        layout=KINDS[kind].get("layout"),
    )
    network = Network(**{**vars(network), "less_mean": kind == "basset"})
    want = influence(network, atlas.codes, heights, layer=layer)
    filters = chapter_tables(made[kind], "influence")["filters"]
    assert filters["on_predictions"].to_list() == pytest.approx(want.by_output.mean(1).tolist(), rel=1e-4)
    if kind == "deepstarr":
        assert filters["influence"].null_count() == 12


def test_layers_are_those_that_a_pass_calls(made):
    layers = {kind: facts_of(run.table("subject")) for kind, run in made.items()}
    assert [(layers[k]["layer"], layers[k]["next layer"]) for k in KINDS] == [
        ("features.0", "features.4"),
        ("first", "dilated.0"),
        ("features.0", "features.4"),
    ]
    assert [layers[k]["strands"] for k in KINDS] == ["one", "one", "both"]
    assert layers["basset"]["outputs"].startswith("outputs less their mean")
    assert layers["bpnet"]["outputs"] == "outputs as the network gives them"


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_shows_the_network_and_its_figures(made, kind, tmp_path):
    page = report([made[kind]], tmp_path / "page.html", figures=tmp_path / "figures").read_text()
    assert f"nets.py:{kind} with" in page and "SHA-256 of" in page
    names = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    assert any("aitac-motifs" in name for name in names) and any("influence-map" in name for name in names)
    assert "Left out: Agreement with ChIP-seq. No ChIP-seq is given" in page
    assert ("DeepLIFT/SHAP is left out" in page) == (kind == "bpnet")  # which calls torch.relu
    if kind == "deepstarr":
        assert "no r across 2 cell types" in page and "a constant row" not in page
        assert "what the same ablation would do to r" not in page


def test_the_file_is_imported_when_the_run_is_made_and_never_when_it_is_read(made, folder, tmp_path, monkeypatch):
    (folder / "nets.py").rename(folder / "gone.py")
    try:
        again = Run.open(made["basset"].folder)
        assert "nets.py:basset" in summarise(again)["interprets"]
        report([again], tmp_path / "page.html")
        assert main(["show", str(again.folder)]) == 0 and main(["runs", "--store", str(folder / "runs")]) == 0
        with pytest.raises(DataError, match=r"module = .*nets.py.*cannot be read"):
            interpret(store=folder / "runs", **options(folder, "basset"), **QUICK)
    finally:
        (folder / "gone.py").rename(folder / "nets.py")


def test_a_change_of_the_file_or_the_weights_makes_all_anew(folder, tmp_path):
    words = {**options(folder, "bpnet"), **QUICK, "only": "motifs"}
    (tmp_path / "nets.py").write_text(NETS)
    words["module"] = f"{tmp_path / 'nets.py'}:bpnet"
    done = interpret(store=tmp_path / "runs", threads=1, **words)
    before, filters = dict(done.table("subject").iter_rows()), done.table("motifs_filters")
    (tmp_path / "nets.py").write_text(NETS + "\n# another\n")
    again = interpret(store=tmp_path / "runs", threads=1, **words)
    assert again.id == done.id
    key = f"SHA-256 of {tmp_path / 'nets.py'}"
    assert dict(again.table("subject").iter_rows())[key] != before[key]
    assert again.table("motifs_filters").equals(filters)


def test_a_change_of_what_the_file_imports_makes_all_anew(folder, tmp_path):
    words = {**options(folder, "bpnet"), **QUICK, "only": "motifs"}
    (tmp_path / "nets.py").write_text("from blocks import bpnet\n")
    (tmp_path / "blocks.py").write_text(NETS)
    words["module"] = f"{tmp_path / 'nets.py'}:bpnet"
    done = interpret(store=tmp_path / "runs", threads=1, **words)
    key = f"SHA-256 of {tmp_path / 'blocks.py'}"
    before, filters = dict(done.table("subject").iter_rows())[key], done.table("motifs_filters")
    assert json.loads(before) == hashlib.sha256(NETS.encode()).hexdigest()
    (tmp_path / "blocks.py").write_text(NETS.replace("self.first(", "0 * self.first("))
    again = interpret(store=tmp_path / "runs", threads=1, **words)
    assert again.id == done.id
    assert dict(again.table("subject").iter_rows())[key] != before
    assert not again.table("motifs_filters").equals(filters)


def test_the_command_makes_a_page_of_a_module(folder, tmp_path, capsys):
    words = {**options(folder, "bpnet"), **QUICK, "only": "motifs", "motif_best": 100}
    assert main(["interpret", *flags(words), "--store", str(tmp_path / "runs"), "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "nets.py:bpnet" in told["interprets"]
    assert main(["report", "--store", str(tmp_path / "runs"), "--out", str(tmp_path / "page.html")]) == 0
    assert "The network is not of this store" in (tmp_path / "page.html").read_text()


def test_predict_attribute_and_variants_take_a_module(folder, tmp_path, capsys):
    """Each against the plain forward pass."""
    words = flags({k: v for k, v in options(folder, "bpnet").items() if k != "loss"})
    codes = easy_atlas().codes[:3]
    (tmp_path / "s.fa").write_text("".join(f">s{i}\n{decode(row.numpy())}\n" for i, row in enumerate(codes)))
    model = loaded(folder, "bpnet")
    with torch.no_grad():
        want = model(one_hot(codes).transpose(1, 2))[1]
    fasta = ["--fasta", str(tmp_path / "s.fa")]
    assert main(["predict", *words, *fasta, "--out", str(tmp_path / "p.csv")]) == 0
    table = pl.read_csv(tmp_path / "p.csv")
    assert torch.allclose(torch.from_numpy(table.select("^predicted.*$").to_numpy()).float(), want, atol=1e-5)

    out = tmp_path / "contributions"
    assert main(["attribute", *words, *fasta, "--cell-type", "b", "--against", "nothing", "--out", str(out)]) == 0
    sums = pl.read_csv(out / "sequences.tsv", separator="\t")["sum"].to_list()
    by_hand = attribute(model, codes, output=1, readout=1, layout="channels_last").actual.sum(1)
    assert sums == pytest.approx(by_hand.tolist(), abs=1e-5)

    letters = "".join(decode(row.numpy()) for row in codes)
    (tmp_path / "g.fa").write_text(f">c\n{letters}\n")
    other = {"A": "C", "C": "G", "G": "T", "T": "A"}[letters[90]]
    (tmp_path / "v.vcf").write_text(f"##fileformat=VCFv4.2\nc\t91\trs1\t{letters[90]}\t{other}\t.\n")
    vcf = ["--vcf", str(tmp_path / "v.vcf"), "--genome", str(tmp_path / "g.fa"), "--null", "0"]
    assert main(["variants", *words, *vcf, "--out", str(tmp_path / "v.csv")]) == 0
    row = pl.read_csv(tmp_path / "v.csv").row(0, named=True)
    flat = codes.flatten()[60:120].clone()[None]
    changed = flat.clone()
    changed[0, 30] = "ACGT".index(other)
    network = Network(model, both_strands=True, readout=1, layout="channels_last")
    effect = (predict(network, changed) - predict(network, flat))[0]
    assert [row[f"effect {name}"] for name in "abcd"] == pytest.approx(effect.tolist(), abs=1e-6)
    assert main(["variants", *words, *vcf, "--loss", "pearson", "--out", str(tmp_path / "v.csv")]) == 0
    row = pl.read_csv(tmp_path / "v.csv").row(0, named=True)
    assert [row[f"effect less mean {name}"] for name in "abcd"] == pytest.approx(
        (effect - effect.mean()).tolist(), abs=1e-6
    )


def test_what_needs_a_function_is_said_by_a_network_that_make_gives(folder, tmp_path):
    atlas = easy_atlas()
    one = with_values(
        atlas,
        codes=atlas.codes,
        heights=atlas.heights[:, :1],
        peaks=atlas.peaks,
        truth={},
        cell_types=("profile",),
        lineages=("",),
    )
    one.save(tmp_path / "atlas")
    (tmp_path / "s.fa").write_text(f">s\n{decode(atlas.codes[0].numpy())}\n")
    words = {
        **options(folder, "bpnet"),
        "module": f"{folder / 'nets.py'}:tracks",
        "atlas": str(tmp_path / "atlas"),
    }
    words = flags({key: value for key, value in words.items() if key in ("module", "weights", "atlas")})
    assert main(["predict", *words, "--fasta", str(tmp_path / "s.fa"), "--out", str(tmp_path / "p.csv")]) == 0
    with torch.no_grad():
        want = loaded(folder, "bpnet")(one_hot(atlas.codes[:1]).transpose(1, 2))[0].mean()
    assert pl.read_csv(tmp_path / "p.csv")["predicted profile"][0] == pytest.approx(float(want), abs=1e-6)


class Authors(nn.Module):
    """AI-TAC with the layers and the names of its authors; takes A, T, G, C as an image."""

    def __init__(self, outputs, last):
        super().__init__()

        def stage(inputs, width, pool):
            return (
                nn.Conv2d(inputs, 200, (1, width), padding=(0, width // 2)),
                nn.ReLU(),
                nn.MaxPool2d((1, pool), (1, pool), (0, 1)),
                nn.BatchNorm2d(200),
            )

        self.layer1_conv = nn.Sequential(nn.Conv2d(1, 300, (4, 19), padding=(0, 9)), nn.ReLU())
        self.layer1_process = nn.Sequential(nn.MaxPool2d((1, 3), (1, 3), (0, 1)), nn.BatchNorm2d(300))
        self.layer2, self.layer3 = nn.Sequential(*stage(300, 11, 4)), nn.Sequential(*stage(200, 7, 4))
        self.layer4 = nn.Sequential(nn.Linear(200 * last, 1000), nn.ReLU(), nn.Dropout(0.03))
        self.layer5 = nn.Sequential(nn.Linear(1000, 1000), nn.ReLU(), nn.Dropout(0.03))
        self.layer6 = nn.Sequential(nn.Linear(1000, outputs))

    def forward(self, x):
        h = self.layer1_process(self.layer1_conv(x[:, None]))
        h = self.layer3(self.layer2(h)).flatten(1)
        return self.layer6(self.layer5(self.layer4(h)))


def published(folder, length=60):
    """Saved as they saved it."""
    torch.manual_seed(3)
    model = Authors(4, pooled_lengths(length)[-1]).eval()
    torch.save(model.state_dict(), folder / "aitac.pth")
    return model


def test_the_authors_checkpoint_is_read_without_a_module(folder, tmp_path, capsys):
    model = published(tmp_path)
    codes = easy_atlas().codes[:3]
    (tmp_path / "s.fa").write_text("".join(f">s{i}\n{decode(row.numpy())}\n" for i, row in enumerate(codes)))
    words = ["--weights", str(tmp_path / "aitac.pth"), "--atlas", str(folder / "basset_atlas")]
    assert main(["predict", *words, "--fasta", str(tmp_path / "s.fa"), "--out", str(tmp_path / "p.csv")]) == 0
    found = torch.from_numpy(pl.read_csv(tmp_path / "p.csv").select("^predicted.*$").to_numpy()).float()
    with torch.no_grad():
        assert torch.allclose(found, model(one_hot(codes)[:, [0, 3, 2, 1]]), atol=1e-5)
    run = interpret(
        store=tmp_path / "runs",
        threads=1,
        weights=str(tmp_path / "aitac.pth"),
        atlas=str(folder / "basset_atlas"),
        **{**QUICK, "only": "influence", "motif_best": 50},
    )
    about = facts_of(run.table("subject"))
    assert about["module"] == "AI-TAC" and about["loss"] == "pearson" and about["layer"] == "convolution1"
    assert NOTE not in chapter_tables(run, "influence")


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"module": "nets.py"}, ConfigError, "give FILE.py:NAME"),
        ({"module": "nowhere.py:make"}, ConfigError, "there is no file nowhere.py"),
        ({"module": "NETS:absent"}, ConfigError, "has no 'absent'; it has Basset, BPNet"),
        ({"module": "NETS:nothing"}, ConfigError, "nothing gives a int, no torch.nn.Module"),
        ({"module": "NETS:breaks"}, ConfigError, r"breaks of .* failed \(RuntimeError: no such luck\)"),
        ({"module": "NETS:deepstarr"}, DataError, "head.3.bias has shape"),
        ({"weights": "nowhere.safetensors"}, DataError, "nowhere.safetensors: cannot be read"),
        ({"weights": ""}, None, ""),
        ({"module": "NETS:bpnet"}, DataError, "so they are not of the module BPNet"),
        ({"atlas": ""}, ConfigError, "give --atlas"),
        ({"atlas": "TWO"}, DataError, "gives 4 outputs, and the atlas has 2 cell types"),
    ],
)
def test_what_does_not_fit_is_refused_with_exit_code_two(folder, tmp_path, capsys, changes, error, says):
    words = {k: v for k, v in options(folder, "basset").items() if k != "loss"} | changes
    words["module"] = words["module"].replace("NETS", str(folder / "nets.py"))
    words["atlas"] = words["atlas"].replace("TWO", str(folder / "deepstarr_atlas"))
    (tmp_path / "s.fa").write_text(f">s\n{'ACGT' * 15}\n")
    code = main(["predict", *flags(words), "--fasta", str(tmp_path / "s.fa"), "--out", str(tmp_path / "p.csv")])
    assert code == (0 if error is None else 2)
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert re.search(says, " ".join(told.split()))


def test_a_run_or_a_module_but_not_both(folder, capsys, tmp_path):
    with pytest.raises(ConfigError, match="give a run, or a network of your own"):
        interpret()
    out = ["--fasta", "x.fa", "--out", str(tmp_path / "p.csv")]
    assert main(["predict", *out]) == 2 and "give RUN, or a network of your own" in capsys.readouterr().err
    assert main(["predict", "aitac-0", "--weights", "w.pth", *out]) == 2


def test_the_run_is_resumed_only_with_the_same_weights(folder, tmp_path):
    words = {**options(folder, "basset"), **QUICK, "only": "motifs,influence"}
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(Path(words["weights"]).read_bytes())
    words["weights"] = str(weights)

    def stop(step, values):
        raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, Interrupted)):
        interpret(store=tmp_path / "runs", threads=1, watch=stop, **words)
    (run,) = (tmp_path / "runs").glob("aitac-interpret-*")
    other = loaded(folder, "basset")
    with torch.no_grad():
        other.head[3].bias.add_(1.0)
    save_file(other.state_dict(), weights)
    with pytest.raises(RunFailed, match="the network has other weights than when this interpretation began"):
        resume(run, threads=1)
