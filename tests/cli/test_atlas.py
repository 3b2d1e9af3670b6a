"""The atlas commands as their user meets them: answers, and every refusal with file, line and remedy."""

import gzip
import json
import re
import shlex

import pytest
from toy_atlas import make_toy, write_fasta, write_heights

from netassay import Atlas, simulate_atlas
from netassay.cli import main
from netassay.cli.atlas import COMMANDS

BUILD = shlex.split("atlas build --peaks peaks.bed --heights heights.csv --genome genome.fa --out atlas")


@pytest.fixture
def toy(tmp_path):
    return make_toy(tmp_path)


def run(*words, code=0):
    assert main(list(words)) == code


def test_build_and_info_give_the_same_answer(toy, capsys):
    run(*BUILD, "--normalise", "log2-quantile", "--format", "json")
    built = json.loads(capsys.readouterr().out)
    run("atlas", "info", "atlas", "--verify", "--format", "json")
    assert json.loads(capsys.readouterr().out) == built
    assert (built["peaks"], built["length"], built["cell_types"]) == (40, 51, 3)
    assert built["simulated"] is False
    assert {"dropped", "notes", "heights", "bases", "digest", "lineages", "chromosomes"} <= built.keys()
    assert built["chromosomes"][0] == {"chromosome": "chr1", "peaks": 14}
    assert Atlas.open("atlas").digest == built["digest"]


def test_a_table_of_an_atlas(toy, capsys):
    run(*BUILD)
    capsys.readouterr()
    run("atlas", "info", "atlas", "--show", "peaks", "--format", "csv")
    assert capsys.readouterr().out.splitlines()[1] == "peak_0,chr1,0,51"
    run("atlas", "info", "atlas", "--show", "sites", code=2)
    assert "it has peaks" in capsys.readouterr().err


def test_simulated_is_said_wherever_the_atlas_goes(capsys, tmp_path):
    run("atlas", "simulate", "--peaks", "40", "--length", "80", "--out", "s", "--format", "json")
    assert json.loads(capsys.readouterr().out)["simulated"] is True
    run("atlas", "info", "s")
    out = capsys.readouterr().out
    assert re.search(r"simulated +true", out)
    assert "simulated: 16 factors" in out
    pytest.importorskip("anndata", reason="the extra anndata is not installed")
    run("atlas", "export", "s", "s.h5ad")
    run("atlas", "build", "--peaks", "s.h5ad", "--out", "back")
    assert Atlas.open("back").simulated
    assert Atlas.open("back").digest == Atlas.open("s").digest


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.name)
def test_examples_run(command, toy, monkeypatch):
    if command.name == "export":
        pytest.importorskip("anndata", reason="the extra anndata is not installed")
    if command.name == "ceiling":
        for name in ("atlas", "other-atlas"):
            simulate_atlas(60, length=80, cells=20, depth=2000, out=name)
    run(*shlex.split(command.example)[1:])


@pytest.fixture
def spoil(toy):
    """Ways to spoil the toy's files; each names what is expected to be said."""

    def bed(lines):
        toy.path("peaks.bed").write_text("".join(f"{line}\n" for line in lines))

    def rows(change):
        kept = {name: list(values) for name, values in toy.heights.items()}
        change(kept)
        write_heights(toy.path("heights.csv"), kept.items())

    def contigs(**changed):
        write_fasta(toy.path("genome.fa"), {**toy.genome, **changed})

    lines = toy.path("peaks.bed").read_text().splitlines()
    return {
        "beyond the contig": lambda: bed([*lines[:2], "chr3\t4960\t5011\tpeak_2", *lines[3:]]),
        "contig missing": lambda: bed([*lines[:2], "chr9\t0\t51\tpeak_2", *lines[3:]]),
        "start at the end": lambda: bed([lines[0], "chr2\t100\t100\tpeak_1"]),
        "start after the end": lambda: bed(["chr2\t100\t90\tpeak_1"]),
        "unequal widths": lambda: bed([*lines[:3], "chr1\t300\t350\tpeak_3", *lines[4:]]),
        "duplicate names": lambda: bed([*lines, "chr1\t0\t51\tpeak_7"]),
        "other names": lambda: bed([line.replace("peak_", "summit_") for line in lines]),
        "wrong separator": lambda: write_heights(toy.path("heights.csv"), toy.heights.items(), separator=" "),
        "decimal commas": lambda: toy.path("heights.csv").write_text("name;B;T;NK\npeak_0;1,5;2;3\n"),
        "NaN height": lambda: rows(lambda kept: kept.update(peak_5=[1, "NaN", 2])),
        "infinite height": lambda: rows(lambda kept: kept.update(peak_5=[1, "inf", 2])),
        "negative counts": lambda: rows(lambda kept: kept.update(peak_5=[1, -3, 2])),
        "duplicate rows": lambda: toy.path("heights.csv").write_text(
            toy.path("heights.csv").read_text() + "peak_1,1,2,3\n"
        ),
        "letters of no DNA": lambda: contigs(chr2="PROTEIN" * 800),
        "truncated gzip": lambda: toy.path("genome.fa").write_bytes(
            gzip.compress(toy.path("genome.fa").read_bytes())[:-50]
        ),
        "no genome": lambda: toy.path("genome.fa").unlink(),
        "no heights": lambda: toy.path("heights.csv").unlink(),
        "a table for peaks": lambda: toy.path("peaks.bed").write_text("name,B,T\np,1,2\n"),
        "a folder for peaks": lambda: (toy.path("peaks.bed").unlink(), toy.path("peaks.bed").mkdir()),
    }


