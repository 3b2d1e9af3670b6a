"""What a study records, as data: documentation is generated from it, and tests check runs against it."""

from __future__ import annotations

import re
from typing import NamedTuple


class Quantity(NamedTuple):
    """One row of a study's metrics: names, parts, schedule and meaning.

    `part` lists the parts with commas: "" is the network, layer the name of any layer, rank a number from 1, reason any
    words. `at` says when it is recorded, `key` which key of the config enables it, `error` how wrong it may be (if that
    mentions `..._error`, there is a metric of that name too), `source` who defined it.

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
        """Whether this row describes a metric of this name and part."""
        plain = name.removesuffix("_error") if "_error" in self.error else name
        return bool({name, plain} & {*self.names}) and any(
            re.fullmatch(_form(words), part) for words in self.part.split(", ")
        )


def _form(words: str) -> str:
    plain = re.escape(words.replace('""', ""))
    return plain.replace("layer", ".+").replace("rank", r"\d+").replace("reason", ".+")


class Course(NamedTuple):
    """The number that shows the progress of a run: a metric of its study, under a label.

    With `above`, another metric, the excess over that one is shown as a fraction of it. If the runs of a study mostly
    end before their last step (`ends_early`), no remaining time is shown.

    >>> Course("gap", "loss", above=("corpus", "bound")).value(3.0, 2.0)
    0.5
    """

    label: str
    name: str
    part: str = ""
    above: tuple[str, str] | None = None
    ends_early: bool = False

    def value(self, number: float, floor: float | None = None) -> float | None:
        """The number as shown; None if the one it is compared with is missing or not above 0."""
        if self.above is None:
            return number
        return (number - floor) / floor if floor is not None and floor > 0 else None
