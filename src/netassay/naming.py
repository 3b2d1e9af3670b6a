"""Names of runs in legends, panels and tables: only what differs between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from netassay.reporting import Axis
from netassay.runs import Run
from netassay.runs.folders import DIGITS

_WORDS = {"step_size": "step size η", "seed": "seed", "depth": "hidden layers", "dtype": "arithmetic"}
_BASE = "base"
_SPEAKING = ("loss", "optimiser", "network", "activation", "data")  # keys whose values speak for themselves


class Names(NamedTuple):
    """Names of runs in the order of their values; `axis` says what they name, `following` lists keys in no name.

    `grid` maps a run to its panel and series, if runs differ in two keys and fill the table of both; `series` is the
    title of the series.
    """

    axis: Axis
    of: dict[Run, str]
    following: tuple[str, ...]
    grid: dict[Run, tuple[str, str]]
    series: str


def differing(runs: Sequence[Run], untold: Collection[str] = ()) -> list[str]:
    """Config keys in which runs differ, except those of `untold`, in the order of the first config that has each."""
    keys = dict.fromkeys(key for run in runs for key in run.config if key not in untold)
    return [key for key in keys if len({str(run.config.get(key)) for run in runs}) > 1]


def unique_names(names: Mapping[Run, str]) -> dict[Run, str]:
    """The names; shared ones with the end of the id, or with the store if the ids are equal."""
    counts = Counter(names.values())
    ids = Counter((name, run.id) for run, name in names.items())
    return {
        run: name
        if counts[name] == 1
        else f"{name} ({run.id[-DIGITS:] if ids[name, run.id] == 1 else run.folder.parent})"
        for run, name in names.items()
    }


def run_names(runs: Sequence[Run], following: Sequence[str] = ()) -> Names:
    """Names of runs by the config keys in which they differ, and by their stores if configs are equal.

    Keys of `following` are omitted, in that order, if the others distinguish the runs as well.
    """
    different = differing(runs)
    keys = _distinguishing(runs, different, following)
    ordered = sorted(runs, key=lambda run: tuple(_sortable(run.config.get(key)) for key in keys))
    axis, names = _axis_and_names(ordered, keys)
    counts = Counter(names.values())
    grid, series = _grid(ordered, keys) if len(counts) == len(runs) else ({}, "")
    return Names(axis, unique_names(names), tuple(key for key in different if key not in keys), grid, series)


def value(setting: object) -> str:
    """All digits: two values that differ must not become one line."""
    return repr(setting).removesuffix(".0") if isinstance(setting, float) else str(setting)


def _distinguishing(runs: Sequence[Run], keys: Sequence[str], following: Sequence[str]) -> list[str]:
    """The keys without those that add nothing to the others."""
    minimal = list(keys)
    apart = _distinct(runs, minimal)
    for key in following:
        shorter = [candidate for candidate in minimal if candidate != key]
        if set(shorter) - {"seed"} and len(shorter) < len(minimal) and _distinct(runs, shorter) == apart:
            minimal = shorter
    # an architecture is named before its step size
    return sorted(minimal, key=lambda key: following.index(key) if key in following else -1)


def _distinct(runs: Sequence[Run], keys: Sequence[str]) -> int:
    return len({tuple(str(run.config.get(key)) for key in keys) for run in runs})


def _axis_and_names(runs: Sequence[Run], keys: Sequence[str]) -> tuple[Axis, dict[Run, str]]:
    if len(keys) <= 1:
        key = keys[0] if keys else "step_size"
        title = _WORDS.get(key, key.replace("_", " "))
        return Axis("run", title=title), {run: value(run.config.get(key)) for run in runs}
    usual = {key: Counter(value(run.config.get(key)) for run in runs).most_common(1)[0][0] for key in keys}
    changed = {
        run: [key for key in keys if value(run.config.get(key)) != usual[key]] if len(keys) > 2 else keys
        for run in runs
    }
    if len(keys) > 2 and max(map(len, changed.values())) > 1:
        changed = dict.fromkeys(runs, keys)  # no series of single changes: name every key
    return Axis("run"), {
        run: ", ".join(_phrase(key, run.config.get(key)) for key in own) or _BASE for run, own in changed.items()
    }


def _grid(runs: Sequence[Run], keys: Sequence[str]) -> tuple[dict[Run, tuple[str, str]], str]:
    if len(keys) != 2:
        return {}, ""
    # panels for the key of more values, so that the lines of one panel are few
    first, second = sorted(keys, key=lambda key: -_distinct(runs, [key]))
    if _distinct(runs, [first]) * _distinct(runs, [second]) != len(runs):
        return {}, ""
    places: Mapping[Run, tuple[object, object]] = {run: (run.config.get(first), run.config.get(second)) for run in runs}
    title = _WORDS.get(second, second.replace("_", " "))
    return {run: (_phrase(first, a), value(b)) for run, (a, b) in places.items()}, title


def _phrase(key: str, setting: object) -> str:
    return value(setting) if key in _SPEAKING else f"{key} {value(setting)}"


def _sortable(setting: object) -> tuple[int, float, str]:
    number = isinstance(setting, int | float)
    return (0, float(setting), "") if number else (1, 0.0, str(setting))  # type: ignore[arg-type]


def enumeration(words: Iterable[object], last: str = "and") -> str:
    """Words as a list in a sentence.

    >>> enumeration(["a", "b", "c"])
    'a, b and c'
    """
    parts = [str(word) for word in words]
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}" if len(parts) > 1 else "".join(parts)
