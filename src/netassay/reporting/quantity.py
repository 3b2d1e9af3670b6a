"""What a study records, as data: pages of the documentation are made from it, and tests hold runs to it."""

from __future__ import annotations

import re
from typing import NamedTuple


class Quantity(NamedTuple):
    """One row of a study's metrics: their names, of what parts, when, and what they are.

    `part` lists the parts with commas, each a word or a pattern of words in capitals (LAYER, RANK, NAME), "" being the
    whole; `at` says when it is recorded. `key` is the key of the config that asks for it; `error` how wrong it may be,
    `source` who defined it.

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
        return name in self.names and any(
            re.fullmatch(form, part) for form in map(_form, self.part.split(", "))
        )


def _form(words: str) -> str:
    plain = re.escape(words.replace('""', ""))
    return plain.replace("layer", ".+").replace("rank", r"\d+").replace("name", ".+")
