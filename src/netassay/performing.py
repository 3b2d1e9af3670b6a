"""Performing runs: one config, one run folder, continued from its last checkpoint."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netassay.config import Config
from netassay.errors import (
    ConfigError,
    DataError,
    ExtraMissing,
    Interrupted,
    ModelError,
    NetassayError,
    RunFailed,
    StoreError,
)
from netassay.processes import require_threads, stop_signals
from netassay.runs import Run, RunWriter, State, Store, find_run, run_id
from netassay.runs.folders import store_folder
from netassay.runs.run import guarded
from netassay.runs.writer import sweep
from netassay.study import find, study_of

if TYPE_CHECKING:
    from torch import nn

    from netassay.training import Metric

Watch = Callable[[int, "Mapping[Metric, float]"], None]
"""Called with each step and its numbers during a run."""


def perform(
    config: Config,
    store: Path | str,
    *,
    threads: int | None = None,
    commit_seconds: float = 10.0,
    from_step: int | None = None,
    watch: Watch = lambda step, values: None,
) -> Run:
    """Carry out the run of a config, from its last checkpoint if it has one, and return it.

    A finished or diverged run is returned as it is. A resumed run uses the threads that it began with, unless
    `threads` says otherwise (recorded as an event, since the last bits depend on the threads). If a new run refuses
    its data or config before its first checkpoint, that error is raised and no run remains.

    Args:
        config: Config of a study.
        store: Folder that holds the runs.
        threads: Threads (1 to 1024); by default those that the run began with, or all cores.
        commit_seconds: Seconds between checkpoints.
        from_step: Go back to the checkpoint at this step (0: the start), if the newest is damaged.
        watch: Called with each step and its numbers.

    Returns:
        The run.

    Raises:
        ConfigError: For threads out of range, and settings that the study refuses.
        Interrupted: After SIGINT, SIGTERM or SIGHUP, with a checkpoint written.
        RunFailed: For an error inside the run, whose state is then "failed".
        RunLocked: For a run that is being written.

    Example:
        >>> import netassay
        >>> config = netassay.EdgeConfig(examples=60, width=4, steps=3)
        >>> str(netassay.perform(config, "runs", threads=1).state)
        'finished'
    """
    if threads is not None:
        require_threads(threads)
    store = store_folder(store)
    new = not (store / run_id(config.study, config.digest)).exists()
    study = find(config.study)
    run = Run.create(store, study=study.name, config=config.mapping(), digest=config.digest, package=study.release)
    if run.is_complete and from_step is None:
        sweep(run.folder)
        return run

    from netassay.numerics import devices

    if not new and (name := getattr(config, "device", None)):
        devices.device(name)  # a run begun on another machine is left as it is

    begun_with = run.environment.get("threads")
    writers: list[RunWriter] = []

    def stop() -> None:
        for opened in writers:
            opened.request_stop()

    with (
        _refusals(run) if new else nullcontext(),
        devices.settings(threads or begun_with) as environment,
        # before the writer, so that a signal never hits a run that nothing can end
        stop_signals(stop) as received,
        run.writer(environment, from_step=from_step) as writer,
        _failures(run, writer),
    ):
        writers.append(writer)
        if received:
            stop()
        if run.state.is_final:
            _keep_tables(run, writer)
        else:
            result = study.assay.assay(config, writer, commit_seconds=commit_seconds, watch=watch)
            end = State(result.outcome)
            if end.is_final:
                writer.settle(end, step=result.step, message=result.message)
                _keep_tables(run.concluded(end), writer)
            writer.finish(end, step=result.step, message=result.message)
    if run.state is State.INTERRUPTED:
        raise Interrupted(
            f"run {run.id} {run.message}; its checkpoint is kept, go on with: netassay resume {run.folder}",
            received[0] if received else signal.SIGINT,
        )
    return run


def resume(
    run: Run | Path | str,
    *,
    store: Path | str = "runs",
    threads: int | None = None,
    from_step: int | None = None,
    commit_seconds: float = 10.0,
    watch: Watch = lambda step, values: None,
) -> Run:
    """Continue a run that was interrupted, killed or failed; a finished run is left as it is.

    Args:
        run: Id, beginning of an id, or folder of the run.
        store: Folder that holds the runs.
        threads: Threads (1 to 1024); by default those that the run began with, or all cores.
        from_step: Go back to the checkpoint at this step (0: the start), if the newest is damaged.
        commit_seconds: Seconds between checkpoints.
        watch: Called with each step and its numbers.

    Returns:
        The finished or diverged run.

    Raises:
        StoreError: For a run that does not exist or cannot be read.
        RunLocked: For a run that is being written.
        RunFailed: Where the run fails.
        Interrupted: After SIGINT, SIGTERM or SIGHUP, with a checkpoint written.

    Example:
        >>> import netassay
        >>> str(netassay.resume("edge-1a2b3c").state)
        'finished'
    """
    opened = find_run(run, store)
    config = study_of(opened).config.from_mapping(opened.config, where=str(opened.folder))
    return perform(
        config, opened.folder.parent, threads=threads, from_step=from_step, commit_seconds=commit_seconds, watch=watch
    )


def summarise(run: Run) -> dict[str, Any]:
    """The summary of a run: id, status, folder, and the results that its study reports.

    Args:
        run: A run in any state.

    Returns:
        A mapping that JSON can hold.

    Raises:
        RunDamaged: If a table has changed since it was written.

    Example:
        >>> import netassay
        >>> netassay.summarise(netassay.Store("runs").find("edge-1a2b3c"))["status"]
        'finished'
    """
    with guarded(run):
        metrics = run.table_path("metrics") if "metrics" in run.tables() else run.folder / "run.sqlite"
        return {
            "run": run.id,
            **({"tags": list(tags)} if (tags := run.tags) else {}),
            "study": run.study,
            "status": str(run.state),
            "step": run.step,
            "message": run.message,
            "seconds": run.seconds,
            "folder": str(run.folder),
            "metrics": str(metrics),
            "findings": run.findings,
            **study_of(run, tracked=True).findings.summary(run),
        }


def trained_model(run: Run) -> nn.Module:
    """The trained network of a run, in evaluation mode; StoreError if its study has no single network."""
    assay = study_of(run).assay
    if not hasattr(assay, "model"):
        raise StoreError(f"run {run.id}: a run of {run.study} has no single trained network")
    return assay.model(run)


def _keep_tables(run: Run, writer: RunWriter) -> None:
    """Writes metrics and the study's tables as Parquet, for reading the run without this package."""
    for name, table in {**find(run.study).assay.tables(run), "metrics": run.metrics()}.items():
        writer.write_table(name, table)


