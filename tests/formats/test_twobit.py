"""2bit files, written here by the letter of their description, against the same genome as FASTA."""

import struct
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_atlas import write_fasta

from netassay.errors import DataError, ExtraMissing
from netassay.formats.fasta import read_windows

GENOME = {"chr1": "ACGTNNNNNacgtnnTTGCAAGT" * 4, "chr2": "N" * 7 + "GATTACA" * 9, "chrM": "ACGTACGTACGTACGTT"}


def runs_of(letters, wanted):
    """Starts and lengths of stretches of letters that are `wanted`."""
    marks = [wanted(letter) for letter in letters] + [False]
    starts = [i for i, mark in enumerate(marks) if mark and not (i and marks[i - 1])]
    return starts, [marks.index(False, start) - start for start in starts]


def packed(genome, order="<"):
    """T, C, A, G as 0 to 3, the first base highest; N and lower case as stretches (UCSC, genome file formats)."""
    number = f"{order}I"
    at = 16 + sum(1 + len(name) + 4 for name in genome)
    head, body = struct.pack(f"{order}4I", 0x1A412743, 0, len(genome), 0), b""
    for name, letters in genome.items():
        head += bytes([len(name)]) + name.encode() + struct.pack(number, at + len(body))
        body += struct.pack(number, len(letters))
        for wanted in (lambda letter: letter in "Nn", str.islower):
            starts, sizes = runs_of(letters, wanted)
            body += struct.pack(f"{order}{1 + 2 * len(starts)}I", len(starts), *starts, *sizes)
        body += struct.pack(number, 0)
        bits = [max("TCAG".find(letter), 0) for letter in letters.upper()]
        bits += [0] * (-len(bits) % 16)
        body += bytes(
            a << 6 | b << 4 | c << 2 | d
            for a, b, c, d in zip(bits[::4], bits[1::4], bits[2::4], bits[3::4], strict=True)
        )
    return head + body


@pytest.mark.parametrize("order", ["<", ">"])
def test_windows_are_those_of_the_fasta(tmp_path, order):
    pytest.importorskip("twobitreader", reason="the extra [twobit] is not installed")
    path, plain = tmp_path / "genome.2bit", tmp_path / "genome.fa"
    path.write_bytes(packed(GENOME, order))
    write_fasta(plain, GENOME)
    width = 6
    asked = [(name, start) for name, letters in GENOME.items() for start in range(-1, len(letters) - width + 2)]
    asked += [("2", 3), ("chrX", 0)]
    order_of_asking = np.random.default_rng(0).permutation(len(asked))
    names, starts = zip(*(asked[i] for i in order_of_asking), strict=True)
    found, wanted = (read_windows(file, names, np.array(starts), width) for file in (path, plain))
    for field in ("codes", "missing", "beyond", "renamed"):
        assert np.array_equal(getattr(found, field), getattr(wanted, field)), field
    assert found.lengths == wanted.lengths
    assert (found.codes[~(found.missing | found.beyond)] != 4).any(axis=1).sum() > 100


@given(st.data())
@settings(max_examples=60)
def test_damage_is_one_kind_of_error_or_other_bases(tmp_path_factory, data):
    pytest.importorskip("twobitreader", reason="the extra [twobit] is not installed")
    whole = packed(GENOME)
    text = bytearray(whole[: data.draw(st.integers(4, len(whole)))])
    for place in data.draw(st.lists(st.integers(4, len(text)), max_size=3)):
        text[place : place + 1] = data.draw(st.binary(min_size=1, max_size=1))
    path = tmp_path_factory.mktemp("damaged") / "x.2bit"
    path.write_bytes(text)
    try:
        found = read_windows(path, ["chr1", "chr2"], np.array([2, 5]), 20)
    except DataError as refused:
        assert "x.2bit: is a damaged 2bit file" in str(refused)
    else:
        assert found.codes.max() <= 4


def test_without_the_extra_the_error_names_it(tmp_path, monkeypatch):
    path = tmp_path / "genome.2bit"
    path.write_bytes(packed(GENOME))
    monkeypatch.setitem(sys.modules, "twobitreader", None)
    with pytest.raises(ExtraMissing, match=r"netassay\[twobit\]"):
        read_windows(path, ["chr1"], np.array([0]), 5)
