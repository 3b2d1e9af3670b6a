"""How a column is shown on an axis, and the lines at fixed values."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from netassay.errors import DataError

_UNSPOKEN = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")


@dataclass(frozen=True)
class Axis:
    """A column and how it is shown. `domain` bounds the axis; without it the data do."""

    column: str
    title: str = ""
    unit: str = ""
    log: bool = False
    domain: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        low, high = self.domain or (1.0, 2.0)
        if not (-math.inf < low < high < math.inf) or (self.log and low <= 0):
            raise DataError(
                f"domain {self.domain} of axis {self.column!r}: give (low, high), finite, low below high, "
                "and above zero where the axis is logarithmic"
            )

    @property
    def label(self) -> str:
        words = self.title or self.column
        # titles become parts of Vega expressions, whose strings must not contain line separators or control characters
        return _UNSPOKEN.sub("\ufffd", f"{words} ({self.unit})" if self.unit else words)


@dataclass(frozen=True)
class Rule:
    """A labelled horizontal line at `value`; in the colour of `series` and only in `panel`, if given."""

    value: float
    label: str
    series: Any = None
    panel: Any = None
