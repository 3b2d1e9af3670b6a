"""Many runs as one table: found, selected, checked, exported, deleted."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netassay.errors import ConfigError, RunDamaged, RunWarning, StoreError
from netassay.files import write_file
from netassay.runs import folders
from netassay.runs.ledger import Status
from netassay.runs.run import Run
from netassay.runs.states import State, stored_state
from netassay.runs.verify import Problem

if TYPE_CHECKING:
    import polars as pl
    from polars import DataFrame

LATEST = "latest"
"""Word for the run of a store that was created last."""

_Entry = tuple[Run, Status, State]

FORMATS = ("csv", "parquet", "json")


class Store:
    """The runs in one folder; links in it are never followed, and a folder that does not exist yet holds no runs.

    Args:
        folder: Folder that holds the runs.

    Raises:
        StoreError: For a file.

    Example:
        >>> import netassay
        >>> store = netassay.Store("runs")
        >>> store.table({"study": "edge"}).height == len(store.select({"study": "edge"}))
        True
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = folders.store_folder(folder).absolute()
        if self.folder.exists() and not self.folder.is_dir():
            raise StoreError(f"store {self.folder}: is a file; give a folder")

    def runs(self) -> list[Run]:
        """All runs that can be read, by id; `unreadable` names the others."""
        return self._scan()[0]

    def unreadable(self) -> list[Problem]:
        """Folders named like a run that cannot be opened, with the reason."""
        return self._scan()[1]

    def table(self, where: Mapping[str, Any] | None = None) -> DataFrame:
        """List the runs of a store, with the config values in which they differ.

        Runs that cannot be read are listed too, with state "damaged" and the reason as message; under a condition they
        cause a warning.

        Args:
            where: Only runs with this value, KEY=VALUE, of a config key (a.b if nested), id, study or state; may be
                repeated. In Python a mapping.

        Returns:
            A row for each run: id, study, state, step, seconds, created, message, and the config values in which runs
            of one study differ or that `where` names.

        Raises:
            StoreError: For a key that no run has.

        Example:
            >>> import netassay
            >>> netassay.Store("runs").table({"study": "edge", "state": "finished"}).height
            1
        """
        import polars as pl

        entries, broken = self._look() if where is None else (self._matching(self._readable(), where), [])
        runs = [run for run, _, _ in entries]
        flat = [flatten(run.config) for run in runs]
        studies = [run.study for run in runs]
        fixed = ("id", "study", "state", "step", "seconds", "created", "message")
        columns: dict[str, list[Any]] = {
            name: [getattr(run, name) for run in runs] for name in ("id", "study", "created")
        }
        columns["state"] = [str(state) for _, _, state in entries]
        columns |= {
            name: [getattr(status, name) for _, status, _ in entries] for name in ("step", "seconds", "message")
        }
        columns = {name: columns[name] for name in fixed}
        where_keys = [key for key in where or () if any(key in values for values in flat) and key not in columns]
        for key in dict.fromkeys([*where_keys, *differing(flat, studies)]):
            name = f"config.{key}" if key in columns else key
            columns[name] = _column([values.get(key) for values in flat])
        for problem in broken:
            row = {"id": problem.run, "state": "damaged", "message": problem.what}
            for name, values in columns.items():
                values.append(row.get(name))
        text = dict.fromkeys(("id", "study", "state", "created", "message"), pl.String)
        return pl.DataFrame(columns, schema_overrides={**text, "step": pl.Int64, "seconds": pl.Float64})

    def select(self, where: Mapping[str, Any]) -> list[Run]:
        """Runs whose values equal all of `where`; keys: id, study, state or a config key (a.b if nested).

        Raises StoreError for a key that no run has.
        """
        return [run for run, _, _ in self._matching(self._readable(), where)]

    def _matching(self, entries: list[_Entry], where: Mapping[str, Any]) -> list[_Entry]:
        runs = [run for run, _, _ in entries]
        flat = [
            flatten(run.config) | {"id": run.id, "study": run.study, "state": str(state)} for run, _, state in entries
        ]
        keys = {key for values in flat for key in values}
        for key in where:
            if runs and key not in keys:
                raise StoreError(f"no run in {self.folder} has {key!r}; {_did_you_mean(key, keys)}")
        conditions = [(key, _plain(value)) for key, value in where.items()]
        return [
            entry
            for entry, values in zip(entries, flat, strict=True)
            if all(key in values and _same(values[key], value) for key, value in conditions)
        ]

    def find(self, prefix: str) -> Run:
        """The run with this id, or with the only id that begins with it; "latest" is the run that was created last.

        StoreError names the nearest if there is none.
        """
        ids = self._ids()
        if prefix == LATEST and ids:
            return max(self.runs(), key=lambda run: (run.created, run.folder.stat().st_mtime_ns))
        matches = [prefix] if prefix in ids else [name for name in ids if prefix and name.startswith(prefix)]
        if not matches:
            raise StoreError(f"no run {prefix!r} in {self.folder}; {_did_you_mean(prefix, ids)}")
        if len(matches) > 1:
            raise StoreError(f"{prefix!r} begins {len(matches)} runs: {', '.join(matches)}; give more of the id")
        return Run.open(folders.checked(self.folder / matches[0]))

    def verify(self, runs: Sequence[Run | Path | str] = ()) -> list[Problem]:
        """Check every byte of runs against what was recorded when it was written.

        Links and folders that only look like runs are problems too. The command's exit code is 2 if there are any.

        Args:
            runs: Ids, beginnings of ids, or folders of runs; by default all runs of the store.

        Returns:
            The problems: run, file, and what is wrong. Empty if every byte is as it was written.

        Raises:
            StoreError: For a run that does not exist.

        Example:
            >>> import netassay
            >>> netassay.Store("runs").verify()
            []
        """
        if runs:
            return [problem for run in runs for problem in find_run(run, self.folder).verify()]
        opened, problems = self._scan()
        for run in opened:
            problems += run.verify()
        return problems

    def delete(self, ids: Iterable[str] = (), *, where: Mapping[str, Any] | None = None) -> list[str]:
        """Delete runs, given by full id or by a condition; never anything outside the store.

        All are checked before the first is deleted; damaged runs can be deleted too, by id. The same command deletes
        what a killed deletion left.

        Args:
            ids: Full ids of runs.
            where: Runs with this value, KEY=VALUE; may be repeated. In Python a mapping.

        Returns:
            The ids of the deleted runs.

        Raises:
            ConfigError: If both `ids` and `where` are given.
            StoreError: For no id at all, and anything that is not a run of this store (a path, a link, another folder).
            RunLocked: For a run that is being written.

        Example:
            >>> import netassay
            >>> len(netassay.Store("runs").delete(["edge-1a2b3c4d5e6f"]))
            1
        """
        names = list(dict.fromkeys(ids))
        if where:
            if names:
                raise ConfigError("give either runs by id or --where, not both")
            names = [run.id for run in self.select(where)]
        if not names and not where:
            raise StoreError("no run is named; give the full ids of the runs to delete (netassay runs lists them)")
        removals = folders.begun_removals(self.folder)
        for name in names:
            if name not in removals or os.path.lexists(self._inside(name)):
                folders.checked(self._inside(name))
        for name in names:
            folders.remove(self.folder / name)
        return names

    def export(
        self,
        out: Path | str,
        runs: Iterable[Run | Path | str] | None = None,
        *,
        where: Mapping[str, Any] | None = None,
        format: str | None = None,
    ) -> Path:
        """Write the recorded numbers of runs as one table: run, study, step, name, part, value.

        JSON has no word for numbers that are not finite: they are the strings "NaN", "Infinity" and "-Infinity".
        Runs that cannot be read are left out of an export of all, each with a warning.

        Args:
            out: File to write; its ending (csv, parquet, json) gives the format.
            runs: Ids, beginnings of ids, or folders of runs; by default all runs of the store.
            where: Only runs with this value, KEY=VALUE; may be repeated. In Python a mapping.
            format: csv, parquet or json; by default that of the ending.

        Returns:
            The path of the file.

        Raises:
            ConfigError: If both `runs` and `where` are given.
            StoreError: For an unknown format, and a run or key that does not exist.
            RunDamaged: For a run of `runs` that cannot be read; nothing is written.

        Example:
            >>> import netassay
            >>> netassay.Store("runs").export("metrics.parquet", where={"study": "edge"}).name
            'metrics.parquet'
        """
        path = Path(out)
        format = path.suffix[1:].lower() if format is None else format
        if format not in FORMATS:
            raise StoreError(f"{path}: format {format!r} is not known; allowed: {', '.join(FORMATS)}")
        runs = None if runs is None else list(runs)
        frames = []
        for run in self.chosen(runs, where):
            try:
                frames.append(_metrics(run))
            except RunDamaged as cause:
                if runs:
                    raise
                warn_of(Problem(run.id, ".", str(cause)))
        write_file(path, _encoded(_concatenate(frames), format))
        return path

    def chosen(
        self, runs: Iterable[Run | Path | str] | None = None, where: Mapping[str, Any] | None = None
    ) -> list[Run]:
        """These runs, or those with these values, or all. ConfigError if both are given.

        A run that cannot be read is an error if it is one of `runs`, else a RunWarning.
        """
        names = None if runs is None else list(runs)
        if names and where:
            raise ConfigError("give either runs by name or --where, not both")
        if names or (runs is not None and where is None):
            return [find_run(run, self.folder) for run in names or ()]
        return [run for run, _, _ in self._matching(self._readable(), where or {})]

    def _ids(self) -> list[str]:
        if not self.folder.exists():
            return []
        return sorted(path.name for path in self.folder.iterdir() if folders.is_id(path.name))

    def _scan(self) -> tuple[list[Run], list[Problem]]:
        entries, problems = self._look()
        return [run for run, _, _ in entries], problems

    def _readable(self) -> list[_Entry]:
        """Every run that can be read, with its status and state; a RunWarning for the others."""
        entries, problems = self._look()
        for problem in problems:
            warn_of(problem)
        return entries

    def _look(self) -> tuple[list[_Entry], list[Problem]]:
        """Every run with its status and state, read once each, and those that cannot be read."""
        entries: list[_Entry] = []
        problems = []
        for name in self._ids():
            try:
                run, status = Run.look(folders.checked(self.folder / name))
                state = stored_state(run.folder, status)
                # the lock says whether a run stored as running is
                entries.append((run, status, run.state if state is State.RUNNING else state))
            except StoreError as cause:
                problems.append(Problem(name, ".", str(cause)))
        return entries, problems

    def _inside(self, name: str) -> Path:
        if not isinstance(name, str) or not folders.is_id(name):
            raise StoreError(f"{name!r} is not a run id; ids look like edge-0123456789ab, without any path")
        return self.folder / name


