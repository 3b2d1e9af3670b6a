"""Fragments counted over regions: by hand, by SnapATAC2, by bedtools, and by a slow loop."""

import gzip
import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from netassay.dna.reads.counting import count_fragments, stem
from netassay.dna.reads.groups import read_groups
from netassay.errors import DataError
from netassay.formats.alignments import read_alignments
from netassay.formats.fragments import read_fragments

READS = Path(__file__).parents[4] / "shared" / "data" / "reads"
shared = pytest.mark.skipif(not READS.is_dir(), reason=f"the shared reads are not at {READS}")

TEN = """\
# id=sample
chr1\t100\t200\tAAAC-1\t3
chr1\t150\t160\tAAAG-1\t1
chr1\t199\t300\tAAAC-1\t1
chr1\t299\t301\tAAAT-1\t1
chr2\t10\t20\tAAAC-1\t1
chr2\t19\t40\tAAAG-1\t2
chr2\t40\t50\tAAAG-1\t1
chr3\t5\t9\tAAAC-1\t1
chr1\t100\t200\tAAAG-1\t1
chr2\t10\t20\tNONE-1\t1
"""
REGIONS = pl.DataFrame(
    {"chromosome": ["chr1", "chr1", "chr2", "chr1"], "start": [100, 150, 10, 0], "end": [200, 300, 20, 99]}
)
GROUPS = {"AAAC-1": "B", "AAAG-1": "T", "AAAT-1": "T"}


def write(path, text=TEN):
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["fragments.tsv", "fragments.tsv.gz"])
def test_ten_lines_by_hand(tmp_path, name):
    counts = count_fragments(write(tmp_path / name), REGIONS, groups=read_groups(GROUPS))
    assert counts.groups == ("B", "T")
    # cuts of B: 100 199 199 299 | chr2 10 19; of T: 150 159 299 300 100 199 | chr2 19 39 40 49
    assert counts.values.tolist() == [[3, 4], [3, 4], [2, 1], [0, 0]]
    assert counts.fragments == 10
    assert counts.left_out == {
        "fragments of barcodes without a group": 1,
        "fragments on chromosomes without a peak": 1,
        "fragments in no peak": 1,
    }
    assert counts.notes == {"groups with one cell, whose fragments are halved in place of its cells": 1}


def test_fragments_that_share_a_base(tmp_path):
    counts = count_fragments(write(tmp_path / "f.tsv"), REGIONS, groups=read_groups(GROUPS), count="fragments")
    assert counts.values.tolist() == [[2, 2], [2, 3], [1, 1], [0, 0]]


def test_profiles_of_planted_insertions(tmp_path):
    counts = count_fragments(write(tmp_path / "f.tsv"), REGIONS, groups=read_groups(GROUPS), profiles=True)
    profile = counts.profiles.of([0])[0]
    assert profile.shape == (2, 100)
    assert {at: n for at, n in enumerate(profile[0].tolist()) if n} == {0: 1, 99: 2}
    assert {at: n for at, n in enumerate(profile[1].tolist()) if n} == {0: 1, 50: 1, 59: 1, 99: 1}
    for row in (1, 2, 3):
        np.testing.assert_array_equal(counts.profiles.of([row])[0].sum(1), counts.values[row])
    stretches = {name: (where.tolist(), n.tolist()) for name, where, n in counts.profiles.stretches(0)}
    assert stretches == {"chr1": ([100, 199, 299], [1, 2, 1]), "chr2": ([10, 19], [1, 1])}


def test_halves_are_of_cells_and_sum_to_the_whole(tmp_path):
    cells = [f"CELL{i}" for i in range(12)]
    lines = "".join(f"chr1\t{100 + i}\t{101 + i}\t{cell}\t1\n" for i, cell in enumerate(cells) for _ in range(i + 1))
    path = write(tmp_path / "f.tsv", lines)
    table = {cell: "even" if i % 2 == 0 else "odd" for i, cell in enumerate(cells)}
    counts = count_fragments(path, REGIONS[:1], groups=read_groups(table))
    assert counts.values.tolist() == [[2 * (1 + 3 + 5 + 7 + 9 + 11), 2 * (2 + 4 + 6 + 8 + 10 + 12)]]
    halves = read_groups(table).table
    for group in (0, 1):
        ours = halves.filter(group=group)
        assert sorted(ours["half"].to_list()) == [0, 0, 0, 1, 1, 1]
        of_first = sum(2 * (cells.index(cell) + 1) for cell in ours.filter(half=0)["barcode"])
        assert counts.halves[0, group, 0] == of_first
    again = count_fragments(path, REGIONS[:1], groups=read_groups(dict(reversed(table.items()))))
    np.testing.assert_array_equal(again.halves, counts.halves)


