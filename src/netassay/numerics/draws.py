"""NumPy's draws from a seed that a user gives."""

from __future__ import annotations

import numpy as np

from netassay.errors import ConfigError


def numpy_draws(seed: int, purpose: int) -> np.random.Generator:
    """The draws of a seed for one purpose, a number of its own. ConfigError for a negative seed."""
    if seed < 0:
        raise ConfigError(f"seed = {seed} is not allowed: whole number from 0")
    return np.random.default_rng([seed, purpose])
