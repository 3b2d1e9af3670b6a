"""Tracks of single bases: means where windows overlap, files as other readers see them."""

import numpy as np
import pytest

from netassay.errors import DataError
from netassay.formats.signals import read_signal
from netassay.formats.tracks import track, write_bedgraph, write_bigwig

WINDOWS = (["chr2", "chr1", "chr1"], np.array([5, 10, 12]))
VALUES = np.array([[1.0, 2.0, 3.0, np.nan], [1.0, 1.0, 3.0, -0.5], [5.0, 0.0, 7.25, 8.0]])


def test_overlaps_are_averaged_and_counted():
    made = track(*WINDOWS, VALUES)
    assert [stretch.chromosome for stretch in made.stretches] == ["chr1", "chr2"]
    first, second = made.stretches
    assert first.places.tolist() == [10, 11, 12, 13, 14, 15]
    assert first.values.tolist() == [1, 1, 4, -0.25, 7.25, 8]
    assert second.places.tolist() == [5, 6, 7]
    assert made.shared == 2


def test_files_hold_every_base(tmp_path):
    made = track(*WINDOWS, VALUES)
    write_bedgraph(tmp_path / "t.bedgraph", made)
    lines = (tmp_path / "t.bedgraph").read_text().splitlines()
    assert lines[3] == "chr1\t13\t14\t-0.25"
    assert len(lines) == 9
    write_bigwig(tmp_path / "t.bw", made, {"chr1": 100, "chr2": 8, "chr3": 50})
    starts = np.arange(9, 17)
    found = read_signal(tmp_path / "t.bw", ["chr1"] * 8, starts, starts + 1).values
    assert found.tolist() == [0, 1, 1, 4, -0.25, 7.25, 8, 0]
    assert read_signal(tmp_path / "t.bw", ["chr2"], np.array([5]), np.array([8])).values.tolist() == [2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.bedgraph", "t.bw"]


def test_what_cannot_be_written_is_reported_and_leaves_nothing(tmp_path):
    made = track(*WINDOWS, VALUES)
    with pytest.raises(DataError, match="length of chromosome 'chr1' is not known"):
        write_bigwig(tmp_path / "t.bw", made, {"chr2": 8})
    with pytest.raises(DataError, match="beyond chr1, which has 15 bases"):
        write_bigwig(tmp_path / "t.bw", made, {"chr1": 15, "chr2": 8})
    with pytest.raises(DataError, match="beyond chr1"):
        write_bigwig(tmp_path / "t.bw", track(["chr1"], np.array([-1]), VALUES[1:2]), {"chr1": 15})
    with pytest.raises(DataError, match="no value to write"):
        write_bigwig(tmp_path / "t.bw", track(["chr1"], np.array([1]), np.array([[np.nan]])), {"chr1": 15})
    with pytest.raises(DataError, match="the name is not UTF-8"):
        write_bigwig(tmp_path / "\udcff.bw", made, {"chr1": 20, "chr2": 8})
    with pytest.raises(DataError, match="cannot be written"):
        write_bedgraph(tmp_path, made)
    assert not list(tmp_path.iterdir())