def test_order_and_batches_change_nothing(tmp_path, monkeypatch):
    draw = random.Random(3)
    places = [(draw.randint(1, 3), draw.randint(0, 2000), draw.randint(1, 300)) for _ in range(3000)]
    lines = [f"chr{c}\t{a}\t{a + size}\t{draw.choice('ABCDE')}\t1\n" for c, a, size in places]
    regions = random_regions(draw, 200)
    groups = read_groups(dict(zip("ABCDE", "xxyyz", strict=True)))
    one = count_fragments(write(tmp_path / "a.tsv", "".join(lines)), regions, groups=groups, profiles=True)
    draw.shuffle(lines)
    monkeypatch.setattr("netassay.formats.fragments.BYTES_AT_ONCE", 900)
    monkeypatch.setattr("netassay.formats.text.BLOCK", 500)
    monkeypatch.setattr("netassay.dna.reads.tally.PENDING", 100)
    monkeypatch.setattr("netassay.dna.reads.tally.DENSE", 0)
    two = count_fragments(write(tmp_path / "b.tsv", "".join(lines)), regions, groups=groups, profiles=True)
    np.testing.assert_array_equal(one.halves, two.halves)
    np.testing.assert_array_equal(one.profiles.of([5]), two.profiles.of([5]))
    assert one.left_out == two.left_out


def random_regions(draw, n):
    rows = [(f"chr{draw.randint(1, 3)}", (a := draw.randint(0, 2000)), a + draw.randint(1, 250)) for _ in range(n)]
    return pl.DataFrame(rows, schema=["chromosome", "start", "end"], orient="row")


def test_random_files_against_a_slow_loop(tmp_path):
    draw = random.Random(5)
    rows = [(f"chr{draw.randint(1, 4)}", (a := draw.randint(0, 2000)), a + draw.randint(1, 300)) for _ in range(800)]
    path = write(tmp_path / "f.tsv", "".join(f"{c}\t{a}\t{b}\n" for c, a, b in rows))
    regions = random_regions(draw, 60)
    cuts = count_fragments(path, regions).values[:, 0]
    shared = count_fragments(path, regions, count="fragments").values[:, 0]
    for i, (chromosome, start, end) in enumerate(regions.iter_rows()):
        here = [(a, b) for c, a, b in rows if c == chromosome]
        assert cuts[i] == sum((start <= a < end) + (start <= b - 1 < end) for a, b in here)
        assert shared[i] == sum(a < end and b > start for a, b in here)


@pytest.mark.skipif(shutil.which("bedtools") is None, reason="bedtools is not installed")
def test_equal_to_bedtools_coverage(tmp_path):
    draw = random.Random(9)
    rows = [(f"chr{draw.randint(1, 4)}", (a := draw.randint(0, 9000)), a + draw.randint(1, 500)) for _ in range(4000)]
    path = write(tmp_path / "f.tsv", "".join(f"{c}\t{a}\t{b}\n" for c, a, b in rows))
    regions = random_regions(draw, 300)
    bed = tmp_path / "regions.bed"
    bed.write_text("".join(f"{c}\t{a}\t{b}\n" for c, a, b in regions.iter_rows()))
    said = subprocess.run(
        ["bedtools", "coverage", "-counts", "-a", bed, "-b", path], capture_output=True, text=True, check=True
    )
    theirs = [int(line.split("\t")[3]) for line in said.stdout.splitlines()]
    assert count_fragments(path, regions, count="fragments").values[:, 0].tolist() == theirs


@shared
def test_equal_to_the_coverage_of_snapatac2():
    with gzip.open(READS / "coverage.bdg.gz", "rt") as file:
        runs = [line.split() for line in file]
    spots = [(c, at, at + 1, float(v)) for c, a, b, v in runs for at in {int(a), int(b) - 1}]
    spots += [(c, int(b), int(b) + 1, None) for c, a, b, v in runs]
    covered = {(c, at) for c, a, b, _ in runs for at in range(int(a), int(b))}
    regions = pl.DataFrame([row[:3] for row in spots], schema=["chromosome", "start", "end"], orient="row")
    ours = count_fragments(READS / "fragments.tsv.gz", regions, count="fragments").values[:, 0]
    for value, (chromosome, at, _, theirs) in zip(ours, spots, strict=True):
        if theirs is not None:
            assert value == theirs
        elif (chromosome, at) not in covered:
            assert value == 0


@shared
def test_equal_to_the_fragments_of_snapatac2():
    """It was run without a shift, on the chromosomes but for the mitochondrial one."""
    pytest.importorskip("pysam", reason="the extra reads is not installed")
    ours = pl.concat(read_alignments(READS / "reads.bam", shift=(0, 0))).filter(
        pl.col("chromosome").str.contains(r"^chr[0-9XY]+$")
    )
    theirs = pl.concat(read_fragments(READS / "fragments_of_reads.tsv.gz"))
    place = ["chromosome", "start", "end"]
    assert ours.select(place).sort(place).equals(theirs.select(place).sort(place))
    assert len(ours) == 17_751


