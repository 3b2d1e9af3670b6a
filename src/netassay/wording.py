"""Words for sentences about runs: lists, and the command that repeats a run."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from netassay.errors import NetassayError
from netassay.runs import Run
from netassay.study import find

_COMMANDS = {"aitac-interpret": ("interpret", ("run",)), "aitac-transfer": ("transfer", ("run",))}
"""Commands whose name differs from that of their runs, and the keys that they take without a flag."""


def command(run: Run) -> str:
    """The command line that repeats a run: its study and the keys that are not at their defaults.

    >>> from pathlib import Path
    >>> command(Run(Path("runs/edge-1"), "edge", {"study": "edge", "steps": 5}, "", ""))
    'netassay edge --steps 5'
    """
    try:
        defaults = find(run.study).config().mapping()
    except NetassayError:
        return ""
    word, positional = _COMMANDS.get(run.study, (run.study, ()))
    options = [
        option
        for key, value in run.config.items()
        if key not in ("study", *positional) and value != defaults.get(key)
        for option in _option(key, value)
    ]
    arguments = [str(run.config[key]) for key in positional if run.config.get(key)]
    return shlex.join(["netassay", word, *arguments, *options])


def _option(key: str, value: object) -> list[str]:
    flag = "--" + key.replace("_", "-")
    if isinstance(value, bool):
        return [flag if value else "--no-" + key.replace("_", "-")]
    words = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return [flag, words]


def enumeration(words: Iterable[object], last: str = "and") -> str:
    """Words as a list in a sentence.

    >>> enumeration(["a", "b", "c"])
    'a, b and c'
    """
    parts = [str(word) for word in words]
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}" if len(parts) > 1 else "".join(parts)
