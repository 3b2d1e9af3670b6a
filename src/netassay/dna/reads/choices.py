"""What may be chosen for counting, in words; read by the command line, so nothing heavy is loaded here."""

from __future__ import annotations

from typing import Literal

Count = Literal["insertions", "fragments"]
Duplicates = Literal["auto", "keep", "drop"]
Scale = Literal["none", "cpm", "size-factors", "specificity"]
