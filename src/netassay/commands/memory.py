"""How much memory counting may take: a size in words, less what this process already uses."""

from __future__ import annotations

import re
from importlib import import_module

from netassay.errors import ConfigError
from netassay.processes import machine_bytes, peak_bytes

LARGEST = 10**18
"""More bytes than any machine has, and more parameters than any model."""


def room(memory: str | None) -> int:
    """Bytes left for counting, out of those that the process may take or of half this machine's."""
    from netassay.corpus.out_of_core import LEAST_ROOM

    import_module("polars")  # so that its own memory is included
    allowed = machine_bytes() // 2 if memory is None else size_in_bytes(memory)
    used = peak_bytes() or 0
    if allowed - used < LEAST_ROOM:
        raise ConfigError(
            f"memory {memory}: the process uses {used / 1e6:.0f} MB before it counts and needs "
            f"{LEAST_ROOM / 1e6:.0f} MB to count; give at least {(used + LEAST_ROOM) / 1e6 + 1:.0f}MB"
        )
    return allowed - used


def size_in_bytes(size: str) -> int:
    """The bytes in words such as 500MB, 2GB or 1.5GiB."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:e\+?\d+)?)\s*([kMGT]?)(i?)B?\s*", size, re.IGNORECASE)
    if match is None:
        raise ConfigError(f"memory {size!r:.60} is not a size; write it as 500MB, 2GB or 1.5GiB")
    number, prefix, binary = match.groups()
    amount = float(number) * (1024 if binary else 1000) ** " kmgt".index(prefix.lower() or " ")
    if amount > LARGEST:
        raise ConfigError(f"memory {size!r:.60} is more than any machine has; write it as 500MB, 2GB or 1.5GiB")
    return int(amount)
