"""Packages that netassay's extras install."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from netassay.errors import ExtraMissing


def require(package: str, extra: str, what: str) -> Any:
    """The package, imported. ExtraMissing where it is not installed: `what` needs it, and `extra` installs it."""
    try:
        return import_module(package)
    except ImportError as error:
        raise ExtraMissing(
            f"{what} needs the package {package}; install netassay[{extra}] (pip install 'netassay[{extra}]')"
        ) from error


def is_installed(package: str) -> bool:
    """Whether a package can be imported; it is not imported to find out."""
    return find_spec(package) is not None