@shared
def test_bam_is_shifted_and_its_duplicates_are_dropped():
    pytest.importorskip("pysam", reason="the extra reads is not installed")
    theirs = pl.concat(read_fragments(READS / "fragments_of_reads.tsv.gz"))
    shifted = theirs.with_columns(pl.col("start") + 4, pl.col("end") - 5).filter(pl.col("end") > pl.col("start"))
    regions = shifted.select("chromosome", "start", "end")[::50]
    counts = count_fragments(READS / "reads.bam", regions, count="fragments")
    kept = count_fragments(READS / "reads.bam", regions, count="fragments", duplicates="keep")
    shifted = shifted.filter(pl.col("chromosome").is_in(regions["chromosome"].unique().to_list()))
    once = shifted.select("chromosome", "start", "end").unique()
    assert counts.left_out["fragments that are duplicates"] == len(shifted) - len(once) > 0
    for row, (chromosome, start, end) in enumerate(regions.head(20).iter_rows()):
        over = (pl.col("chromosome") == chromosome) & (pl.col("start") < end) & (pl.col("end") > start)
        assert counts.values[row, 0] == len(once.filter(over))
        assert kept.values[row, 0] == len(shifted.filter(over))
    assert sum(counts.left_out.values()) > 0 and counts.left_out["reads unmapped, or their mate"] > 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("chr1\t5\n", ":1: has 2 of the columns"),
        ("#x\nchr1\t5\tx\tA\n", ":2: start and end are not whole numbers"),
        ("chr1\t5\t6\tA\nchr1\t9\t9\tA\n", ":2: ends at or before its start"),
        ("# nothing\n", "holds no fragment"),
        ("", "holds no fragment"),
    ],
)
def test_bad_lines_are_reported(tmp_path, text, words):
    with pytest.raises(DataError, match=words):
        count_fragments(write(tmp_path / "f.tsv", text), REGIONS)


def test_a_truncated_file_is_reported(tmp_path):
    path = tmp_path / "f.tsv.gz"
    path.write_bytes(gzip.compress(TEN.encode() * 50)[:-20])
    with pytest.raises(DataError, match="damaged or cut"):
        count_fragments(path, REGIONS)


@shared
def test_a_truncated_bam_is_reported(tmp_path):
    pytest.importorskip("pysam", reason="the extra reads is not installed")
    whole = (READS / "reads.bam").read_bytes()
    (tmp_path / "cut.bam").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.bam").write_text("no bam")
    with pytest.raises(DataError, match=r"cut.bam: cannot be read as BAM: .*truncated"):
        count_fragments(tmp_path / "cut.bam", REGIONS)
    with pytest.raises(DataError, match=r"text.bam: cannot be read as BAM"):
        count_fragments(tmp_path / "text.bam", REGIONS)


def test_barcodes_that_match_nothing(tmp_path):
    groups = read_groups({"AAAC": "B", "AAAG": "T"})
    with pytest.raises(DataError, match=r"none of its 2 barcodes \(such as AAAC, AAAG\) .* with the -1"):
        count_fragments(write(tmp_path / "f.tsv"), REGIONS, groups=groups)


def test_a_genome_of_another_assembly(tmp_path):
    path = write(tmp_path / "f.tsv")
    with pytest.raises(DataError, match=r"20.0% of the fragments lie beyond the ends"):
        count_fragments(path, REGIONS, lengths={"chr1": 299, "chr2": 100, "chr3": 100})
    with pytest.raises(DataError, match="no fragment lies on a contig"):
        count_fragments(path, REGIONS, lengths={"scaffold": 10})
    counts = count_fragments(path, REGIONS, lengths={"1": 400, "2": 100})
    assert counts.left_out["fragments on contigs that the genome does not have"] == 1


def test_files_are_groups_and_samples_part_barcodes(tmp_path):
    one, two = write(tmp_path / "a.tsv"), write(tmp_path / "b_fragments.tsv.gz")
    both = count_fragments([one, two], REGIONS)
    assert both.groups == ("a", "b_fragments") and (both.values[:, 0] == both.values[:, 1]).all()
    parted = count_fragments([one, two], REGIONS, groups=read_groups({"a#AAAC-1": "x", "b#AAAC-1": "y"}))
    assert parted.values[0].tolist() == [3, 3]
    mixed = count_fragments([one, two], REGIONS, groups=read_groups({"AAAC-1": "x"}))
    assert mixed.values[0].tolist() == [6]
    assert mixed.notes["barcodes that are in several files, each taken for one cell"] == 1
    assert stem(Path("x/sample.tsv.gz")) == "sample"
    with pytest.raises(DataError, match="two files of fragments are called 'a'"):
        count_fragments([one, write(tmp_path / "a.tsv.gz")], REGIONS)
