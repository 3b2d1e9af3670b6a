"""How much memory counting may take: a size in words, and what this process holds already."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from netassay.errors import ConfigError

LARGEST = 10**18
"""More bytes than any machine has, and more parameters than any model."""


def room(memory: str | None) -> int:
    """Bytes left for counting, out of those that the process may take or of half this machine's."""
    from netassay.corpus.out_of_core import LEAST_ROOM

    import_module("polars")  # so that its own memory is part of what is taken
    allowed = _machine_bytes() // 2 if memory is None else size_in_bytes(memory)
    taken = peak_bytes() or 0
    if allowed - taken < LEAST_ROOM:
        raise ConfigError(
            f"memory {memory}: the process takes {taken / 1e6:.0f} MB before it counts and needs "
            f"{LEAST_ROOM / 1e6:.0f} MB to count; give at least {(taken + LEAST_ROOM) / 1e6 + 1:.0f}MB"
        )
    return allowed - taken


def size_in_bytes(size: str) -> int:
    """The bytes in words such as 500MB, 2GB or 1.5GiB."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:e\+?\d+)?)\s*([kMGT]?)(i?)B?\s*", size, re.IGNORECASE)
    if match is None:
        raise ConfigError(f"memory {size!r:.60} is not a size; write it as 500MB, 2GB or 1.5GiB")
    number, prefix, binary = match.groups()
    amount = float(number) * (1024 if binary else 1000) ** " kmgt".index(prefix.lower() or " ")
    if amount > LARGEST:
        raise ConfigError(
            f"memory {size!r:.60} is more than any machine has; write it as 500MB, 2GB or 1.5GiB"
        )
    return int(amount)


def _machine_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 1 << 32


def peak_bytes() -> int | None:
    """The most memory that this process has held at once, where the system reports it."""
    with suppress(OSError):
        # of this program alone, where getrusage also counts what the process was before it ran this program
        match = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
        if match:
            return int(match[1]) * 1024
    with suppress(ImportError):
        resource = import_module("resource")
        used: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return used * (1 if sys.platform == "darwin" else 1024)
    return None
