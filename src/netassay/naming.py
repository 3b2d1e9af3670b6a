"""How runs are told apart in legends, panels and tables: by what differs between them, and by no more than that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from netassay.reporting import Axis
from netassay.runs import Run
from netassay.runs.states import DIGITS

_WORDS = {"step_size": "step size η", "seed": "seed", "depth": "hidden layers", "dtype": "arithmetic"}
_BASE = "base"
_SPEAKING = ("loss", "optimiser", "network", "activation", "data")  # whose values need no key before them


class Names(NamedTuple):
    """Run -> its name, in the order of the values; `axis` what the names are of; `following` keys that are in no name.

    `grid` maps a run to the panel and series it is drawn in, where runs differ in two keys and fill the table of both;
    `series` is what the series are of.
    """

    axis: Axis
    of: dict[Run, str]
    following: tuple[str, ...]
    grid: dict[Run, tuple[str, str]]
    series: str


def differing(runs: Sequence[Run], untold: Collection[str] = ()) -> list[str]:
    """Config keys in which runs differ, but for those of `untold`, in the order of the first config that has each."""
    keys = dict.fromkeys(key for run in runs for key in run.config if key not in untold)
    return [key for key in keys if len({str(run.config.get(key)) for run in runs}) > 1]


def once_each(names: Mapping[Run, str]) -> dict[Run, str]:
    """The names; those that several runs have with the end of the id, or the store, where the ids are the same."""
    counted = Counter(names.values())
    ids = Counter((name, run.id) for run, name in names.items())
    return {
        run: name
        if counted[name] == 1
        else f"{name} ({run.id[-DIGITS:] if ids[name, run.id] == 1 else run.folder.parent})"
        for run, name in names.items()
    }


def told_apart(runs: Sequence[Run], following: Sequence[str] = ()) -> Names:
    """Names of runs, by the config keys in which they differ, and by the store where another has the same config.

    Keys of `following` are left out, the first of them first, where the others tell the runs apart as well.
    """
    different = differing(runs)
    keys = _needed(runs, different, following)
    ordered = sorted(runs, key=lambda run: tuple(_sortable(run.config.get(key)) for key in keys))
    axis, named = _named(ordered, keys)
    counted = Counter(named.values())
    grid, series = _grid(ordered, keys) if len(counted) == len(runs) else ({}, "")
    return Names(axis, once_each(named), tuple(key for key in different if key not in keys), grid, series)


def value(given: object) -> str:
    """All digits: two values that differ must not become one line."""
    return repr(given).removesuffix(".0") if isinstance(given, float) else str(given)


def _needed(runs: Sequence[Run], keys: Sequence[str], following: Sequence[str]) -> list[str]:
    """The keys without those that tell nothing more than the others."""
    needed = list(keys)
    apart = _distinct(runs, needed)
    for key in following:
        rest = [other for other in needed if other != key]
        if set(rest) - {"seed"} and len(rest) < len(needed) and _distinct(runs, rest) == apart:
            needed = rest
    # an architecture is named before its step size
    return sorted(needed, key=lambda key: following.index(key) if key in following else -1)


def _distinct(runs: Sequence[Run], keys: Sequence[str]) -> int:
    return len({tuple(str(run.config.get(key)) for key in keys) for run in runs})


def _named(runs: Sequence[Run], keys: Sequence[str]) -> tuple[Axis, dict[Run, str]]:
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
        changed = dict.fromkeys(runs, keys)  # no series of single changes: all is said
    return Axis("run"), {
        run: ", ".join(_said(key, run.config.get(key)) for key in own) or _BASE for run, own in changed.items()
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
    return {run: (_said(first, a), value(b)) for run, (a, b) in places.items()}, title


def _said(key: str, given: object) -> str:
    return value(given) if key in _SPEAKING else f"{key} {value(given)}"


def _sortable(given: object) -> tuple[int, float, str]:
    number = isinstance(given, int | float)
    return (0, float(given), "") if number else (1, 0.0, str(given))  # type: ignore[arg-type]
