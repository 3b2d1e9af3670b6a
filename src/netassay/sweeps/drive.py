"""What of a plan is done and what is left, and making the rest done by any executor."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from netassay.errors import StoreError
from netassay.runs import Run, State, run_id
from netassay.study import find
from netassay.sweeps.executors import Executor, On, executor
from netassay.sweeps.local import LocalProcesses, is_complete
from netassay.sweeps.plan import Plan
from netassay.sweeps.standing import DAMAGED

_DONE = (State.FINISHED, State.DIVERGED)


@dataclass(frozen=True)
class Progress:
    """Where a sweep stands: numbers of runs, the ids of those under way, and why some did not end."""

    total: int
    done: int
    running: tuple[str, ...]
    failed: Mapping[str, str]
    seconds_left: float | None
    """Estimate from the runs that ended, None before the first has."""


@dataclass(frozen=True)
class Sweep:
    """The runs of a plan in a store, in the order of the plan, and why some failed, by id.

    A run that is there and cannot be opened is among the failed and not among `runs`.
    """

    plan: Plan
    runs: tuple[Run, ...]
    failed: Mapping[str, str] = field(default_factory=dict)

    def ids(self) -> list[str]:
        """Ids of all runs of the plan."""
        return [run_id(config.study, config.digest) for config in self.plan.configs()]

    def rows(self) -> list[dict[str, Any]]:
        """One row a run: id, the values in which the plan varies, state, and the cause where it failed."""
        runs = {run.id: run for run in self.runs}
        rows = []
        for config in self.plan.configs():
            name = run_id(config.study, config.digest)
            state, message = _standing(runs.get(name))
            values = self.plan.values(config)
            rows.append({"run": name, **values, "state": state, "message": self.failed.get(name, message)})
        return rows


def _standing(run: Run | None) -> tuple[str, str]:
    """State and message of a run, which may have been damaged or deleted since it was opened."""
    if run is None:
        return DAMAGED, ""
    try:
        return str(_state(run)), run.message
    except StoreError as cause:
        return DAMAGED, str(cause)


def _state(run: Run) -> State:
    """Its state; netassay up to 0.2 could be killed after a run said that it had ended and before its tables."""
    state = run.state
    return state if not state.is_final or run.is_complete else State.KILLED


def lay_out(plan: Plan, store: Path | str) -> Sweep:
    """Writes every run of the plan into the store, state planned, where it is not there yet.

    Runs that are there and cannot be opened are named in `failed`. StoreError if the store cannot be written.
    """
    runs: list[Run] = []
    failed = {}
    study = find(plan.study)
    for config in plan.configs():
        folder = Path(store) / run_id(config.study, config.digest)
        try:
            run = Run.create(
                Path(store),
                study=study.name,
                config=config.mapping(),
                digest=config.digest,
                package=study.release,
            )
            _ = run.state
            runs.append(run)
        except StoreError as cause:
            if not os.path.lexists(folder):
                raise
            failed[folder.name] = str(cause)
    return Sweep(plan, tuple(runs), failed)


@dataclass(frozen=True)
class Outlook:
    """What a sweep would do: rows as of `Sweep.rows`, before anything is written."""

    rows: list[dict[str, Any]]
    workers: int
    threads: int
    joined: int
    seconds_left: float | None
    on: str = "local"

    @property
    def total(self) -> int:
        return len(self.rows)

    def in_words(self) -> str:
        """'12 runs: 4 done, 8 left, 2 at a time with 1 thread each'."""
        done = sum(row["state"] in _DONE for row in self.rows)
        damaged = sum(row["state"] == DAMAGED for row in self.rows)
        left = self.total - done - damaged
        words = f"{self.total} run{'s' * (self.total != 1)}: {done} done, {left} left" + (
            f", {damaged} damaged" if damaged else ""
        )
        if left and self.on != "local":
            words += f", by {self.on}"
        elif left:
            words += f", {self.workers} at a time with {self.threads} thread{'s' * (self.threads > 1)} each"
        if self.seconds_left:
            words += f", about {self.seconds_left / 60:.1f} min"
        return words + (f" ({self.joined} equal to another and run once)" if self.joined else "")


def outlook(
    plan: Plan | Path | str,
    store: Path | str = "runs",
    workers: int | None = None,
    *,
    on: On = "local",
    shard: str | None = None,
) -> Outlook:
    """What `sweep` would do, given what is in the store already; writes nothing.

    Args:
        plan: A plan, a TOML or JSON file, or a shipped plan as STUDY:NAME.
        store: Folder that holds the runs.
        workers: Number of runs at a time (1 or more); by default one for each core.
        on: What performs the runs.
        shard: A share of the runs, as 3/20.

    Returns:
        A row for each run, and how the rest would be made.

    Raises:
        ConfigError: For an invalid plan, and workers below 1.

    Example:
        >>> import netassay
        >>> netassay.outlook("plan.toml", workers=2).rows[0]["state"]
        'planned'
    """
    plan = (plan if isinstance(plan, Plan) else Plan.named(plan)).part(shard)
    rows: list[dict[str, Any]] = []
    seconds: list[float] = []
    for config in plan.configs():
        folder = Path(store) / run_id(config.study, config.digest)
        state = str(State.PLANNED)
        if os.path.lexists(folder):
            try:
                run = Run.open(folder)
                state = str(_state(run))
                seconds += [run.seconds] if State(state).is_final else []
            except StoreError:
                state = DAMAGED
        values = plan.values(config)
        rows.append({"run": folder.name, **values, "state": state})
    left = sum(row["state"] not in (*_DONE, DAMAGED) for row in rows)
    local = LocalProcesses.sharing(left, workers)
    ahead = sum(seconds) / len(seconds) * left / local.workers if seconds and on == "local" else None
    joined = plan.size - len(plan.part("1/1").configs())
    return Outlook(rows, local.workers, local.threads, joined, ahead, on)


def sweep(
    plan: Plan | Path | str,
    store: Path | str = "runs",
    *,
    workers: int | None = None,
    on: On = "local",
    shard: str | None = None,
    cluster: Path | str | None = None,
    address: str | None = None,
    execute: Executor | None = None,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> Sweep:
    """Make every run of a plan, several at a time; run it again to continue after an interruption.

    Runs that fail are listed while the others go on. The same plan runs on this machine, on a Slurm or a Ray cluster,
    or, by shards, under any other scheduler.

    Args:
        plan: TOML or JSON file with keys study, base, axes, cases, repeats, or a shipped plan as STUDY:NAME; in Python
            also a plan.
        store: Folder that holds the runs.
        workers: Number of runs at a time on this machine (1 or more); by default one for each core. They share its
            cores.
        on: What performs the runs: this machine, or a Slurm or Ray cluster whose nodes see the store.
        shard: A share of the runs, as 3/20: every 20th from the third on. The shards of a plan are disjoint, and
            together all of it.
        cluster: TOML or JSON file with tables slurm and ray, which override those of the plan.
        address: Ray cluster: auto (the one that runs here) or HOST:PORT.
        execute: Another way to execute runs.
        watch: Called whenever a run begins or ends.

    Returns:
        The runs in the order of the plan, and why some failed.

    Raises:
        ConfigError: For an invalid plan or shard, workers below 1, and a cluster that cannot be reached or whose
            versions are others; nothing is submitted then.
        ExtraMissing: Where submitit or Ray is not installed.
        StoreError: Where the store cannot be written.

    Example:
        >>> import netassay
        >>> len(netassay.sweep("plan.toml", workers=1).runs)
        2
    """
    plan = (plan if isinstance(plan, Plan) else Plan.named(plan)).part(shard)
    execute = execute or executor(on, plan, store, workers=workers, cluster=cluster, address=address)
    return sweep_all([plan], store, workers=workers, execute=execute, watch=watch)[0]


def sweep_all(
    plans: Sequence[Plan],
    store: Path | str,
    *,
    workers: int | None = None,
    execute: Executor | None = None,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> list[Sweep]:
    """As `sweep`, for several plans whose runs are performed one after another by the same workers."""
    LocalProcesses.sharing(sum(plan.size for plan in plans), workers)  # refuses before anything is written
    sweeps = [lay_out(plan, store) for plan in plans]
    runs = list({run.id: run for laid in sweeps for run in laid.runs}.values())
    damaged = {run: cause for laid in sweeps for run, cause in laid.failed.items()}
    left = [run.folder for run in runs if not run.is_complete]
    local = LocalProcesses.sharing(len(left), workers)
    at_once = getattr(execute, "workers", local.workers)
    failed = drive(runs, left, execute or local, at_once, watch, damaged)
    # another sweep of the same store may have held a run when its turn came here, and have ended it since
    failed = {run: cause for run, cause in failed.items() if not is_complete(Path(store) / run)}
    return [replace(laid, failed={run: failed[run] for run in laid.ids() if run in failed}) for laid in sweeps]


def drive(
    runs: Sequence[Run],
    left: Sequence[Path],
    execute: Executor,
    workers: int,
    watch: Callable[[Progress], None],
    damaged: Mapping[str, str],
) -> dict[str, str]:
    """Has `left`, folders among those of `runs`, executed, and keeps the count; returns causes of failure by id,
    those of the `damaged` runs, which are not among `runs`, included.
    """
    ended: set[Path] = set()
    running: list[Path] = []
    failed = dict(damaged)
    seconds = [run.seconds for run in runs if is_complete(run.folder)]

    def tell() -> None:
        rate = sum(seconds) / len(seconds) / workers if seconds else None
        progress = Progress(
            total=len(runs) + len(damaged),
            done=len(runs) - len(left) + len(ended) - len(failed) + len(damaged),
            running=tuple(folder.name for folder in running),
            failed=dict(failed),
            seconds_left=None if rate is None else rate * (len(left) - len(ended)),
        )
        watch(progress)

    def on_begin(folder: Path) -> None:
        running.append(folder)
        tell()

    def on_end(folder: Path, cause: str) -> None:
        running.remove(folder)
        ended.add(folder)
        if cause:
            failed[folder.name] = cause
        else:
            seconds.append(Run.open(folder).seconds)
        tell()

    tell()
    execute(left, on_begin, on_end)
    return failed
