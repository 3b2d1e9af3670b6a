"""Runs as rows: their values by key, which of these differ, and which rows meet a condition."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from netassay.errors import StoreError, did_you_mean
from netassay.runs.folders import State
from netassay.runs.ledger import Status
from netassay.runs.run import Run

if TYPE_CHECKING:
    from polars import DataFrame

    from netassay.runs.verify import Problem

_FIXED = ("id", "study", "state", "step", "seconds", "created", "message")
_TAG = "tag"
_AS_IN_JSON = (str, int, bool, float)


@dataclass(frozen=True)
class Entry:
    """A run with what was read of it at one moment."""

    run: Run
    status: Status
    state: State
    tags: tuple[str, ...] = ()

    @cached_property
    def values(self) -> dict[str, Any]:
        """Its config, keys of keys joined by dots."""
        return flatten(self.run.config)

    def value(self, key: str) -> Any:
        """What a condition on `key` is held against; KeyError where the run has no such key."""
        if key in ("id", "study"):
            return getattr(self.run, key)
        return str(self.state) if key == "state" else self.values[key]

    def meets(self, key: str, wanted: Any) -> bool:
        """Whether the run has this value, or this tag."""
        if key == _TAG:
            return (wanted if isinstance(wanted, str) else json.dumps(wanted)) in self.tags
        try:
            stored = self.value(key)
        except KeyError:
            return False
        # True == 1 in Python, but not in a config
        return bool(stored == wanted) and isinstance(stored, bool) == isinstance(wanted, bool)


def matches(entries: Sequence[Entry], where: Mapping[str, Any]) -> list[Entry]:
    """Entries whose values equal all of `where`. StoreError for a key that none of them has."""
    chosen = list(entries)
    keys: set[str] | None = None
    for key, given in where.items():
        wanted = list(given) if isinstance(given, tuple) else given
        if key not in ("id", "study", "state", _TAG) and not any(key in entry.values for entry in entries):
            keys = keys or {"id", "study", "state", _TAG, *(name for entry in entries for name in entry.values)}
            if entries:
                raise StoreError(f"no run in {entries[0].run.folder.parent} has {key!r}; {did_you_mean(key, keys)}")
        chosen = [entry for entry in chosen if entry.meets(key, wanted)]
    return chosen


def run_table(entries: Sequence[Entry], broken: Iterable[Problem], conditions: Iterable[str]) -> DataFrame:
    """A row for each run: what all have, tags if there are any, and config keys that differ or are in `conditions`."""
    import polars as pl

    runs = [entry.run for entry in entries]
    flat = [entry.values for entry in entries]
    columns: dict[str, list[Any]] = {
        "id": [run.id for run in runs],
        "study": [run.study for run in runs],
        "state": [str(entry.state) for entry in entries],
        "step": [entry.status.step for entry in entries],
        "seconds": [entry.status.seconds for entry in entries],
        "created": [run.created for run in runs],
        "message": [entry.status.message for entry in entries],
    }
    if any(entry.tags for entry in entries):
        columns["tags"] = [", ".join(entry.tags) for entry in entries]
    wanted = [key for key in conditions if key not in columns and any(key in values for values in flat)]
    for key in dict.fromkeys([*wanted, *differing(flat, columns["study"])]):
        name = f"config.{key}" if key in columns else key
        columns[name] = _column([values.get(key) for values in flat])
    for problem in broken:
        row = {"id": problem.run, "state": "damaged", "message": problem.what}
        for name, values in columns.items():
            values.append(row.get(name))
    text = dict.fromkeys(("id", "study", "state", "created", "message"), pl.String)
    return pl.DataFrame(columns, schema_overrides={**text, "step": pl.Int64, "seconds": pl.Float64})


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The config with one level, keys of keys joined by dots."""
    if not prefix and dict not in set(map(type, config.values())):
        return dict(config)
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def differing(flat: Sequence[Mapping[str, Any]], studies: Sequence[str]) -> list[str]:
    """Keys in which runs of one study differ; those of two studies differ in nearly all."""
    keys = dict.fromkeys(key for values in flat for key in values if key != "study")
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for values, study in zip(flat, studies, strict=True):
        groups.setdefault(study, []).append(values)
    return [key for key in keys if not all(_alike([run.get(key) for run in runs]) for runs in groups.values())]


def _alike(values: list[Any]) -> bool:
    """Whether values are equal in JSON: 1, 1.0 and true are three, as are 0.0 and -0.0, and NaN is NaN."""
    first = values[0]
    is_plain = first and type(first) in _AS_IN_JSON and set(map(type, values)) == {type(first)}
    if is_plain and values.count(first) == len(values):
        return True
    text = json.dumps(first)
    return all(value is first or json.dumps(value) == text for value in values)


def _column(values: list[Any]) -> list[Any]:
    """Values of one scalar type as they are (int among float as float), anything else as JSON text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    if len(kinds) == 1 and kinds <= {int, float, str, bool}:
        return values
    return [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
