"""Consensus of peak sets by hand and by a slow second way; background of equal composition."""

import random

import numpy as np
import polars as pl
import pytest
from toy_atlas import make_toy, write_fasta

from netassay import background_regions, consensus_peaks
from netassay.errors import DataError


def bed(path, rows):
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    return path


def test_consensus_by_hand(tmp_path):
    one = bed(tmp_path / "a.bed", [("chr1", 100, 200, "x", 30), ("chr1", 400, 500, "y", 10)])
    two = bed(
        tmp_path / "b.bed",
        [("chr1", 130, 230, "z", 900), ("chr1", 300, 400, "u", 100), ("chr2", 0, 40, "v", 0)],
    )
    found = consensus_peaks([one, two], width=100, out=tmp_path / "out.bed")
    # shares: x 750,000, y 250,000; z 900,000, u 100,000, v 0: z beats x; y and u touch; v begins before base 0
    assert found.regions.select("chromosome", "start", "end", "file").rows() == [
        ("chr1", 130, 230, "b.bed"), ("chr1", 300, 400, "b.bed"), ("chr1", 400, 500, "a.bed"),
    ]  # fmt: skip
    assert found.left_out == {"overlaps a peak of a higher score": 1, "beyond the end of the chromosome": 1}
    assert (tmp_path / "out.bed").read_text().splitlines()[0] == "chr1\t130\t230\tchr1:130-230"
    with pytest.raises(DataError, match="exists"):
        consensus_peaks([one], out=tmp_path / "out.bed")


def test_consensus_by_a_slow_second_way(tmp_path):
    draw = random.Random(0)
    files = []
    for name in "abc":
        rows = [("chr1", (a := draw.randint(200, 5000)), a + 80, "n", draw.randint(1, 10**6)) for _ in range(60)]
        files.append(bed(tmp_path / f"{name}.bed", sorted(set(rows))))
    found = consensus_peaks(files, width=120).regions
    pool = []
    for path in files:
        rows = [line.split() for line in path.read_text().splitlines()]
        total = sum(int(row[4]) for row in rows)
        pool += [(int(row[4]) / total, (int(row[1]) + int(row[2])) // 2 - 60) for row in rows]
    starts = []
    while pool:
        best = max(pool)
        starts.append(best[1])
        pool = [peak for peak in pool if abs(peak[1] - best[1]) >= 120]
    assert found["start"].to_list() == sorted(starts)


def test_blacklist_genome_and_chromosomes(tmp_path):
    toy = make_toy(tmp_path)
    black = bed(tmp_path / "black.bed", [("3", 0, 300)])
    found = consensus_peaks(
        [toy.path("peaks.bed")],
        width=201,
        genome=toy.path("genome.fa"),
        blacklist=black,
        chromosomes=["chr3", "chr1"],
    )
    assert set(found.regions["chromosome"]) == {"chr1", "chr3"}
    assert sum(found.left_out.values()) + len(found.regions) == 40
    assert found.left_out["in a region of black.bed"] == 1 and found.left_out["beyond the end of the chromosome"] == 1


def test_background_has_the_composition_of_the_peaks(tmp_path):
    draw = random.Random(2)
    weights = [(3, 1, 1, 3), (1, 3, 3, 1)]
    letters = "".join("".join(draw.choices("ACGT", weights[i % 2], k=500)) for i in range(200))
    write_fasta(tmp_path / "genome.fa", {"chr1": letters, "chr2": "ACGT" * 500})
    peaks = bed(tmp_path / "peaks.bed", [("1", 1000 * i + 550, 1000 * i + 650, f"p{i}") for i in range(0, 60, 2)])
    found = background_regions(peaks, genome=tmp_path / "genome.fa", seed=1)
    regions = found.regions
    assert set(regions["chromosome"]) == {"chr1"} and set(regions["end"] - regions["start"]) == {100}

    def shares(frame):
        return sorted(
            round(sum(letters[a:b].count(base) for base in "GC") / (b - a) * 50)
            for a, b in frame.select("start", "end").iter_rows()
        )

    given = pl.read_csv(peaks, separator="\t", has_header=False, new_columns=["c", "start", "end", "n"])
    lost = sum(found.left_out.values())
    assert lost <= 1 and (lost or shares(regions) == shares(given))
    starts = np.sort(regions["start"].to_numpy())
    assert (np.diff(starts) >= 100).all()
    assert all(abs(a - b) >= 100 for a in starts for b in given["start"])
    again = background_regions(peaks, genome=tmp_path / "genome.fa", seed=1).regions
    assert again.equals(regions)
    assert len(background_regions(peaks, genome=tmp_path / "genome.fa", number=7).regions) == 7
    for number in (1_001, 1 << 62):
        with pytest.raises(DataError, match=r"at most 1,000 regions of 100 bases fit side by side"):
            background_regions(peaks, genome=tmp_path / "genome.fa", number=number)
