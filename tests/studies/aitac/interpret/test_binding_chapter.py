"""The chapter on ChIP-seq: files of both forms, what cannot be compared, and peaks whose motif is known."""

import gzip
import re

import numpy as np
import polars as pl
import pytest
import torch
from easy_atlas import MOTIFS, SMALL, easy_atlas

from netassay.errors import DataError
from netassay.formats.bases import decode
from netassay.formats.motifs import Motifs
from netassay.performing import perform
from netassay.reporting import Figure, Note, write_page
from netassay.runs import Store
from netassay.runs.facts import facts_of
from netassay.studies.aitac.config import AitacConfig
from netassay.studies.aitac.interpret import assay
from netassay.studies.aitac.interpret.chapters import binding
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.interpret.pages import SECTIONS
from netassay.studies.aitac.interpret.subject import Subject


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("binding")
    easy_atlas().save(folder / "atlas")
    config = AitacConfig(atlas=str(folder / "atlas"), **{**SMALL, "epochs": 6, "learning_rate": 3e-3})
    perform(config, folder / "runs", threads=1)
    return Store(folder / "runs")


@pytest.fixture(autouse=True)
def database(monkeypatch):
    """The four motifs of the atlas, a hundred sequences each."""
    matrices = [100 * torch.eye(4, dtype=torch.float64)[[list("ACGT").index(x) for x in word]].T for word in MOTIFS]
    names = [f"T{i}" for i in range(4)]
    found = Motifs.of_matrices(names, matrices, [100] * 4, ["JUN", "Sp1", "SRF", "RUNX1"])
    monkeypatch.setattr(Subject, "database", found)


def tables(store, **keys):
    (run,) = store.runs()
    config = InterpretConfig(run=run.id, peaks="all", **keys)
    return binding.tables(Subject(config, store), config), config


def holding(word):
    atlas = easy_atlas()
    letters = [decode(row) for row in atlas.codes.numpy()]
    return [i for i, text in enumerate(letters) if word in text], letters


@pytest.fixture
def fasta(tmp_path):
    """Pieces of the first half of the peaks with the last motif, as an experiment would give them."""
    rows, letters = holding(MOTIFS[3])
    path = tmp_path / "chip.fa.gz"
    path.write_bytes(gzip.compress("".join(f">s{i}\n{letters[i][2:58].lower()}\n" for i in rows[::2]).encode()))
    return path


def test_what_tells_cell_types_apart_tells_nothing_within_them(store, fasta, tmp_path):
    # nearly every peak of cell type d has the motif, marked or not: over all peaks it seems to tell binding
    made, config = tables(store, chip=str(fasta), chip_factor="runx1", chip_share=0.1)
    rows, _ = holding(MOTIFS[3])
    marks = made["marks"]
    assert marks["marked"].to_list() == [len(rows[::2]), *marks["marked"].to_list()[1:]]
    assert marks["marked"][0] == sum(marks["marked"][1:])
    assert marks["peaks"][0] == sum(marks["peaks"][1:]) == 600
    areas = {(row["group"], row["predictor"]): row for row in made["predictors"].to_dicts()}
    motif = areas["all peaks", "motif score"]
    assert motif["AUROC"] > 0.75
    assert motif["low"] > motif["null high"]
    within = areas["within cell types", "motif score"]
    assert abs(within["AUROC"] - 0.5) < 0.1
    assert 0.35 < areas["all peaks", "GC content"]["AUROC"] < 0.65
    facts = facts_of(made["facts"])
    assert facts["motif"] == "T3 RUNX1"
    assert facts["file"] == "chip.fa.gz"
    assert set(made["predictors"]["group"]) >= {"within cell types", "all peaks", "d"}
    assert len(made["filters"]) == 12
    section = SECTIONS["binding"](made, config)
    page = write_page(tmp_path / "page.html", title="t", subtitle="", sections=[section], facts={}).read_text()
    assert "SIMULATED" in page
    assert sum(isinstance(item, Figure) for item in section.items) == 3


