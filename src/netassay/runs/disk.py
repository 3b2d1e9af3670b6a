"""Files of a run folder: names that stay inside it, bytes that are those written."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from netassay.errors import RunDamaged, StoreError
from netassay.files import is_temporary

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def checked_name(kind: str, name: str) -> str:
    """`name` if it can stand as a file name; StoreError for separators, control characters, leading dots."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise StoreError(
            f"{kind} name {name!r} is refused; allowed are 1 to 64 letters, digits, '_', '-' and '.', "
            "the first a letter or digit"
        )
    return name


def is_ours(name: str) -> bool:
    """Whether a file in tensors/ or tables/ is named as a writer names its files."""
    return name.endswith((".safetensors", ".parquet")) or is_temporary(name)


def read_checked(folder: Path, file: str, expected: str, hint: str = "restore it from a copy") -> bytes:
    """The bytes of a file in a run folder. RunDamaged if it is missing or its SHA-256 is not `expected`."""
    path = folder / file
    try:
        data = path.read_bytes()
    except OSError as cause:
        raise RunDamaged(
            f"{path}: cannot be read ({cause.strerror}), SHA-256 {expected} expected; {hint}"
        ) from None
    if (actual := sha256(data)) != expected:
        raise RunDamaged(f"{path}: is damaged: SHA-256 expected {expected}, found {actual}; {hint}")
    return data


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
