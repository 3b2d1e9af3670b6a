"""Untrusted text on its way to a terminal."""

from __future__ import annotations

import re

# C0 except tab and line end, DEL, C1, marks that reverse or break the line, lone surrogates
_HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """The text, with escapes for characters that would control a terminal.

    >>> visible("a\\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    return _HIDDEN.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