def test_without_a_factor_filters_are_compared_and_no_motif(store, fasta):
    made, config = tables(store, chip=str(fasta))
    assert made["predictors"]["predictor"].unique().to_list() == ["GC content"]
    assert not made["differences"].height
    assert not made["filters"]["like the factor"].any()
    notes = [item.text for item in SECTIONS["binding"](made, config).items if isinstance(item, Note)]
    assert any("--chip-factor" in text for text in notes)


def test_where_filters_are_like_the_factor_their_influence_is_compared(store, fasta, monkeypatch):
    monkeypatch.setattr(binding, "_like", lambda subject, config, facts: np.arange(12) < 3)
    made, _ = tables(store, chip=str(fasta), chip_factor="T3")
    names = made["predictors"]["predictor"].unique(maintain_order=True).to_list()
    assert names == [
        "influence on predictions",
        "influence on r, squared",
        "influence on r, signed",
        "activation",
        "motif score",
        "GC content",
    ]
    assert len(made["nulls"]) == 20
    assert made["nulls"]["AUROC"].is_between(0, 1).all()
    differences = made["differences"].filter(pl.col("group") == "all peaks")
    areas = dict(made["predictors"].filter(pl.col("group") == "all peaks").select("predictor", "AUROC").iter_rows())
    for name, value in differences.select("predictor", "difference").rows():
        assert value == pytest.approx(areas[name] - areas["motif score"])


def test_regions_mark_by_place(store, tmp_path):
    bed = tmp_path / "chip.bed"
    peaks = easy_atlas().peaks
    rows, _ = holding(MOTIFS[0])
    places = peaks[rows].select("chromosome", "start", "end").rows()
    bed.write_text("".join(f"{c.removeprefix('chr')}\t{s + 20}\t{e - 20}\n" for c, s, e in places))
    made, _ = tables(store, chip=str(bed))
    assert made["marks"]["marked"][0] == len(rows)
    assert facts_of(made["facts"])["regions"] == len(rows)


def test_regions_that_mark_no_more_than_moved_ones_are_doubted(store, tmp_path):
    bed = tmp_path / "chip.bed"
    bed.write_text("chr1\t0\t20\nchr1\t100000\t103000\n")
    made, config = tables(store, chip=str(bed))
    notes = [item.text for item in SECTIONS["binding"](made, config).items if isinstance(item, Note)]
    assert any("another assembly" in text for text in notes)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.fa", ">a\n" + "ACGT" * 20 + "\n", "marks none of the 600 peaks"),
        ("odd.fa", ">a\nACGTACGTACGT\n>b\nACGT!CGT\n", r"odd.fa:3: sequence 'b' has a letter at base 5"),
        ("short.fa", ">a\nACGT\n", "none of the 1 sequences holds 24 known bases"),
        ("twice.fa", ">a\nACGT\n>a\nACGT\n", "occurs a second time"),
        ("all.bed", "".join(f"chr{i}\t0\t90000\n" for i in (1, 2, 3)), "marks all 600 peaks"),
        ("none.bed", "chr1\t9000000\t9000100\n", "marks none of the 600 peaks.*assembly"),
        ("other.bed", "scaffold_1\t0\t100\n", "no chromosome in common"),
        ("back.bed", "chr1\t100\t50\n", "back.bed:1: ends at or before its start"),
        ("words.bed", "what\nis this\n", "no line reads as a region"),
        ("empty.bed", "", "no line reads as a region"),
        ("binary.bed", "\x00\x01\x02", "no line reads as a region"),
    ],
)
def test_files_that_say_nothing_are_refused(store, tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        tables(store, chip=str(tmp_path / name))


def test_what_is_missing_is_said(store, tmp_path, fasta):
    (note,) = assay._chapter_frames("binding", None, InterpretConfig())["note"]["text"]
    assert re.match("no ChIP-seq is given.*--chip FILE", note)
    with pytest.raises(DataError, match=r"nowhere\.bed: cannot be read"):
        tables(store, chip=str(tmp_path / "nowhere.bed"))
    with pytest.raises(DataError, match="is called 'RUNX9'; did you mean 'RUNX1'"):
        tables(store, chip=str(fasta), chip_factor="RUNX9")
    with pytest.raises(DataError, match="peaks of 60 bases have no 40 words of 24 bases"):
        tables(store, chip=str(fasta), chip_words=40)
