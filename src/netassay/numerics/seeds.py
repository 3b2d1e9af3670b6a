"""One seed, many independent streams."""

from __future__ import annotations

import hashlib

import torch

from netassay.errors import ModelError


def generator(seed: int, *purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A separate generator for each purpose ("init", "order", ...) of a run's seed.

    The stream is keyed by SHA-256 of seed and purpose, so adding a purpose never shifts another's numbers.
    """
    words = "/".join((str(seed), *purpose))
    key = int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "little") >> 1
    return torch.Generator(device=device).manual_seed(key)


def given(draws: torch.Generator | None) -> torch.Generator:
    """The generator that a caller gave, or one of a fixed seed. ModelError for anything else."""
    if draws is None:
        return torch.Generator().manual_seed(0)
    if not isinstance(draws, torch.Generator):
        raise ModelError(
            f"generator = {draws!r} is a {type(draws).__name__}; give a torch.Generator, for example "
            "torch.Generator().manual_seed(3), or none"
        )
    return draws
