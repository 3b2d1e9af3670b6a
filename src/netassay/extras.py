"""Packages that netassay's extras install."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from netassay.errors import ExtraMissing

_NO_WHEELS_FROM = {"pybigtools": (3, 14)}
"""The first Python for which a package is not released."""


def require(package: str, extra: str, what: str) -> Any:
    """The package, imported. ExtraMissing where it is not installed: `what` needs it, and `extra` installs it."""
    try:
        return import_module(package)
    except ImportError as error:
        first = _NO_WHEELS_FROM.get(package)
        late = first is not None and sys.version_info >= first
        older = f", with Python before {first[0]}.{first[1]}" if first is not None and late else ""
        raise ExtraMissing(
            f"{what} needs the package {package}; install netassay[{extra}] (pip install 'netassay[{extra}]'){older}"
        ) from error


def is_installed(package: str) -> bool:
    """Whether a package can be imported; it is not imported to find out."""
    return find_spec(package) is not None
