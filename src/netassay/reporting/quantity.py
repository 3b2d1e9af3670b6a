"""What a study records, as data: pages of the documentation are made from it, and tests hold runs to it."""

from __future__ import annotations

import re
from typing import NamedTuple


class Quantity(NamedTuple):
    """One row of a study's metrics: their names, of what parts, when, and what they are.

    `part` lists the parts with commas: "" is the whole, layer the name of any layer, rank a number from 1, reason any
    words. `at` says when it is recorded, `key` which key of the config asks for it, `error` how wrong it may be (where
    that speaks of `..._error`, there is a metric of that name too), `source` who defined it.

    >>> Quantity(("loss",), '""', "every step", "L(θ)").is_of("loss", "")
    True
    """

    names: tuple[str, ...]
    part: str
    at: str
    meaning: str
    key: str = ""
    error: str = ""
    source: str = ""

    def is_of(self, name: str, part: str) -> bool:
        """Whether a metric of this name and part is described by this row."""
        plain = name.removesuffix("_error") if "_error" in self.error else name
        return bool({name, plain} & {*self.names}) and any(
            re.fullmatch(_form(words), part) for words in self.part.split(", ")
        )


def _form(words: str) -> str:
    plain = re.escape(words.replace('""', ""))
    return plain.replace("layer", ".+").replace("rank", r"\d+").replace("reason", ".+")
