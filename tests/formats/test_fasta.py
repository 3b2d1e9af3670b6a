import gzip
import os
import random

import numpy as np
import pyfaidx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_atlas import make_toy, write_fasta

from netassay.errors import DataError
from netassay.formats import text
from netassay.formats.bases import decode
from netassay.formats.fasta import read_fasta, read_windows


@pytest.fixture
def toy(tmp_path):
    return make_toy(tmp_path)


sequences = st.dictionaries(
    st.text("abc1_", min_size=1, max_size=4), st.text("ACGTNacgtnRY", max_size=40), min_size=1, max_size=4
)


@given(sequences, st.sampled_from(["\n", "\r\n"]), st.integers(1, 9), st.integers(1, 50), st.booleans())
def test_records_come_back_whatever_the_blocks(tmp_path_factory, records, eol, width, block, zipped):
    path = tmp_path_factory.mktemp("fasta") / "x.fa"
    write_fasta(path, records, eol=eol, width=width)
    lines = path.read_bytes().split(b"\n")
    if zipped:
        path.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "BLOCK", block)
        found = list(read_fasta(path))
    assert {record.name: record.letters.decode() for record in found} == records
    assert all(lines[record.line - 1].startswith(b">" + record.name.encode()) for record in found)


def windows(toy, genome, chromosomes=None):
    names = chromosomes or [chromosome for _, chromosome, _, _ in toy.peaks]
    starts = np.array([start for _, _, start, _ in toy.peaks])
    return read_windows(genome, names, starts, 51)


def test_windows_over_the_ends_are_filled_if_asked(tmp_path):
    path = tmp_path / "g.fa"
    path.write_text(">1\nACGTACG\n>2\nTT\n")
    names, starts = ["1", "chr1", "1", "2", "1", "3"], np.array([-2, 5, 2, -1, 9, 0])
    for _ in range(2):
        found = read_windows(path, names, starts, 5, padded=True)
        assert [decode(row) for row in found.codes] == ["NNACG", "CGNNN", "GTACG", "NTTNN", "NNNNN", "NNNNN"]
        assert found.beyond.tolist() == [True, True, False, True, True, False]
        assert found.missing.tolist() == [False] * 5 + [True]
        bare = read_windows(path, names, starts, 5)
        assert [decode(row) for row in bare.codes] == ["NNNNN", "NNNNN", "GTACG", "NNNNN", "NNNNN", "NNNNN"]
        index(path)


def test_line_ends_of_old_macs_and_the_end_of_a_dos_text(tmp_path):
    path = tmp_path / "g.fa"
    for content in (
        b">a b\rAC\rGT\r>c\rTT\r",
        b">a b\r\nAC\r\nGT\r\n>c\r\nTT\r\n\x1a",
        b">a\nACGT\n>c\nTT\x1a\n",
    ):
        path.write_bytes(content)
        assert [(record.name, record.letters) for record in read_fasta(path)] == [
            ("a", b"ACGT"),
            ("c", b"TT"),
        ]


def index(path):
    pyfaidx.Faidx(str(path)).close()
    return path.with_name(path.name + ".fai")


@pytest.mark.parametrize("form", ["plain", "indexed", "gzip", "crlf", "lower", "stale", "read-only"])
def test_windows_are_slices_of_the_contigs(toy, form):
    path = toy.path("genome.fa")
    if form in ("indexed", "stale"):
        made = index(path)
        if form == "stale":
            made.write_text("chr1\t9\t1\t2\t3\n")
            os.utime(made, (1, 1))
    elif form == "gzip":
        path.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    elif form == "crlf":
        write_fasta(path, toy.genome, eol="\r\n")
        index(path)
    elif form == "lower":
        write_fasta(path, {name: letters.lower() for name, letters in toy.genome.items()})
    before = set(toy.folder.iterdir())
    if form == "read-only":
        toy.folder.chmod(0o555)
    found = windows(toy, path)
    toy.folder.chmod(0o755)
    assert [decode(row) for row in found.codes] == [toy.bases(i) for i in range(len(toy.peaks))]
    assert not (found.missing | found.beyond | found.renamed).any()
    assert found.lengths == {name: len(letters) for name, letters in toy.genome.items()}
    assert set(toy.folder.iterdir()) == before, "nothing is written beside a genome"