def find_run(run: Run | Path | str, store: Path | str = "runs") -> Run:
    """The run with that id, or with the only id in the store that begins with it, or in that folder."""
    if isinstance(run, Run):
        return run
    # a path, or a folder here; os.path, because Path raises for a name that is too long
    if isinstance(run, Path) or "/" in run or os.path.exists(f"{run}/run.sqlite"):  # noqa: PTH110
        return Run.open(Path(run))
    return Store(store).find(run)


def warn_of(problem: Problem) -> None:
    """Warns that a run is left out."""
    text = f"run {problem.run} cannot be read and is left out: {problem.what}"
    warnings.warn(text, RunWarning, stacklevel=3)


def _metrics(run: Run) -> pl.DataFrame:
    import polars as pl

    return run.metrics().select(pl.lit(run.id).alias("run"), pl.lit(run.study).alias("study"), pl.all())


def _concatenate(frames: list[pl.DataFrame]) -> pl.DataFrame:
    import polars as pl

    schema = {"run": pl.String, "study": pl.String, "step": pl.Int64, "name": pl.String, "part": pl.String}
    return pl.concat([pl.DataFrame(schema={**schema, "value": pl.Float64}), *frames])


def _encoded(frame: pl.DataFrame, format: str) -> bytes:
    import io

    buffer = io.BytesIO()
    if format == "json":
        rows = [{**row, "value": _json_number(row["value"])} for row in frame.iter_rows(named=True)]
        return json.dumps(rows, allow_nan=False).encode()
    frame.write_csv(buffer) if format == "csv" else frame.write_parquet(buffer)
    return buffer.getvalue()


