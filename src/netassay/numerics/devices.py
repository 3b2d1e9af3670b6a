"""Devices: which one, their settings and memory, and random draws that are the same on each."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import torch

from netassay import processes
from netassay.errors import ConfigError, ModelError

_TYPES = {"cpu", "cuda", "mps"}


def device(name: str) -> torch.device:
    """The torch device of that name ("cpu", "cuda", "cuda:1", "mps"); ConfigError where this machine has none."""
    target: torch.device | None = None
    with suppress(RuntimeError):
        target = torch.device(name)
    if target is None or target.type not in _TYPES:
        raise ConfigError(f"device {name!r} is not known; allowed: cpu, cuda, cuda:N, mps")
    if target.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {name!r} was asked for and this machine has no usable GPU; use cpu")
    if target.type == "cuda" and (target.index or 0) >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise ConfigError(f"device {name!r} was asked for; this machine has cuda:0 to cuda:{last}")
    if target.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(f"device {name!r} was asked for and this machine has no usable Apple GPU; use cpu")
    return target


def free_memory(device: torch.device) -> int | None:
    """Free bytes on a device, None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return processes.free_bytes()


def environment() -> dict[str, Any]:
    """What can change the last bits of a number, apart from the config."""
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


@contextmanager
def settings(threads: int | None) -> Iterator[Mapping[str, Any]]:
    """Sets threads and flushes denormals (late training crawls through them), and restores both.

    Yields `environment()` under these settings.
    """
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    try:
        yield environment()
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(False)


def generator(seed: int, *purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A separate generator for each purpose ("init", "order", ...) of a run's seed.

    The stream is keyed by SHA-256 of seed and purpose, so adding a purpose never shifts another's numbers.
    """
    words = "/".join((str(seed), *purpose))
    key = int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "little") >> 1
    return torch.Generator(device=device).manual_seed(key)


def generator_or_default(draws: torch.Generator | None) -> torch.Generator:
    """The generator that a caller gave, or one of a fixed seed. ModelError for anything else."""
    if draws is None:
        return torch.Generator().manual_seed(0)
    if not isinstance(draws, torch.Generator):
        raise ModelError(
            f"generator = {draws!r} is a {type(draws).__name__}; give a torch.Generator, for example "
            "torch.Generator().manual_seed(3), or none"
        )
    return draws
