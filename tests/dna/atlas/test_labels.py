"""Atlases of sequences with classes, by hand."""

import numpy as np
import pytest
from toy_atlas import make_toy, write_fasta

from netassay import build_atlas
from netassay.errors import DataError

SEQUENCES = {"a": "ACGTACGT", "b": "GGGG", "chr1:100-108": "TTTTTTTT", "d": "ACACACAC"}


@pytest.fixture
def folder(tmp_path):
    write_fasta(tmp_path / "s.fa", SEQUENCES)
    return tmp_path


def built(folder, text, **words):
    (folder / "labels.txt").write_text(text)
    return build_atlas(folder / "s.fa", folder / "labels.txt", **words)


@pytest.mark.parametrize(
    "text",
    [
        "name,B,T\nd,1,1\na,1,0\nchr1:100-108,0,0\nb,0,1\n",
        "1,0\n0,1\n0,0\n1,1\n",
        "sequence\tclass\na\tB\nb\tT\nchr1:100-108\t\nd\tB;T\n",
        "a\tB\nd\tB\nd\tT\nb\tT\n",
    ],
    ids=["numbers", "in order", "classes", "classes without a header"],
)
def test_forms_of_labels(folder, text):
    atlas = built(folder, text)
    rows = dict(zip(atlas.peaks["name"], atlas.heights.tolist(), strict=True))
    assert [rows[name] for name in "abd"] == [[1, 0], [0, 1], [1, 1]]
    assert rows.get("chr1:100-108", [0, 0]) == [0, 0]
    assert atlas.length == 8
    assert any("shorter" in reason for reason in atlas.notes)
    if "chr1:100-108" in rows:
        assert ("chr1:100-108", "chr1", 100, 108) in atlas.peaks.rows()
    else:
        assert atlas.dropped == {"without labels": 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,0\n0,1\n", "has 2 rows of labels without names, and there are 4 sequences"),
        ("name,B\nx,1\n", "names none of the sequences of .*s.fa"),
        ("1,0\n1\n1,1\n0,0\n", "not all numbers"),
    ],
)
def test_labels_that_do_not_fit(folder, text, words):
    with pytest.raises(DataError, match=words):
        built(folder, text)


def test_a_set_of_regions_for_each_class(tmp_path):
    toy = make_toy(tmp_path)
    (tmp_path / "B.bed").write_text("1\t0\t151\n")  # peaks of chr1 begin at 0, 300, ...; the first is covered
    (tmp_path / "T.narrowPeak").write_text("chr2\t90\t120\tx\t0\t.\t1\t1\t1\t5\nchr1\t310\t400\ty\t0\t.\t1\t1\t1\t5\n")
    atlas = build_atlas(
        toy.path("peaks.bed"), [tmp_path / "B.bed", tmp_path / "T.narrowPeak"], genome=toy.path("genome.fa")
    )
    marked = {name for name, row in zip(atlas.peaks["name"], atlas.heights, strict=True) if row[1]}
    assert atlas.cell_types == ("B", "T")
    assert np.flatnonzero(atlas.heights[:, 0]).tolist() == [0]
    assert marked == {"peak_3"}  # of peak_1 (100-151) 20 of 51 bases are covered, of peak_3 (300-351) 41
    assert atlas.notes["of no class, all labels 0"] == 38
    with pytest.raises(DataError, match=r"give one table, or bigWigs .* or sets of regions"):
        build_atlas(toy.path("peaks.bed"), [tmp_path / "B.bed", toy.path("heights.csv")], genome=toy.path("genome.fa"))
