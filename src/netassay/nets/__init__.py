"""Plain modules that any study may take: mlp, decoder, averaging, sequence_cnn, and what they are made of."""

from importlib import import_module
from typing import Any

# public name -> module that holds it; imported on first use, so that reading a config loads no torch
_HOMES = {
    "AITAC": "netassay.nets.sequence_cnn",
    "AveragingNetwork": "netassay.nets.averaging",
    "Decoder": "netassay.nets.decoder",
    "ExperimentDecoder": "netassay.nets.decoder",
    "MLP": "netassay.nets.mlp",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'netassay.nets' has no attribute {name!r}; it has: {', '.join(_HOMES)}")


def __dir__() -> list[str]:
    return sorted(__all__)
