"""Main memory: size, free bytes, and the peak use of this process."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path


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


def _allowed_by_container(folder: Path) -> int:
    """Bytes left to a container (control groups, version 2); ValueError where there is no limit."""
    limit, used = (int((folder / name).read_text()) for name in ("memory.max", "memory.current"))
    # the cache of files is released on demand
    cache = (folder / "memory.stat").read_text().partition("\ninactive_file ")[2].split()
    return max(0, limit - used + int(cache[0] if cache else 0))
