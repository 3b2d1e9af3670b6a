"""Predictions for new sequences and regions, from Python and from the command line."""

import polars as pl
import pytest
import torch
from easy_atlas import SMALL, easy_atlas

from netassay.cli import main
from netassay.dna.network.network import Network
from netassay.errors import DataError
from netassay.formats.bases import decode
from netassay.performing import perform
from netassay.runs import Run
from netassay.studies.aitac.answers import predict_regions, predict_sequences, predictor
from netassay.studies.aitac.config import AitacConfig


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prediction")
    atlas = easy_atlas().save(folder / "atlas")
    return perform(AitacConfig(atlas=str(atlas), **{**SMALL, "epochs": 1}), folder / "runs", threads=1)


def letters(i):
    return decode(easy_atlas().codes[i].numpy())


def test_the_test_set_predicted_again_is_the_same(run, tmp_path):
    names = run.table("peaks")["name"].to_list()[:7]
    fasta = tmp_path / "some.fa"
    fasta.write_text("".join(f">{name} of the atlas\n{letters(int(name[1:])).lower()}\n" for name in names))
    found = predict_sequences(run, fasta)
    assert found.table["name"].to_list() == names
    assert found.table.columns == ["name", *(f"predicted {c}" for c in "abcd")]
    kept = run.table("predictions").filter(pl.col("name").is_in(names))
    assert torch.allclose(found.table.drop("name").to_torch(), kept.drop("name").to_torch(), atol=1e-6)
    assert not found.dropped
    assert not found.notes


def test_regions_give_what_their_sequences_give(run, tmp_path):
    genome = tmp_path / "genome.fa"
    genome.write_text(f">chrA\n{letters(0)}{letters(1)}{letters(2)}\n")
    bed = tmp_path / "some.bed"
    bed.write_text("chrA\t60\t120\tfirst\nchrA\t80\t100\tnarrow\nchrB\t0\t60\tnowhere\nchrA\t0\t20\tedge\n")
    found = predict_regions(run, bed, genome)
    assert found.table["name"].to_list() == ["first", "narrow"]
    assert found.table.select("start", "end").rows() == [(60, 120), (60, 120)]
    assert sum(found.dropped.values()) == 2
    assert sum(found.notes.values()) == 2
    fasta = tmp_path / "one.fa"
    fasta.write_text(f">one\n{letters(1)}\n")
    want = predict_sequences(run, fasta).table
    assert found.table.row(0)[4:] == pytest.approx(want.row(0)[1:], abs=1e-6)


def test_other_lengths_are_fitted_about_the_middle_and_counted(run, tmp_path):
    fasta = tmp_path / "odd.fa"
    fasta.write_text(
        f">long\nACGT{letters(1)}TTTT\n>same\n{letters(1)}\n>short\n{letters(1)[5:55]}\n>padded\nNNNNN{letters(1)[5:55]}NNNNN\n"
    )
    found = predict_sequences(run, fasta)
    rows = {row[0]: row[1:] for row in found.table.rows()}
    assert rows["long"] == pytest.approx(rows["same"], abs=1e-6)
    assert rows["short"] == pytest.approx(rows["padded"], abs=1e-6)
    assert rows["short"] != pytest.approx(rows["same"], abs=1e-6)
    assert sum(found.notes.values()) == 2


