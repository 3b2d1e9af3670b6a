"""Many runs as one table: found, selected, checked, exported, deleted."""

from __future__ import annotations

import gc
import json
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netassay.errors import ConfigError, RunDamaged, RunWarning, StoreError, did_you_mean
from netassay.files import write_file
from netassay.runs import folders
from netassay.runs.folders import LATEST, State, stored_state
from netassay.runs.index import index_of
from netassay.runs.listing import Entry, matches, run_table
from netassay.runs.run import Run
from netassay.runs.verify import Problem

if TYPE_CHECKING:
    import polars as pl
    from polars import DataFrame

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
            where: Only runs with this value, KEY=VALUE, of a config key (a.b if nested), id, study, state or tag; may
                be repeated. In Python a mapping.

        Returns:
            A row for each run: id, study, state, step, seconds, created, message, tags if any run has some, and the
            config values in which runs of one study differ or that `where` names.

        Raises:
            StoreError: For a key that no run has.

        Example:
            >>> import netassay
            >>> netassay.Store("runs").table({"study": "edge", "state": "finished"}).height
            1
        """
        entries, broken = self._look() if where is None else (matches(self._readable(), where), [])
        return run_table(entries, broken, where or ())

    def select(self, where: Mapping[str, Any]) -> list[Run]:
        """Runs whose values equal all of `where`; keys: id, study, state, tag or a config key (a.b if nested).

        Raises StoreError for a key that no run has.
        """
        return [entry.run for entry in matches(self._readable(), where)]

    def find(self, prefix: str) -> Run:
        """The run of this id, of this tag if no other bears it, or of the only id that begins so.

        "latest" is the run that was created last. StoreError names the nearest if there is none.
        """
        ids = self._ids()
        if prefix == LATEST and ids:
            return max(self.runs(), key=lambda run: (run.created, run.folder.stat().st_mtime_ns))
        if prefix in ids:
            return Run.open(folders.checked(self.folder / prefix))
        tags_by_run = folders.read_tags(self.folder)
        bearers = [name for name in folders.bearers(tags_by_run, prefix) if name in ids]
        candidates = bearers or [name for name in ids if prefix and name.startswith(prefix)]
        if not candidates:
            words = dict.fromkeys(word for words in tags_by_run.values() for word in words)
            raise StoreError(f"no run {prefix!r} in {self.folder}; {did_you_mean(prefix, [*ids, *words])}")
        if len(candidates) > 1:
            verb, more = ("is a tag of", "give an id") if bearers else ("begins", "give more of the id")
            raise StoreError(f"{prefix!r} {verb} {len(candidates)} runs: {', '.join(candidates)}; {more}")
        return Run.open(folders.checked(self.folder / candidates[0]))

    def tag(self, run: Run | Path | str, words: Iterable[str] = (), *, remove: bool = False) -> list[str]:
        """Mark a run with words of your own, by which it is listed, selected and named.

        A tag that only one run of the store bears may be given wherever a run is asked for. Tags are kept in tags.json
        of the store, and the run itself is left as it is.

        Args:
            run: Id, beginning of an id, tag, or folder of the run.
            words: Tags to add: letters, digits, "_", "-" and ".", the first a letter or digit, 64 at most.
            remove: Take these tags away instead.

        Returns:
            All tags of the run, in the order of the alphabet.

        Raises:
            StoreError: For a run that does not exist, a word that cannot be a tag, and a store that cannot be written.

        Example:
            >>> import netassay
            >>> netassay.Store("runs").tag("edge-1a2b3c", ["baseline"])
            ['baseline']
        """
        chosen = find_run(run, self.folder)
        names = {folders.checked_tag(word) for word in ([words] if isinstance(words, str) else words)}
        store = chosen.folder.parent
        if not names:
            return list(folders.read_tags(store).get(chosen.id, ()))
        with folders.changing_tags(store) as tags_by_run:
            before = set(tags_by_run.get(chosen.id, ()))
            if remove and (strange := sorted(names - before)):
                raise StoreError(f"run {chosen.id} has no tag {strange[0]!r}; {did_you_mean(strange[0], before)}")
            after = sorted(before - names if remove else before | names)
            if len(after) > folders.MOST_TAGS:
                raise StoreError(
                    f"run {chosen.id} would have {len(after)} tags; at most {folders.MOST_TAGS} are allowed"
                )
            tags_by_run[chosen.id] = tuple(after)
        return after

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
            The ids of the deleted runs, whose tags go with them.

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
        if not folders.read_tags(self.folder).keys().isdisjoint(names):
            with folders.changing_tags(self.folder) as tags_by_run:
                for name in names:
                    tags_by_run.pop(name, None)
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
            return unique_runs([find_run(run, self.folder) for run in names or ()])
        return [entry.run for entry in matches(self._readable(), where or {})]

    def _ids(self) -> list[str]:
        if not self.folder.exists():
            return []
        return sorted(name for name in os.listdir(self.folder) if folders.is_id(name))  # noqa: PTH208

    def _scan(self) -> tuple[list[Run], list[Problem]]:
        entries, problems = self._look()
        return [entry.run for entry in entries], problems

    def _readable(self) -> list[Entry]:
        """Every run that can be read, with its status and state; a RunWarning for the others."""
        entries, problems = self._look()
        for problem in problems:
            warn_of(problem)
        return entries

    def _look(self) -> tuple[list[Entry], list[Problem]]:
        """Every run with its status and state, read once each, and those that cannot be read."""
        entries: list[Entry] = []
        problems = []
        names = self._ids()
        tags_by_run = folders.read_tags(self.folder)
        with index_of(self.folder, names) as index, _uncollected():
            for name in names:
                try:
                    run, status = index.look(name) if index else Run.look(folders.checked(self.folder / name))
                    state = stored_state(run.folder, status)
                except StoreError as cause:
                    problems.append(Problem(name, ".", str(cause)))
                    continue
                # the lock says whether a run stored as running is
                state = run.state if state is State.RUNNING else state
                entries.append(Entry(run, status, state, tags_by_run.get(name, ())))
        return entries, problems

    def _inside(self, name: str) -> Path:
        if not isinstance(name, str) or not folders.is_id(name):
            raise StoreError(f"{name!r} is not a run id; ids look like edge-0123456789ab, without any path")
        return self.folder / name


@contextmanager
def _uncollected() -> Iterator[None]:
    """No search for unreachable objects meanwhile: among thousands of runs it takes a tenth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def find_run(run: Run | Path | str, store: Path | str = "runs") -> Run:
    """The run with that id, or with the only id in the store that begins with it, or in that folder."""
    if isinstance(run, Run):
        return run
    # a path, or a folder here; os.path, because Path raises for a name that is too long
    if isinstance(run, Path) or "/" in run or os.path.exists(f"{run}/run.sqlite"):  # noqa: PTH110
        return Run.open(Path(run))
    return Store(store).find(run)


def unique_runs(runs: Iterable[Run]) -> list[Run]:
    """Runs, each once. StoreError for one that is given from two stores, whose numbers would count twice."""
    first: dict[str, Run] = {}
    for run in runs:
        if (other := first.setdefault(run.id, run)).folder != run.folder:
            raise StoreError(
                f"run {run.id} is given twice, from {other.folder.parent} and {run.folder.parent}; give one"
            )
    return list(first.values())


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
        # row by row, since Python objects take ten times the room of their text
        between = b"["
        for row in frame.iter_rows(named=True):
            text = json.dumps({**row, "value": _json_number(row["value"])}, allow_nan=False)
            buffer.write(between + text.encode())
            between = b", "
        buffer.write(b"[]" if between == b"[" else b"]")
        return buffer.getvalue()
    frame.write_csv(buffer) if format == "csv" else frame.write_parquet(buffer)
    return buffer.getvalue()


def _json_number(value: float) -> float | str:
    return value if math.isfinite(value) else json.dumps(value)
