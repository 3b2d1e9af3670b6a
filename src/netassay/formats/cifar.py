"""The binary version of CIFAR-10: records of a label and a 32 x 32 image in three colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from netassay.errors import DataError

RECORD = 1 + 3 * 32 * 32
CLASSES = 10
_BINARY = "the binary version is wanted, with data_batch_1.bin to data_batch_5.bin and test_batch.bin"


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 3, 32, 32), red, green, blue, 0 to 255, and labels (n,), 0 to 9, of one file, both uint8.

    DataError names file, byte offset, what was expected and what was found.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as cause:
        raise DataError(f"{path}: cannot be read ({cause.strerror}); {_BINARY}") from None
    whole, left = divmod(len(data), RECORD)
    if left or not whole:
        hint = ""
        if data[:1] == b"\x80":
            hint = "; it looks like the Python version, a pickle, which is never opened"
        elif len(data) and len(data) % (RECORD + 1) == 0:
            hint = "; its size fits CIFAR-100"
        raise DataError(
            f"{path}: byte {whole * RECORD}: expected a whole number of records of {RECORD} bytes, at least one, found "
            f"{left} bytes before the end{hint}; {_BINARY}"
        )
    records = np.frombuffer(data, np.uint8).reshape(whole, RECORD)
    wrong = np.flatnonzero(records[:, 0] >= CLASSES)
    if len(wrong):
        at = int(wrong[0])
        raise DataError(
            f"{path}: byte {at * RECORD}: expected a label of 0 to {CLASSES - 1} at the start of record {at}, found "
            f"{records[at, 0]}; {_BINARY}"
        )
    return records[:, 1:].reshape(whole, 3, 32, 32), records[:, 0]
