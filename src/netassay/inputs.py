"""Bounds on what is read from untrusted files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from netassay.errors import ConfigError, DataError, NetassayError

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
_BOUNDS = {
    "LONGEST_LINE": 1 << 28,
    "LARGEST_CONFIG": 1 << 22,
    "LARGEST_ARRAY": 1 << 32,
    "LARGEST_FILE": 1 << 40,
}
"""Bytes, each raised by the environment variable of its name after NETASSAY_."""


def bound(name: str) -> int:
    """A bound in bytes. ConfigError where its environment variable holds no whole number above 0."""
    text = os.environ.get(variable(name), "")
    if not text:
        return _BOUNDS[name]
    if not text.isdecimal() or len(text) > 18 or not int(text):
        raise ConfigError(f"{variable(name)}={text!r:.40} is not allowed: whole number of bytes above 0")
    return int(text)


def variable(name: str) -> str:
    """The environment variable that raises a bound."""
    return f"NETASSAY_{name}"


def refuse_odd_file(
    path: Path | str, limit_name: str = "LARGEST_FILE", *, refusal: type[NetassayError] = DataError
) -> None:
    """Raises `refusal` for a pipe, device or socket, which may never end, and for a file beyond the bound `limit_name`.

    Missing files, folders and files whose status cannot be read are left to the code that opens them.
    """
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return
    if (kind := _KINDS.get(stat.S_IFMT(status.st_mode))) is not None:
        raise refusal(f"{path}: is {kind}, not a file; write its output to a file and give that")
    refuse_size(path, status.st_size, limit_name, refusal=refusal)


def refuse_size(
    where: Path | str, size: int, limit_name: str, *, phrase: str = "has", refusal: type[NetassayError] = DataError
) -> None:
    """Raises `refusal` for more bytes than the bound `limit_name`."""
    if size > (limit := bound(limit_name)):
        raise refusal(
            f"{where}: {phrase} {size:,} bytes, and at most {limit:,} are read; if that is right, raise "
            f"{variable(limit_name)}"
        )


def is_utf_8(path: Path | str) -> bool:
    """Whether a path can be written in UTF-8, as names in other encodings cannot."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def require_utf_8_name(path: Path | str) -> None:
    """Raises DataError for a path that is not UTF-8, which polars takes none of."""
    if not is_utf_8(path):
        raise DataError(
            f"{path}: the name is not UTF-8, and files of this form are read by UTF-8 names alone; rename it"
        )


def utf_8_name(path: Path) -> str:
    """The name of a file, bytes that are not UTF-8 as escapes, for tables and facts."""
    return path.name.encode(errors="backslashreplace").decode()