SAID = {
    "beyond the contig": r"peaks.bed:3: peak 'peak_2' .*has 5,000 bases in .*--drop beyond-contig",
    "contig missing": r"peaks.bed:3: peak 'peak_2' .*it has chr1, chr2, chr3.*1 of 40.*--drop missing-contig",
    "start at the end": r"peaks.bed:2: ends at or before its start",
    "start after the end": r"peaks.bed:1: ends at or before its start .*correct or leave out the line",
    "unequal widths": r"peaks.bed:4: peak 'peak_3'.* has 50 bases, 39 others have 51.*--width 51",
    "duplicate names": r"peaks.bed:41: region 'peak_7' was named on line 8 already",
    "other names": r"heights.csv: none of its 40 names .* is that of a peak in peaks.bed \('summit_0'",
    "wrong separator": r"heights.csv:1: the header 'name B T NK' holds no tab, comma or semicolon",
    "decimal commas": r"heights.csv:2: column 'B' holds '1,5'",
    "NaN height": r"heights.csv:7: peak 'peak_5' has the height nan in cell type 'T'.*1 of 40.*--drop not-finite",
    "infinite height": r"has the height inf in cell type 'T'",
    "negative counts": r"the lowest height is -3",
    "duplicate rows": r"heights.csv:42: row 'peak_1' is at heights.csv:\d+ already",
    "letters of no DNA": r"genome.fa: chr2, base \d+ \(from 1\) is not a letter of DNA",
    "truncated gzip": r"genome.fa: the gzip stream is damaged or cut",
    "no genome": r"genome.fa: cannot be read: No such file",
    "no heights": r"heights.csv: cannot be read: No such file",
    "a table for peaks": r"peaks.bed: no line reads as a region",
    "a folder for peaks": r"holds no one_hot_seqs.npy",
}


@pytest.mark.parametrize("case", list(SAID))
def test_bad_input_is_reported_with_its_place_and_a_remedy(case, spoil, toy, capsys):
    spoil[case]()
    before = sorted(toy.folder.iterdir())
    run(*BUILD, "--normalise", "log2", code=2)
    said = capsys.readouterr()
    assert said.err.startswith("netassay: ")
    assert re.search(SAID[case], said.err), said.err
    assert "Traceback" not in said.err
    assert said.out == ""
    assert sorted(toy.folder.iterdir()) == before, "something half-written was left"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["atlas", "build", "--peaks", "peaks.bed", "--out", "a"], "gives regions and no heights"),
        ([*BUILD[:6], "--out", "a"], "add the genome"),
        ([*BUILD, "--width", "0"], "windows of 1 to 1,000,000 bases"),
        ([*BUILD, "--width", "9000", "--drop", "unknown-base"], "begins before the chromosome's first base"),
        ([*BUILD, "--drop", "nan"], "not-finite"),
        ([*BUILD, "--heights", "genome.fa"], "give one table, or bigWigs"),
        ([*BUILD, "--form", "immgen"], "peaks.bed:1"),
        (["atlas", "info", "nowhere"], "netassay atlas build"),
        (["atlas", "info", "peaks.bed"], "is not an atlas"),
        (["atlas", "simulate", "--peaks", "0", "--out", "a"], "at least 1 peak"),
        (["atlas", "export", "peaks.bed", "x.h5ad"], "is not an atlas"),
        (["atlas", "bild"], "Did you mean"),
    ],
)
def test_words_that_cannot_be_followed(words, says, toy, capsys):
    run(*words, code=2)
    said = capsys.readouterr()
    assert says in said.err
    assert "Traceback" not in said.err
    assert not toy.path("a").exists()


def test_what_is_there_is_not_written_over(toy, capsys):
    run(*BUILD)
    capsys.readouterr()
    run(*BUILD, code=2)
    assert "exists already" in capsys.readouterr().err
    toy.path("atlas").joinpath("peaks.parquet").write_bytes(b"")
    run("atlas", "info", "atlas", code=2)
    assert "build it again" in capsys.readouterr().err
