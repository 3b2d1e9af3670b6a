"""What of a plan is done and what is left, and making the rest done by any executor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from netassay.runs import Run, State, run_id
from netassay.sweeps.local import LocalProcesses
from netassay.sweeps.plan import Plan


@dataclass(frozen=True)
class Progress:
    """Where a sweep stands: numbers of runs, the ids of those under way, and why some did not end."""

    total: int
    done: int
    running: tuple[str, ...]
    failed: Mapping[str, str]
    seconds_left: float | None
    """Estimate from the runs that ended, None before the first has."""


class Executor(Protocol):
    """Makes runs done, each independent of the others; this machine or a cluster, the contract is the same."""

    def __call__(
        self, folders: Sequence[Path], begun: Callable[[Path], None], ended: Callable[[Path, str], None]
    ) -> None:
        """Calls `begun` and `ended` for each folder; the second argument of `ended` is why it failed, or ""."""


@dataclass(frozen=True)
class Sweep:
    """The runs of a plan in a store, in the order of the plan, and why some failed, by id."""

    plan: Plan
    runs: tuple[Run, ...]
    failed: Mapping[str, str] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """One row a run: id, the values in which the plan varies, state, and the cause where it failed."""
        return [
            {"run": run.id, **{key: run.config[key] for key in self.plan.varied}, "state": str(run.state),
             "message": self.failed.get(run.id, run.message)}
            for run in self.runs
        ]  # fmt: skip


def lay_out(plan: Plan, store: Path | str) -> Sweep:
    """Writes every run of the plan into the store, state planned, where it is not there yet."""
    configs = plan.configs()
    runs = [Run.create(Path(store), study=c.study, config=c.mapping(), digest=c.digest) for c in configs]
    return Sweep(plan, tuple(runs))


@dataclass(frozen=True)
class Outlook:
    """What a sweep would do: rows as of `Sweep.rows`, before anything is written."""

    rows: list[dict[str, Any]]
    workers: int
    threads: int
    joined: int
    seconds_left: float | None

    @property
    def total(self) -> int:
        return len(self.rows)

    def in_words(self) -> str:
        """'12 runs: 4 done, 8 left, 2 at a time with 1 thread each'."""
        done = sum(row["state"] in (State.FINISHED, State.DIVERGED) for row in self.rows)
        words = f"{self.total} runs: {done} done, {self.total - done} left"
        if done < self.total:
            words += f", {self.workers} at a time with {self.threads} thread{'s' * (self.threads > 1)} each"
        if self.seconds_left:
            words += f", about {self.seconds_left / 60:.1f} min"
        return words + (f" ({self.joined} equal to another and run once)" if self.joined else "")


def outlook(plan: Plan, store: Path | str = "runs", workers: int | None = None) -> Outlook:
    """What `sweep` would do, told from what is in the store already; writes nothing."""
    rows, seconds = [], []
    for config in plan.configs():
        folder = Path(store) / run_id(config.study, config.digest)
        run = Run.open(folder) if folder.exists() else None
        if run and run.state.is_final:
            seconds.append(run.seconds)
        values = {key: config.mapping()[key] for key in plan.varied}
        rows.append({"run": folder.name, **values, "state": str(run.state if run else State.PLANNED)})
    left = len(rows) - len(seconds)
    local = LocalProcesses.sharing(left, workers)
    ahead = sum(seconds) / len(seconds) * left / local.workers if seconds else None
    return Outlook(rows, local.workers, local.threads, plan.size - len(rows), ahead)


def sweep(
    plan: Plan,
    store: Path | str = "runs",
    *,
    workers: int | None = None,
    execute: Executor | None = None,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> Sweep:
    """Makes every run of `plan` in `store` done; failures are listed while the others go on.

    Called again after any interruption it goes on with what is left. `workers` runs at a time (by default one a core)
    share this machine's cores, unless another executor is given.
    """
    LocalProcesses.sharing(plan.size, workers)  # refuses before anything is written
    laid = lay_out(plan, store)
    left = [run.folder for run in laid.runs if not run.state.is_final]
    local = LocalProcesses.sharing(len(left), workers)
    return replace(laid, failed=drive(laid.runs, left, execute or local, local.workers, watch))


def drive(
    runs: Sequence[Run],
    left: Sequence[Path],
    execute: Executor,
    workers: int,
    watch: Callable[[Progress], None],
) -> dict[str, str]:
    """Has `left`, folders among those of `runs`, executed, and keeps the count; returns causes of failure by id."""
    ended: set[Path] = set()
    running: list[Path] = []
    failed: dict[str, str] = {}
    seconds = [run.seconds for run in runs if run.state.is_final]

    def tell() -> None:
        rate = sum(seconds) / len(seconds) / workers if seconds else None
        progress = Progress(
            total=len(runs),
            done=len(runs) - len(left) + len(ended) - len(failed),
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
