"""Main memory: size, free bytes, the peak use of this process, and what is left of what a user allows it."""

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


def machine_bytes() -> int:
    """Main memory of this machine; 4 GiB where the system does not say.

    >>> machine_bytes() > 0
    True
    """
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 1 << 32


def free_bytes() -> int | None:
    """Free main memory in bytes, within the limit of a container; None where the system does not say.

    >>> free_bytes() is None or free_bytes() >= 0
    True
    """
    free: list[int] = []
    with suppress(OSError, ValueError, IndexError):
        available = Path("/proc/meminfo").read_text().partition("MemAvailable:")[2]
        free.append(1024 * int(available.split()[0]))
    with suppress(OSError, ValueError):
        free.append(_allowed_by_container(Path("/sys/fs/cgroup")))
    return min(free, default=None)


def resident_bytes() -> int | None:
    """Main memory in bytes that this process uses now; None where the system does not say.

    >>> resident_bytes() is None or resident_bytes() > 0
    True
    """
    with suppress(OSError, ValueError, IndexError, AttributeError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return None


def peak_bytes() -> int | None:
    """Peak main memory of this process in bytes; None where the system does not say.

    >>> peak_bytes() is None or peak_bytes() > 0
    True
    """
    with suppress(OSError):
        # only this program; getrusage also counts what the process was before it ran this program
        status = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
        if status:
            return int(status[1]) * 1024
    with suppress(ImportError):
        resource = import_module("resource")
        used: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return used * (1 if sys.platform == "darwin" else 1024)
    return None


def room(memory: str | None, least: int) -> int:
    """Bytes left for counting, out of those that the process may take or of half this machine's.

    ConfigError where they are fewer than the least that counting needs.
    """
    import_module("polars")  # so that its own memory is included
    allowed = machine_bytes() // 2 if memory is None else size_in_bytes(memory)
    used = peak_bytes() or 0
    if allowed - used < least:
        raise ConfigError(
            f"memory {memory}: the process uses {used / 1e6:.0f} MB before it counts and needs "
            f"{least / 1e6:.0f} MB to count; give at least {(used + least) / 1e6 + 1:.0f}MB"
        )
    return allowed - used


def size_in_bytes(size: str) -> int:
    """The bytes in words such as 500MB, 2GB or 1.5GiB.

    >>> size_in_bytes("1.5GiB")
    1610612736
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:e\+?\d+)?)\s*([kMGT]?)(i?)B?\s*", size, re.IGNORECASE)
    if match is None:
        raise ConfigError(f"memory {size!r:.60} is not a size; write it as 500MB, 2GB or 1.5GiB")
    number, prefix, binary = match.groups()
    amount = float(number) * (1024 if binary else 1000) ** " kmgt".index(prefix.lower() or " ")
    if amount > LARGEST:
        raise ConfigError(f"memory {size!r:.60} is more than any machine has; write it as 500MB, 2GB or 1.5GiB")
    return int(amount)


def _allowed_by_container(folder: Path) -> int:
    """Bytes left to a container (control groups, version 2); ValueError where there is no limit."""
    limit, used = (int((folder / name).read_text()) for name in ("memory.max", "memory.current"))
    # the cache of files is released on demand
    cache = (folder / "memory.stat").read_text().partition("\ninactive_file ")[2].split()
    return max(0, limit - used + int(cache[0] if cache else 0))
