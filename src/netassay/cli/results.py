"""Commands on runs that are there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from netassay.cli import progress
from netassay.cli.assay import Store, Threads, whole_number
from netassay.cli.output import Format, answer, table
from netassay.errors import ConfigError, StoreError

Some = Annotated[
    tuple[str, ...], Parameter(help="Ids, beginnings of ids, or folders of runs; none given: all.")
]
Where = Annotated[list[str] | None, Parameter(help="Only runs with this value: KEY=VALUE; may be repeated.")]


def resume(
    run: Annotated[str, Parameter(help="Id, beginning of an id, or folder of the run.")],
    *,
    store: Store = Path("runs"),
    threads: Threads = None,
    from_step: Annotated[
        int | None,
        Parameter(
            converter=whole_number,
            help="Go back to the checkpoint at this step (0: the start), if the newest is damaged.",
        ),
    ] = None,
    format: Format = "table",
) -> int:
    """Go on with a run that was interrupted, killed or failed; a finished run is left as it is.

    Example: netassay resume edge-1a2b3c --store runs
    """
    from netassay.performing import resume, summarise

    found = find_run(run, store)
    with progress.steps(found.config.get("steps")) as watch:
        done = resume(found.folder, threads=threads, from_step=from_step, watch=watch)
    answer(summarise(done), format)
    return 0


def runs(*, store: Store = Path("runs"), where: Where = None, format: Format = "table") -> int:
    """List the runs of a store, with the config values in which they differ.

    Example: netassay runs --where activation=tanh --where state=finished
    """
    from netassay.runs import Store as Runs

    frame = Runs(store).table(_conditions(where) if where else None)
    table(frame.to_dicts(), format, columns=frame.columns, empty=f"no runs in {store}")
    return 0


def show(
    run: Annotated[str, Parameter(help="Id, beginning of an id, or folder of the run.")],
    *,
    store: Store = Path("runs"),
    what: Annotated[
        Literal["summary", "config", "metrics", "tables", "events"],
        Parameter(help="What of the run to show."),
    ] = "summary",
    name: Annotated[
        str | None, Parameter(help="Only this metric or table (with --what metrics or tables).")
    ] = None,
    format: Format = "table",
) -> int:
    """Show one run: its answer, config, recorded numbers, tables or events.

    Example: netassay show edge-1a2b3c --what metrics --name sharpness --format csv
    """
    from netassay.performing import summarise

    if name is not None and what not in ("metrics", "tables"):
        raise ConfigError(f"--name {name} goes with --what metrics or --what tables, not with {what}")
    found = find_run(run, store)
    if what == "summary":
        answer(summarise(found), format)
    elif what == "config":
        answer(found.config, format)
    elif what == "events":
        table(found.events().to_dicts(), format, empty="no events")
    elif what == "metrics":
        frame = found.metrics(name)
        table(frame.to_dicts(), format, columns=frame.columns, empty="no such numbers recorded")
    else:
        _show_tables(found, name, format)
    return 0


def _show_tables(run: Any, name: str | None, format: str) -> None:
    """One table, or all: JSON then holds an object of tables, and CSV, which holds one, is refused."""
    if name is None and format == "csv" and run.tables():
        raise ConfigError(f"CSV holds one table; choose with --name: {', '.join(run.tables())}")
    frames = {key: run.table(key) for key in ([name] if name else run.tables())}
    if name is None and format == "json":
        answer({key: frame.to_dicts() for key, frame in frames.items()}, format)
        return
    if not frames:
        table([], format, empty="no tables yet; they are written when the run ends")
    for key, frame in frames.items():
        if name is None:
            print(key)
        table(frame.to_dicts(), format, columns=frame.columns)


def export(
    out: Annotated[Path, Parameter(help="File to write; its ending (csv, parquet, json) tells the format.")],
    runs: Some = (),
    *,
    store: Store = Path("runs"),
    where: Where = None,
) -> int:
    """Write the recorded numbers of runs as one table.

    Example: netassay export metrics.parquet --where depth=2
    """
    from netassay.runs import Store as Runs

    Runs(store).export(out, runs=_chosen(runs, store, where))
    print(out)
    return 0


def verify(runs: Some = (), *, store: Store = Path("runs"), format: Format = "table") -> int:
    """Check every byte of runs against what was recorded when it was written; exit code 2 if any differs.

    Example: netassay verify --store runs
    """
    from netassay.runs import Problem
    from netassay.runs import Store as Runs

    if not runs and not store.exists():
        raise StoreError(f"store {store}: there is no such folder, so nothing was verified")
    found = (
        [problem for run in runs for problem in find_run(run, store).verify()]
        if runs
        else Runs(store).verify()
    )
    sound = "every byte is as it was written" if runs or Runs(store).runs() else f"no runs in {store}"
    table([problem._asdict() for problem in found], format, columns=Problem._fields, empty=sound)
    return 2 if found else 0


def delete(
    runs: Annotated[tuple[str, ...], Parameter(help="Full ids of runs.")], *, store: Store = Path("runs")
) -> int:
    """Delete runs, given by full id; never anything outside the store.

    Example: netassay delete edge-1a2b3c4d5e6f --store runs
    """
    from netassay.runs import Store as Runs

    if not runs:
        raise StoreError(
            "no run is named; give the full ids of the runs to delete (netassay runs lists them)"
        )
    for name in Runs(store).delete(runs):
        print(f"deleted {name}")
    return 0


def report(
    runs: Some = (),
    *,
    store: Store = Path("runs"),
    where: Where = None,
    out: Annotated[Path, Parameter(help="Page to write.")] = Path("report.html"),
    figures: Annotated[
        Path | None, Parameter(help="Also write every figure as PNG, SVG, PDF and CSV here.")
    ] = None,
    title: Annotated[str, Parameter(help="Title of the page.")] = "netassay report",
) -> int:
    """Write runs as one self-contained page: figures, tables and the numbers behind them.

    Example: netassay report --where depth=2 --out depth2.html --figures figures
    """
    from netassay.presenting import report

    print(report(_chosen(runs, store, where), out, figures=figures, title=title))
    return 0


def explain(name: Annotated[str, Parameter(help="Name of a study.")], *, format: Format = "table") -> int:
    """Explain every key of a study's config: what it may be, its default, its meaning.

    Example: netassay explain edge
    """
    from netassay.study import find

    table([key._asdict() for key in find(name).config.explain()], format)
    return 0


def find_run(name: str, store: Path) -> Any:
    """A run by id, beginning of an id, or the path of its folder."""
    from netassay.runs import Run
    from netassay.runs import Store as Runs

    if "/" in name or os.path.exists(f"{name}/run.sqlite"):  # noqa: PTH110 (Path raises for a name too long)
        return Run.open(Path(name))
    return Runs(store).find(name)


def _chosen(names: tuple[str, ...], store: Path, where: list[str] | None) -> list[Any]:
    from netassay.runs import Store as Runs

    if names and where:
        raise ConfigError("give either runs by name or --where, not both")
    return (
        [find_run(name, store) for name in names] if names else Runs(store).select(_conditions(where or []))
    )


def _conditions(words: list[str]) -> dict[str, Any]:
    """KEY=VALUE words as a mapping; values that read as JSON (numbers, true, null) are taken so."""
    import json

    conditions = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ConfigError(f"--where {word!r}: give KEY=VALUE, for example activation=tanh")
        try:
            conditions[key] = json.loads(value)
        except (ValueError, RecursionError):  # no JSON, or more digits or brackets than it reads
            conditions[key] = value
    return conditions
