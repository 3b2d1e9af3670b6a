"""Which peaks an experiment marks, against every pair compared letter by letter."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netassay.dna.agreement.overlap import SHIFTS, by_coordinates, by_sequence, words
from netassay.errors import DataError
from netassay.formats.bases import encode
from netassay.formats.fasta import read_fasta

CHIP = Path(__file__).parents[5] / "shared" / "data" / "chip" / "pu1.fa.gz"
OTHER = str.maketrans("ACGTN", "TGCAN")


def brute(peaks, sequences, k):
    """Places of each peak whose word, or its reverse complement, is in a sequence."""
    held = set()
    for sequence in sequences:
        for text in (sequence, sequence.translate(OTHER)[::-1]):
            held |= {text[i : i + k] for i in range(len(text) - k + 1)}
    held = {word for word in held if "N" not in word}
    return [sum(peak[i : i + k] in held for i in range(len(peak) - k + 1)) for peak in peaks]


letters = st.text("ACGTN", min_size=1, max_size=40)


@settings(max_examples=60)
@given(
    st.lists(st.text("ACGTN", min_size=30, max_size=30), min_size=1, max_size=4),
    st.lists(letters, max_size=4),
    st.integers(8, 14),
    st.integers(0, 20),
    st.booleans(),
)
def test_shared_words_are_those_of_the_letters(peaks, sequences, k, start, reverse):
    piece = peaks[0][start : start + 15]
    sequences = [*sequences, "ACGTACGTACGTACGT", piece.translate(OTHER)[::-1] if reverse else piece]
    codes = np.stack([encode(peak) for peak in peaks])
    found = by_sequence(codes, [encode(sequence) for sequence in sequences], k=k, min_words=2)
    want = brute(peaks, sequences, k)
    assert found.extent.tolist() == want
    assert found.marked.tolist() == [count >= 2 for count in want]
    assert sum(found.left_out.values()) == sum(len(sequence) < k for sequence in sequences)


@pytest.mark.parametrize("k", [8, 24, 31, 32])
def test_a_word_is_the_same_number_on_both_strands_and_no_other_word_has_it(k):
    draw = np.random.default_rng(k)
    codes = draw.integers(0, 4, (50, k)).astype(np.uint8)
    one, known = words(codes, k)
    other, _ = words((3 - codes)[:, ::-1], k)
    assert known.all()
    assert (one == other).all()
    assert len(np.unique(one)) == 50


@pytest.mark.parametrize(
    ("k", "least", "sequences", "message"),
    [
        (7, 1, ["A" * 30], "8 to 32"),
        (33, 1, ["A" * 40], "8 to 32"),
        (24, 0, ["A" * 30], "at least one"),
        (24, 8, ["A" * 30], "peaks of 30 bases have no 8 words of 24"),
        (24, 1, [], "none of the 0 sequences"),
        (24, 1, ["ACGT" * 5, "N" * 90], "none of the 2 sequences holds 24 known bases"),
    ],
)
def test_what_cannot_be_compared_by_sequence_is_refused(k, least, sequences, message):
    with pytest.raises(DataError, match=message):
        by_sequence(np.zeros((2, 30), np.uint8), [encode(s) for s in sequences], k=k, min_words=least)


def test_shares_of_dhs4_sites_that_pu1_sequences_mark():
    from netassay.dna.atlas.dhs4 import dhs4
    from netassay.errors import ExtraMissing

    if not CHIP.exists():
        pytest.skip("shared/data/chip is not here")
    try:
        atlas = dhs4()
    except ExtraMissing as error:
        pytest.skip(str(error))
    found = by_sequence(atlas.codes.numpy(), [encode(record.letters) for record in read_fasta(CHIP)])
    kind = atlas.heights.argmax(dim=1).numpy()
    shares = {name: 100 * found.marked[kind == i].mean() for i, name in enumerate(atlas.cell_types)}
    assert shares == pytest.approx({"K562": 12.7, "GM12878": 5.7, "HepG2": 1.2, "hESC": 0.9}, abs=0.05)


def table(rows):
    schema = {"chromosome": pl.String, "start": pl.Int64, "end": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_bases_in_common_are_those_counted_one_by_one():
    draw = np.random.default_rng(0)

    def some(n, names):
        start = draw.integers(0, 300, n)
        return [(str(draw.choice(names)), int(s), int(s + draw.integers(1, 60))) for s in start]

    ours = [*some(40, ["chr1", "chr2", "3"]), (None, None, None)]
    theirs = some(25, ["1", "chr2", "chr3", "chrUn"])
    found = by_coordinates(table(ours), table(theirs), min_bases=5)
    name = {"1": "chr1", "chr3": "3"}
    want = [
        max((len(set(range(s, e)) & set(range(a, b))) for d, a, b in theirs if name.get(d, d) == c and c), default=0)
        if c
        else 0
        for c, s, e in ours
    ]
    assert found.extent.tolist() == want
    assert found.marked.tolist() == [bases >= 5 for bases in want]
    assert found.left_out == {
        "peaks without a place": 1,
        "regions on chromosomes without a peak": sum(c == "chrUn" for c, *_ in theirs),
    }
    assert 0 < sum(found.marked) < len(ours)


def test_neighbours_that_touch_have_nothing_in_common():
    found = by_coordinates(table([("chr1", 10, 20)]), table([("chr1", 20, 30), ("chr1", 0, 10)]))
    assert not found.marked.any()


def test_chance_is_what_moved_regions_mark():
    peaks = table([("chr1", 1_000_000, 1_000_100), ("chr1", 1_000_000 - SHIFTS[0], 1_000_100 - SHIFTS[0])])
    found = by_coordinates(peaks, table([("chr1", 1_000_050, 1_000_060)]))
    assert found.marked.tolist() == [True, False]
    assert found.chance == pytest.approx(1 / 2 / len(SHIFTS))


def test_tables_without_a_chromosome_in_common_are_refused():
    with pytest.raises(DataError, match=r"no chromosome in common.*peaks: chr1; regions: scaffold_7.*assembly"):
        by_coordinates(table([("chr1", 0, 9)]), table([("scaffold_7", 0, 9)]))
    with pytest.raises(DataError, match="no chromosome in common"):
        by_coordinates(table([(None, None, None)]), table([("chr1", 0, 9)]))
