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


class Course(NamedTuple):
    """The number by which a run is followed while it goes on: a metric of its study, under a label.

    With `above`, another metric, what is shown is the share by which the number exceeds that one. Of a study whose runs
    mostly end before their last step (`ends_early`) no time left is shown.

    >>> Course("gap", "loss", above=("corpus", "bound")).value(3.0, 2.0)
    0.5
    """

    label: str
    name: str
    part: str = ""
    above: tuple[str, str] | None = None
    ends_early: bool = False

    def value(self, number: float, floor: float | None = None) -> float | None:
        """The number as it is shown; None where what it is compared with is missing or not above 0."""
        if self.above is None:
            return number
        return (number - floor) / floor if floor is not None and floor > 0 else None
