"""What needs an extra says which, before anything starts; what does not, runs without."""

import re
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from toy_atlas import make_toy, write_fasta

import netassay
from netassay.errors import ExtraMissing
from netassay.extras import is_installed, require
from netassay.formats.fasta import read_windows

DNA = ("bioframe", "pyfaidx", "pybigtools")


@pytest.fixture
def without(monkeypatch):
    """Names of packages that cannot be imported."""

    def block(*packages):
        for package in packages:
            monkeypatch.setitem(sys.modules, package, None)

    return block


def test_a_missing_package_names_its_extra(without, monkeypatch):
    without("bioframe")
    with pytest.raises(ExtraMissing, match=r"^peaks needs the package bioframe; install netassay\[dna\] \(pip install"):
        require("bioframe", "dna", "peaks")
    monkeypatch.setattr("netassay.extras._NO_WHEELS_FROM", {"bioframe": (3, 11)})
    with pytest.raises(ExtraMissing, match=r"netassay\[dna\]'\), with Python before 3\.11$"):
        require("bioframe", "dna", "peaks")
    assert is_installed("json") and not is_installed("netassay_no_such_package")


def test_bigwigs_are_refused_before_peaks_and_genome_are_read(without, tmp_path):
    without("pybigtools")
    (tmp_path / "B.bw").write_bytes(b"\x26\xfc\x8f\x88")
    with pytest.raises(ExtraMissing, match=r"B\.bw: bigWig needs the package pybigtools; install netassay\[dna\]"):
        netassay.build_atlas(tmp_path / "a.bed", [tmp_path / "B.bw"], genome=tmp_path / "none.fa", form="bed")
    fragments, profiles = tmp_path / "f.tsv", tmp_path / "p"
    with pytest.raises(ExtraMissing, match=r"profiles .*install netassay\[dna\]"):
        netassay.build_atlas(tmp_path / "a.bed", genome="none.fa", fragments=fragments, profiles=profiles)
    assert not profiles.exists()


@pytest.mark.parametrize(
    ("package", "extra", "options"),
    [
        ("pybigtools", "dna", {"bed": "peaks.bed", "genome": "genome.fa"}),
        ("tangermeme", "attributions", {"fasta": "s.fa", "method": "deepshap"}),
        ("modiscolite", "modisco", {"fasta": "s.fa", "patterns": True}),
    ],
)
def test_contributions_are_refused_before_the_run_is_opened(without, tmp_path, package, extra, options):
    without(package)
    with pytest.raises(ExtraMissing, match=rf"install netassay\[{extra}\]"):
        netassay.attribute_run("no-such-run", cell_type="B", out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_an_overlap_with_regions_is_refused_before_the_network_is_read(without, tmp_path):
    from netassay.studies.aitac.interpret.chapters.binding import check_extras
    from netassay.studies.aitac.interpret.config import InterpretConfig

    without("bioframe")
    regions, sequences = tmp_path / "chip.bed", tmp_path / "chip.fa"
    regions.write_text("chr1\t0\t10\n")
    write_fasta(sequences, {"a": "ACGT"})
    check_extras(InterpretConfig(run="aitac-0123456789ab", chip=str(sequences)))
    with pytest.raises(ExtraMissing, match=r"overlap of peaks and regions needs .* install netassay\[dna\]"):
        check_extras(InterpretConfig(run="aitac-0123456789ab", chip=str(regions)))


def test_windows_of_an_indexed_genome_are_the_same_without_the_library(without, tmp_path):
    import pyfaidx

    toy = make_toy(tmp_path)
    genome = tmp_path / "genome.fa"
    pyfaidx.Faidx(str(genome)).close()
    starts = np.array([5, 40, 300])
    indexed = read_windows(genome, ["chr1"] * 3, starts, 20)
    without("pyfaidx")
    read = read_windows(genome, ["chr1"] * 3, starts, 20)
    assert (indexed.codes == read.codes).all() and indexed.lengths == read.lengths and toy.genome["chr1"]


def test_the_demo_says_beforehand_what_it_leaves_out(monkeypatch, capsys):
    from netassay.cli import main
    from netassay.commands import demo

    assert demo.left_out() == ()
    monkeypatch.setattr(demo, "is_installed", lambda name: False)
    (sentence,) = demo.left_out()
    assert "DeepLIFT/SHAP" in sentence and "netassay[attributions]" in sentence
    main(["demo", "--workers", "0"])
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == sentence and re.search(r"workers", lines[-1])


def test_nothing_of_the_extra_is_needed_to_build_train_and_list(tmp_path):
    make_toy(tmp_path)
    words = ["atlas", "build", "--peaks", "peaks.bed", "--heights", "heights.csv", "--genome", "genome.fa"]
    blocked = f"import sys; sys.modules.update(dict.fromkeys({DNA}))"
    script = f"{blocked}; from netassay.cli import main; sys.exit(main({[*words, '--out', 'atlas']}))"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert pl.read_csv(tmp_path / "heights.csv").height == len(netassay.Atlas.open(tmp_path / "atlas"))
