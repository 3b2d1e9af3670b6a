"""Contributions by a run: files, tracks, the command; patterns among them."""

import sys
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from easy_atlas import SMALL, easy_atlas
from small_networks import sequences

from netassay.cli import main
from netassay.dna.attributions import modisco
from netassay.dna.attributions.contributions import Attributions, attribute
from netassay.dna.attributions.files import load_attributions, save_attributions
from netassay.dna.network.network import contrast
from netassay.errors import DataError, ExtraMissing
from netassay.formats.bases import decode
from netassay.formats.signals import read_signal
from netassay.performing import perform
from netassay.studies.aitac.answers import predictor
from netassay.studies.aitac.config import AitacConfig


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attributions")
    atlas = easy_atlas().save(folder / "atlas")
    return perform(AitacConfig(atlas=str(atlas), **{**SMALL, "epochs": 1}), folder / "runs", threads=1)


def test_what_is_saved_is_loaded(tmp_path):
    codes = sequences(3, 9, letters=5)
    whole = Attributions("deepshap", codes, torch.randn(3, 4, 9), torch.randn(3), torch.randn(3))
    for given in (whole, Attributions("gradient", codes, torch.randn(3, 4, 9))):
        save_attributions(tmp_path / "c.safetensors", given)
        found = load_attributions(tmp_path / "c.safetensors")
        assert found.method == given.method
        for name in ("codes", "hypothetical", "actual"):
            assert torch.equal(getattr(found, name), getattr(given, name))
        assert (found.error is None) == (given.error is None)
    (tmp_path / "none.safetensors").write_bytes(b"x" * 20)
    with pytest.raises(DataError, match="is not a file of contributions"):
        load_attributions(tmp_path / "none.safetensors")
    with pytest.raises(DataError, match="cannot be read"):
        load_attributions(tmp_path / "missing")


def test_the_command_writes_tracks_of_regions(run, tmp_path, capsys):
    letters = decode(easy_atlas().codes[:3].flatten().numpy())
    (tmp_path / "g.fa").write_text(f">c\n{letters[:100]}N{letters[101:]}\n>other\nACGT\n")
    (tmp_path / "r.bed").write_text("c\t20\t80\ta\nc\t60\t120\tb\nc\t0\t10\tedge\n")
    out = tmp_path / "made"
    words = [
        "attribute",
        run.id[:12],
        "--store",
        str(run.folder.parent),
        "--cell-type",
        "b",
        "--out",
        str(out),
    ]
    regions = ["--bed", str(tmp_path / "r.bed"), "--genome", str(tmp_path / "g.fa")]
    assert main([*words, *regions]) == 0
    told = capsys.readouterr().err
    assert "20 bases lie in several regions" in told
    assert "1 left out: window beyond the end" in told
    made = load_attributions(out / "contributions.safetensors")
    network = predictor(run)
    wanted = attribute(network.model, made.codes, output=contrast(1, 4), both_strands=network.both_strands)
    assert torch.allclose(made.actual, wanted.actual, atol=1e-6)
    starts = np.arange(180)
    track = torch.from_numpy(read_signal(out / "contributions.bw", ["c"] * 180, starts, starts + 1).values)
    assert torch.allclose(track[20:60], made.actual[0, :40], atol=1e-6)
    assert torch.allclose(track[60:80], (made.actual[0, 40:] + made.actual[1, :20]) / 2, atol=1e-6)
    assert (track[:20] == 0).all()
    assert len((out / "contributions.bedgraph").read_text().splitlines()) == 99, "an unknown base leaves a gap"
    table = pl.read_csv(out / "sequences.tsv", separator="\t")
    assert table.columns == ["name", "chromosome", "start", "end", "predicted", "sum"]
    assert table["sum"].to_list() == pytest.approx(made.actual.sum(1).tolist(), abs=1e-5)


def test_the_command_takes_sequences_and_refuses_what_does_not_fit(run, tmp_path, capsys):
    fasta = tmp_path / "s.fa"
    fasta.write_text(f">one\n{decode(easy_atlas().codes[0].numpy())}\n")
    out = tmp_path / "made"
    words = ["attribute", str(run.folder), "--out", str(out)]
    method = ["--method", "mutagenesis", "--against", "nothing"]
    assert main([*words, "--cell-type", "a", "--fasta", str(fasta), *method]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["contributions.safetensors", "sequences.tsv"]
    (out / "contributions.bw").write_text("of other regions")
    (out / "mine.txt").write_text("")
    pytest.importorskip("modiscolite")
    assert main([*words, "--cell-type", "a", "--fasta", str(fasta), "--patterns"]) == 2
    assert f"the contributions are in {out} all the same" in capsys.readouterr().err
    left = sorted(path.name for path in out.iterdir())
    assert left == ["contributions.safetensors", "mine.txt", "sequences.tsv"]
    capsys.readouterr()
    for more, said in (
        (["--cell-type", "z", "--fasta", str(fasta)], "cell type 'z'"),
        (["--cell-type", "a"], "give either --fasta"),
        (["--cell-type", "a", "--fasta", str(fasta), "--method", "guess"], "guess"),
        (["--cell-type", "a", "--fasta", str(tmp_path / "none.fa")], "none.fa"),
    ):
        other = [word if word != str(out) else str(tmp_path / "other") for word in words]
        assert main([*other, *more]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_patterns_become_motifs(monkeypatch):
    def pattern(width, sites):
        hot = torch.zeros(width, 4, dtype=torch.float64)
        hot[:, 1] = 0.75
        hot[:, 2] = 0.25
        return SimpleNamespace(sequence=hot.numpy(), contrib_scores=2 * hot.numpy(), seqlets=range(sites))

    made = modisco._patterns([pattern(6, 40), pattern(4, 24)], [pattern(5, 20)])
    assert made.motifs.names == ("positive_0", "positive_1", "negative_0")
    assert made.motifs.sites.tolist() == [40, 24, 20]
    assert made.motifs.counts[1, 1].tolist() == [18, 18, 18, 18, 0, 0]
    assert made.contributions[0, 1, 0] == 1.5
    assert made.positive == 2
    monkeypatch.setitem(sys.modules, "modiscolite", None)
    with pytest.raises(ExtraMissing, match=r"netassay\[modisco\]"):
        modisco.find_patterns(Attributions("gradient", sequences(2, 30), torch.zeros(2, 4, 30)))
