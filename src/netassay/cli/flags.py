"""Values of command-line words, and the flags that several commands share."""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter, Token

from netassay.config import MOST, Config, NameList, allowed
from netassay.errors import ConfigError
from netassay.numerics.memory import LARGEST


def whole_number(kind: Any, words: Sequence[Token]) -> int:
    """The number in a flag's word; cyclopts by itself would round 1.5 to 2."""
    try:
        number = int(words[0].value)
    except ValueError:
        raise ValueError(f"{words[0].value[:40]!r} is not a whole number.") from None
    if abs(number) > MOST:
        raise ValueError(f"{words[0].value[:40]!r} is not allowed: whole numbers have 64 bits.")
    return number


def number(kind: Any, words: Sequence[Token]) -> float:
    """The finite number in a flag's word."""
    try:
        value = float(words[0].value)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{words[0].value[:40]!r} is not a finite number.")
    return value


def whole_numbers(kind: Any, words: Sequence[Token]) -> tuple[int, ...]:
    """`whole_number` of a flag that takes several."""
    return tuple(whole_number(kind, [word]) for word in words)


def numbers_in_a_row(kind: Any, words: Sequence[Token]) -> tuple[int, ...]:
    """The whole numbers in a word with commas; "..." stands for omitted doublings, or else omitted equal steps."""
    numbers: list[int] = []
    gap = False
    for word in ",".join(token.value for token in words).split(","):
        if word.strip() in ("...", "…"):
            gap = True
            continue
        try:
            number = int(word)
        except ValueError:
            raise ValueError(f"{word[:40]!r} is not a whole number; write 1,2,4 or 1,2,4,...,1024.") from None
        if gap:
            numbers += _between(numbers, number)
        numbers.append(number)
        gap = False
    if gap:
        raise ValueError("give the last number after ..., as in 1,2,4,...,1024.")
    return tuple(numbers)


def _between(numbers: list[int], last: int) -> list[int]:
    if len(numbers) < 2 or numbers[-1] <= numbers[-2] or numbers[-2] < 1:
        raise ValueError("give two rising numbers before ..., as in 1,2,4,...,1024.")
    before, current = numbers[-2:]
    # doublings if the last number is twice the one before; 1,2 alone could also be steps of one
    doubling = current == 2 * before
    middle = []
    while (current := 2 * current if doubling else current + numbers[-1] - before) < last:
        middle.append(current)
        if len(middle) > 1_000_000:
            raise ValueError("more than a million numbers are left out by ...; give fewer.")
    return middle


def folder(kind: Any, words: Sequence[Token]) -> Path:
    """The path in a flag's word; cyclopts by itself would take an empty one for the current folder."""
    if not words[0].value:
        raise ValueError('"" is not a folder; write "." for the current one.')
    return Path(words[0].value)


def path(kind: Any, words: Sequence[Token]) -> Path:
    """The path in a flag's word, which is not empty."""
    if not words[0].value:
        raise ValueError('"" is not the name of a file or folder.')
    return Path(words[0].value)


Store = Annotated[Path, Parameter(converter=folder, help="Folder that holds the runs.")]
Threads = Annotated[
    int | None,
    Parameter(
        converter=whole_number, help="Number of threads; by default that with which the run began, or all cores."
    ),
]
OwnThreads = Annotated[int | None, Parameter(converter=whole_number, help="Threads (1 to 1024); by default all cores.")]
Quiet = Annotated[bool, Parameter(help="Show no progress.", negative="")]
_THOUSANDS = {"": 0, "K": 1, "M": 2, "G": 3, "B": 3, "T": 4}


def count(kind: Any, words: Sequence[Token]) -> int:
    """The whole number in a flag's word, written as 1000000, 1e6, 124M or 1.5B (k, M, B, T: thousands to
    trillions)."""
    word = words[0].value.strip()
    match = re.fullmatch(r"([+-]?\d[\d_]*(?:\.\d+)?(?:[eE]\+?\d{1,3})?)([kKMGBT]?)", word)
    if match is None:
        raise ValueError(f"{word[:40]!r} is not a whole number; write it as 1000000, 1e6 or 1M.")
    number = Decimal(match[1]) * 1000 ** _THOUSANDS[match[2].upper()]
    if abs(number) > LARGEST:
        raise ValueError(f"{word[:40]!r} is more than {LARGEST:.0e}, which is more than any model has.")
    if number != int(number):
        raise ValueError(f"{word[:40]!r} is not a whole number.")
    return int(number)


def conditions(words: list[str]) -> dict[str, Any]:
    """KEY=VALUE words as a mapping; values that are valid JSON (numbers, true, null) are parsed as JSON."""
    conditions = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ConfigError(f"--where {word!r}: give KEY=VALUE, for example activation=tanh")
        try:
            conditions[key] = json.loads(value)
        except (ValueError, RecursionError):  # not JSON, or more digits or brackets than the parser reads
            conditions[key] = value
    return conditions


CONFIG_PLACE = 2
CONFIG_KEYS = Group("Config", sort_key=CONFIG_PLACE)


def config_flags(config: type[Config]) -> list[inspect.Parameter]:
    """A flag for each key of a config."""
    flags = []
    headings = {
        key: Group(heading, sort_key=CONFIG_PLACE + place)
        for place, (heading, keys) in enumerate(config.groups.items(), 1)
        for key in keys
    }
    for name, field in config.model_fields.items():
        meaning = " ".join((field.description or "").split())
        limits = allowed(field)
        words = meaning if "|" in limits else f"{meaning} [{limits}]"
        is_integer = field.annotation in (int, int | None)
        parameter = Parameter(help=words, converter=whole_number if is_integer else None)
        # a list of names is one word with commas at the command line
        kind, default = (str, field.default.text) if field.annotation is NameList else (field.annotation, field.default)
        flags.append(flag(name, Annotated[kind, parameter], default, headings.get(name, CONFIG_KEYS)))
    return flags


def flag(name: str, kind: Any, default: Any, group: Group) -> inspect.Parameter:
    # only flags that were given reach the command: values of a file hold unless a flag overrides them
    grouped = Annotated[kind, Parameter(group=group)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=grouped)