def test_the_command_writes_the_table(run, tmp_path, capsys):
    fasta = tmp_path / "one.fa"
    fasta.write_text(f">one\n{letters(1)}\n")
    for ending, read in (
        (".csv", pl.read_csv),
        (".tsv", lambda p: pl.read_csv(p, separator="\t")),
        (".parquet", pl.read_parquet),
    ):
        out = tmp_path / f"table{ending}"
        assert main(["predict", str(run.folder), "--fasta", str(fasta), "--out", str(out)]) == 0
        assert read(out)["name"].to_list() == ["one"]
    assert str(tmp_path / "table.parquet") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--bed", "x.bed", "--out", "t.csv"], "--genome"),
        (["--fasta", "x.fa", "--bed", "x.bed", "--genome", "g.fa", "--out", "t.csv"], "either"),
        (["--fasta", "x.fa", "--out", "t.xlsx"], ".parquet"),
        (["--fasta", "missing.fa", "--out", "t.csv"], "missing.fa"),
    ],
)
def test_words_that_do_not_fit_are_reported(run, tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    assert main(["predict", str(run.folder), *words]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "t.csv").exists()


DEVICES = ("predict --fasta one.fa", "attribute --cell-type b --fasta one.fa", "variants --vcf v.vcf --genome g.fa")


@pytest.fixture
def asked(run, tmp_path, monkeypatch):
    """What a command writes, as bytes; the sequences are two of the atlas."""
    (tmp_path / "one.fa").write_text(f">one\n{letters(1)}\n>two\n{letters(2)}\n")
    (tmp_path / "g.fa").write_text(f">chrA\n{letters(1)}{letters(2)}\n")
    base = letters(1)[40]
    (tmp_path / "v.vcf").write_text(
        f"##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        f"chrA\t41\trs1\t{base}\t{'A' if base != 'A' else 'C'}\t.\tPASS\t.\n"
    )
    monkeypatch.chdir(tmp_path)

    def command(words, *more):
        name, *rest = words.split()
        out = tmp_path / ("out" if name == "attribute" else "out.tsv")
        code = main([name, str(run.folder), *rest, *more, "--out", str(out), "--quiet"])
        return code, (out / "sequences.tsv" if out.is_dir() else out).read_bytes() if not code else b""

    return command


@pytest.mark.parametrize("words", DEVICES)
def test_a_device_is_where_the_network_is_computed(asked, words, monkeypatch, capsys):
    by_default = asked(words)
    devices, on = [], Network.on
    monkeypatch.setattr(Network, "on", lambda self, device: devices.append(device) or on(self, device))
    assert asked(words, "--device", "cpu") == by_default and by_default[0] == 0
    assert devices == ["cpu"]
    for device in ("abacus", "meta"):
        assert asked(words, "--device", device) == (2, b"")
        assert f"device '{device}' is not known; allowed: cpu, cuda, cuda:N, mps" in capsys.readouterr().err


@pytest.mark.parametrize("words", DEVICES)
def test_a_gpu_answers_as_the_cpu(asked, words):
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    (_, here), (code, there) = asked(words), asked(words, "--device", "cuda")
    assert code == 0
    for row, other in zip(*(text.decode().splitlines() for text in (here, there)), strict=True):
        for word, answer in zip(row.split("\t"), other.split("\t"), strict=True):
            assert word == answer or float(answer) == pytest.approx(float(word), abs=1e-3)


def test_a_network_of_your_own_stays_where_it_is(run):
    network = predictor(run)
    assert network.on("") is network.on("cpu") is network


def test_a_table_that_cannot_be_written_is_reported(run, tmp_path, capsys):
    fasta = tmp_path / "one.fa"
    fasta.write_text(f">one\n{letters(1)}\n")
    out = fasta / "t.csv"
    assert main(["predict", str(run.folder), "--fasta", str(fasta), "--out", str(out)]) == 2
    assert f"{out}: cannot be written, since {fasta} is a file" in capsys.readouterr().err


def test_letters_that_are_no_dna_and_runs_without_weights_are_refused(run, tmp_path):
    fasta = tmp_path / "protein.fa"
    fasta.write_text(">p\nMKLV\n")
    with pytest.raises(DataError, match=r"protein.fa:1.*base 3"):
        predict_sequences(run, fasta)
    config = AitacConfig(seed=99)
    planned = Run.create(tmp_path / "runs", study="aitac", config=config.mapping(), digest=config.digest)
    with pytest.raises(DataError, match="finish it"):
        predict_sequences(planned, fasta)
