import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from netassay.errors import StoreError
from netassay.runs.disk import pack, unpack

DTYPES = [
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
    torch.float8_e4m3fn,
]


@st.composite
def tensors(draw):
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    count = math.prod(shape) * dtype.itemsize
    raw = draw(st.binary(min_size=count, max_size=count))
    if dtype is torch.bool:
        raw = bytes(byte & 1 for byte in raw)
    flat = torch.frombuffer(bytearray(raw), dtype=dtype) if raw else torch.empty(0, dtype=dtype)
    return flat.reshape(shape)


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


@settings(max_examples=100)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), tensors(), max_size=4))
def test_every_bit_comes_back(given_tensors):
    loaded = unpack(pack(given_tensors))
    assert loaded.keys() == given_tensors.keys()
    for name, tensor in given_tensors.items():
        assert (loaded[name].dtype, loaded[name].shape) == (tensor.dtype, tensor.shape)
        assert bits(loaded[name]) == bits(tensor)


def test_a_dtype_without_a_place_is_named():
    with pytest.raises(StoreError, match=r"'spectrum'.*complex128"):
        pack({"weights": torch.zeros(1), "spectrum": torch.zeros(1, dtype=torch.complex128)})
