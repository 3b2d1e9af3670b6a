import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from netassay.errors import DataError
from netassay.formats.bases import FOREIGN, UNKNOWN, decode, encode, from_one_hot, one_hot, reverse_complement

COMPLEMENT = {"A": "T", "C": "G", "G": "C", "T": "A", "N": "N"}
dna = st.text("ACGTN", min_size=1, max_size=60)


def test_letters_of_either_case_and_of_several_bases():
    assert encode("ACGTacgtUu").tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 3, 3]
    assert set(encode("NRYSWKMBDHVnryswkmbdhv").tolist()) == {UNKNOWN}
    assert set(encode(bytes(range(65))).tolist()) == {FOREIGN}
    assert encode("A-é").tolist() == [0, FOREIGN, FOREIGN]


@given(dna)
def test_codes_one_hot_and_strands_agree_with_letters(letters):
    codes = encode(letters)
    assert decode(codes) == letters
    other = "".join(COMPLEMENT[letter] for letter in reversed(letters))
    assert decode(reverse_complement(codes)) == other
    assert decode(reverse_complement(torch.from_numpy(codes)).numpy()) == other
    rows = one_hot(torch.from_numpy(codes)[None])[0]
    for place, letter in enumerate(letters):
        assert rows[:, place].tolist() == [float(letter == base) for base in "ACGT"]
    # the other strand of one-hot rows A C G T is both axes reversed
    assert torch.equal(one_hot(torch.from_numpy(encode(other))[None])[0], rows.flip(0, 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_dtypes(dtype):
    assert one_hot(torch.tensor([[0, 4, 3]], dtype=torch.uint8), dtype).dtype == dtype


@given(st.permutations("ACGT"), dna)
def test_any_order_of_rows_is_read(order, letters):
    planes = np.array([[[letter == base for letter in letters] for base in order]], np.int8)
    assert decode(from_one_hot(planes, "".join(order))[0]) == letters


@pytest.mark.parametrize(
    ("planes", "order", "message"),
    [
        (np.full((1, 4, 2), 0.5), "ACGT", r"peak 0, position 0 .* holds \[0.5"),
        (np.ones((1, 4, 2)), "ACGT", "a single 1"),
        (np.zeros((1, 4)), "ACGT", "peaks x 4 bases x length"),
        (np.zeros((1, 4, 2)), "ACGG", "one-hot order 'ACGG'"),
    ],
)
def test_what_is_not_one_hot_is_refused(planes, order, message):
    with pytest.raises(DataError, match=message):
        from_one_hot(planes, order)
