import os

import numpy as np
import pybigtools
import pytest

from netassay.commands.check import check
from netassay.errors import DataError
from netassay.formats.signals import read_signal

RECORDS = [("chr1", 100, 200, 1.0), ("chr1", 200, 300, 3.0), ("chr2", 0, 50, 2.5)]
LENGTHS = {"chr1": 1_000, "chr2": 500}


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "B.bw"
    pybigtools.open(str(file), "w").write(LENGTHS, RECORDS)
    return file


@pytest.mark.parametrize("statistic", ["mean", "sum", "max"])
def test_regions_in_any_order_against_a_base_by_base_array(path, statistic):
    bases = {name: np.zeros(length) for name, length in LENGTHS.items()}
    for name, start, end, value in RECORDS:
        bases[name][start:end] = value
    draw = np.random.default_rng(0)
    names = draw.choice(["chr1", "chr2"], 60).tolist()
    starts = draw.integers(0, 400, 60)
    ends = starts + draw.integers(1, 100, 60)
    expected = [getattr(bases[n][s:e], statistic)() for n, s, e in zip(names, starts, ends, strict=True)]
    found = read_signal(path, names, starts, ends, statistic)
    np.testing.assert_allclose(found.values, expected, rtol=1e-6)
    assert found.absent == 0


@pytest.mark.parametrize("statistic", ["mean", "sum", "max"])
def test_bases_without_a_value_and_those_that_are_nan_count_as_zero(tmp_path, statistic):
    records = [
        ("chr1", 10, 20, 5.0),
        ("chr1", 20, 25, float("nan")),
        ("chr1", 25, 40, 2.0),
        ("chr1", 60, 80, -3.0),
        ("chr1", 90, 95, float("nan")),
    ]
    file = tmp_path / "x.bw"
    pybigtools.open(str(file), "w").write({"chr1": 200}, records)
    bases = np.zeros(200)
    for _, start, end, value in records:
        bases[start:end] = np.nan_to_num(value)
    # NaN within, at an end, alone; all below zero, below zero with a gap; no value at all
    regions = [(10, 40), (15, 22), (20, 25), (60, 80), (55, 80), (92, 120), (150, 160)]
    starts, ends = np.array(regions).T
    found = read_signal(file, ["chr1"] * len(regions), starts, ends, statistic)
    expected = [getattr(bases[start:end], statistic)() for start, end in regions]
    np.testing.assert_allclose(found.values, expected, rtol=1e-6)
    assert found.with_nan == 4


def test_the_mitochondrial_genome_is_found_and_counted(tmp_path):
    pybigtools.open(str(tmp_path / "x.bw"), "w").write({"chrM": 100}, [("chrM", 0, 50, 4.0)])
    found = read_signal(tmp_path / "x.bw", ["MT", "chrM"], np.array([0, 0]), np.array([10, 10]))
    assert (found.values.tolist(), found.absent, found.renamed) == ([4.0, 4.0], 0, 1)


def test_names_without_chr_and_chromosomes_without_signal(path):
    found = read_signal(path, ["1", "chrX"], np.array([150, 0]), np.array([250, 9]))
    assert found.values.tolist() == [2.0, 0.0]
    assert found.absent == 1


@pytest.mark.parametrize(
    ("names", "end", "message"),
    [
        (["chrX"], 9, r"has none of the regions' chromosomes \(chrX\); it has chr1, chr2"),
        (["chr2"], 501, "ends beyond chr2, which has 500 bases here"),
        (["chr2"], -1, "begins before chr2"),
    ],
)
def test_regions_of_another_assembly_are_refused(path, names, end, message):
    with pytest.raises(DataError, match=message):
        read_signal(path, names, np.array([min(end - 5, 0)]), np.array([end]))


def test_files_that_are_no_bigwig(tmp_path, path, capfd):
    one = (["chr1"], np.array([150]), np.array([250]))
    (tmp_path / "text.bw").write_text("chr1 0 5 1.0\n")
    with pytest.raises(DataError, match=r"text.bw: is not a bigWig file"):
        read_signal(tmp_path / "text.bw", *one)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_signal(tmp_path / "no.bw", *one)
    (tmp_path / "cut.bw").write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"cut.bw: is (damaged|no bigWig)"):
        read_signal(tmp_path / "cut.bw", *one)
    with pytest.raises(DataError, match="allowed are mean, sum, max"):
        read_signal(path, *one, "median")


def test_a_name_that_is_not_utf_8_is_read_in_silence(path, tmp_path, capfd):
    other = path.rename(tmp_path / os.fsdecode(b"\xff\xfe.bw"))
    assert read_signal(other, ["chr1", "chr2"], np.array([150, 0]), np.array([250, 50])).values.tolist() == [2.0, 2.5]
    assert check(other).facts == {"chromosomes": 2, "bases": 1500}
    assert capfd.readouterr() == ("", "")
