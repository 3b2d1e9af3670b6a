"""Versions that a driver and its workers must share: python -m netassay.sweeps.versions prints those of this Python."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

import netassay

_PACKAGES = ("torch", "submitit", "ray")
COMPARED = ("netassay", "python", "torch")


def versions() -> dict[str, str]:
    """netassay, Python (major and minor), and the packages that matter; "" for one that is not installed."""
    return {
        "netassay": netassay.__version__,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        **{package: _version(package) for package in _PACKAGES},
    }


def difference(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """Where two sets of versions differ, in words; "" where they do not."""
    pairs = [(name, here.get(name, ""), there.get(name, "")) for name in COMPARED]
    return ", ".join(
        f"{name} {mine or 'missing'} here and {theirs or 'missing'} there"
        for name, mine, theirs in pairs
        if mine != theirs
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


if __name__ == "__main__":
    print(json.dumps(versions()))
