"""How many threads a command may use."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from netassay.errors import ConfigError

MOST = 1024
_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")
"""Read by torch, NumPy's libraries and polars when they are loaded, which a command does after its words are read."""


@contextmanager
def of_threads(number: int | None) -> Iterator[None]:
    """Within it what is loaded uses this many threads; None changes nothing. ConfigError outside 1 to 1024."""
    if number is None:
        yield
        return
    if not 1 <= number <= MOST:
        raise ConfigError(f"threads = {number} is not allowed: whole number 1 to {MOST}")
    before = {name: os.environ.get(name) for name in _VARIABLES}
    os.environ.update(dict.fromkeys(_VARIABLES, str(number)))
    torch = sys.modules.get("torch")
    earlier = None if torch is None else torch.get_num_threads()
    if torch is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        if torch is not None:
            torch.set_num_threads(earlier)