@pytest.mark.parametrize("indexed", [False, True])
def test_contigs_missing_renamed_and_too_short(toy, indexed):
    path = toy.path("genome.fa")
    if indexed:
        index(path)
    starts = np.array([0, 4_949, 4_950, -1, 10, 10])
    found = read_windows(path, ["chr1", "chr2", "chr2", "chr1", "chrX", "3"], starts, 51)
    assert found.missing.tolist() == [False, False, False, False, True, False]
    assert found.beyond.tolist() == [False, False, True, True, False, False]
    assert found.renamed.tolist() == [False] * 5 + [True]
    assert decode(found.codes[1]) == toy.genome["chr2"][-51:]
    assert decode(found.codes[5]) == toy.genome["chr3"][10:61]
    assert decode(found.codes[2]) == "N" * 51


def test_an_exact_name_goes_before_another_form_of_it(tmp_path):
    for order in (("1", "chr1"), ("chr1", "1")):
        genome = {name: {"1": "AAAA", "chr1": "CCCC"}[name] for name in order}
        write_fasta(tmp_path / "g.fa", genome)
        found = read_windows(tmp_path / "g.fa", ["chr1", "1"], np.array([0, 0]), 4)
        assert [decode(row) for row in found.codes] == ["CCCC", "AAAA"]


@pytest.mark.parametrize("change", ["lengths", "offset", "names", "cut", "empty"])
def test_an_index_that_does_not_fit_is_refused(toy, change):
    path = toy.path("genome.fa")
    made = index(path)
    rows = [line.split("\t") for line in made.read_text().splitlines()]
    if change == "lengths":
        rows[0][1] = "4000"
    elif change == "offset":
        rows[0][2] = str(int(rows[0][2]) + 3)
    elif change == "names":
        rows[0][0], rows[1][0] = rows[1][0], rows[0][0]
    elif change == "cut":
        rows[0] = rows[0][:2]
    made.write_text("" if change == "empty" else "".join("\t".join(row) + "\n" for row in rows))
    if change == "empty":
        assert windows(toy, path).missing.all()
        return
    with pytest.raises(DataError, match=r"genome.fa.fai: .*samtools faidx"):
        windows(toy, path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no sequence"),
        (b"\n\nACGT\n", r"x.fa:3: begins with 'ACGT'"),
        (b"\x00\x01\x02" * 99, "begins with '>' and a name"),
        (b">\nACGT\n", r"x.fa:1: the header has no name"),
        (b">a\nAC\n>b\nA\n>a\nC\n", r"x.fa:5: sequence 'a' occurs a second time"),
        (
            gzip.compress(b">a\n" + random.Random(0).randbytes(9_000), mtime=0)[:-20],
            "gzip stream is damaged or cut",
        ),
    ],
)
def test_what_is_no_fasta_is_refused(tmp_path, content, message):
    path = tmp_path / "x.fa"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_fasta(path))


@pytest.mark.parametrize("indexed", [False, True])
def test_letters_of_no_dna_are_refused(tmp_path, indexed):
    path = tmp_path / "p.fa"
    path.write_text(">chr1\nACGTACGTAC\nACEFGT\n")
    if indexed:
        index(path)
    with pytest.raises(DataError, match=r"p.fa: chr1, base 13 .* is not a letter of DNA"):
        read_windows(path, ["chr1"], np.array([4]), 12)


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_windows(tmp_path / "no.fa", ["chr1"], np.array([0]), 3)


def test_many_short_sequences_of_a_real_file(shared_data):
    """A file whose records are far smaller than a block; counting lines from the block's start took a minute."""
    found = list(read_fasta(shared_data / "chip" / "pu1.fa.gz"))
    assert len(found) == 28_677
    assert {len(record.letters) for record in found} == {100}
    assert [record.line for record in found] == list(range(1, 2 * len(found), 2))
