"""One seed, many independent streams."""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, *purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of its own for each purpose ("init", "order", ...) of a run's seed.

    The stream is keyed by SHA-256 of seed and purpose, so adding a purpose never shifts another's numbers.
    """
    words = "/".join((str(seed), *purpose))
    key = int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "little") >> 1
    return torch.Generator(device=device).manual_seed(key)