def _json_number(value: float) -> float | str:
    return value if math.isfinite(value) else json.dumps(value)


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def differing(flat: list[dict[str, Any]], studies: list[str]) -> list[str]:
    """Keys in which runs of one study differ; runs of two studies differ in nearly all."""
    keys = dict.fromkeys(key for values in flat for key in values if key != "study")
    values_of: dict[str, dict[str, set[Any]]] = {key: {} for key in keys}
    for values, study in zip(flat, studies, strict=True):
        for key in keys:
            values_of[key].setdefault(study, set()).add(_hashed(values.get(key)))
    return [key for key, kinds in values_of.items() if any(len(different) > 1 for different in kinds.values())]


def _hashed(value: Any) -> Any:
    """Equal for values that are equal in JSON, where 1, 1.0 and true differ."""
    return (type(value), value) if isinstance(value, (str, int, type(None))) else json.dumps(value)


def _column(values: list[Any]) -> list[Any]:
    """Values of one scalar type unchanged (int among float as float), anything else as JSON text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    if len(kinds) == 1 and kinds <= {int, float, str, bool}:
        return values
    return [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _same(value: Any, condition: Any) -> bool:
    # True == 1 in Python, but not in a config
    return value == condition and isinstance(value, bool) == isinstance(condition, bool)


def _did_you_mean(word: str, choices: Iterable[str]) -> str:
    from netassay.errors import did_you_mean

    return did_you_mean(word, choices)