@contextmanager
def _refusals(run: Run) -> Iterator[None]:
    """Deletes a new run that refused its data or config before its first checkpoint."""
    try:
        yield
    except RunFailed as failed:
        refusal = _refusal(failed.__cause__, run.folder)
        if refusal is None or run.checkpoints():
            raise
        Store(run.folder.parent).delete([run.id])
        raise refusal from None


_BAD_NAMES = (errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EACCES)


def _refusal(cause: BaseException | None, folder: Path) -> NetassayError | None:
    """What data or config of the run in `folder` are refused with; None for an error of another kind."""
    if isinstance(cause, ConfigError | DataError | ModelError | ExtraMissing):
        return cause
    if isinstance(cause, OSError) and cause.errno in _BAD_NAMES and isinstance(cause.filename, str | bytes | Path):
        name = os.fsdecode(cause.filename)
        if not Path(name).absolute().is_relative_to(folder.absolute()):
            return DataError(f"{name}: cannot be read: {cause.strerror}")
    return None


@contextmanager
def _failures(run: Run, writer: RunWriter) -> Iterator[None]:
    """Turns any error into state "failed" and RunFailed; what was committed remains."""
    try:
        yield
    except Exception as cause:
        message = str(cause) if isinstance(cause, NetassayError) else f"{type(cause).__name__}: {cause}"
        with suppress(NetassayError):  # a full disk has no room for the status; the cause is reported all the same
            writer.finish(State.FAILED, step=run.step, message=message)
        reason = message.removeprefix(f"run {run.id}: ")
        raise RunFailed(f"run {run.id} failed after step {run.step}: {reason}") from cause
