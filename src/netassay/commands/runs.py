"""The contents of a run, and the meaning of a study's keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from netassay.errors import ConfigError, StoreError, did_you_mean
from netassay.runs import Run, Store, find_run
from netassay.runs.run import guarded

if TYPE_CHECKING:
    from polars import DataFrame

    from netassay.config import Explained

Theme = Literal["screen", "print"]
What = Literal["summary", "config", "metrics", "tables", "events"]


def show(
    run: Run | Path | str,
    *,
    store: Path | str = "runs",
    what: What = "summary",
    name: str | None = None,
) -> dict[str, Any] | DataFrame:
    """Show one run: its answer, config, recorded numbers, tables or events.

    Args:
        run: Id, beginning of an id, or folder of the run.
        store: Folder that holds the runs.
        what: Which part of the run to show.
        name: Only this metric or table (with `what` metrics or tables).

    Returns:
        A mapping for summary and config; a table for metrics, events and one table; a mapping of tables for all.

    Raises:
        ConfigError: For a name that does not apply.
        StoreError: For a run, table or metric that does not exist.

    Example:
        >>> import netassay
        >>> netassay.show("edge-1a2b3c", what="metrics", name="sharpness").columns
        ['step', 'name', 'part', 'value']
    """
    if name is not None and what not in ("metrics", "tables"):
        raise ConfigError(f"--name {name} goes with --what metrics or --what tables, not with {what}")
    opened = find_run(run, store)
    if what == "summary":
        from netassay.performing import summarise

        return summarise(opened)
    with guarded(opened):
        return _part(opened, what, name)


def _part(opened: Run, part: What, name: str | None) -> dict[str, Any] | DataFrame:
    if part == "config":
        return dict(opened.config)
    if part == "events":
        return opened.events()
    if part == "metrics":
        return _numbers(opened, name)
    return opened.table(name) if name else {table: opened.table(table) for table in opened.tables()}


def _numbers(run: Run, name: str | None) -> DataFrame:
    numbers = run.metrics(name)
    if name is not None and not numbers.height:
        recorded = run.metrics()["name"].unique().to_list()
        if recorded:
            raise StoreError(f"run {run.id} has recorded no {name!r}; {did_you_mean(name, recorded)}")
    return numbers


def explain(name: str) -> list[Explained]:
    """Explain every key of a study's config: allowed values, default, meaning.

    Args:
        name: Name of a study.

    Returns:
        A row for each key.

    Raises:
        ConfigError: For an unknown study.

    Example:
        >>> import netassay
        >>> [row.default for row in netassay.explain("edge") if row.key == "activation"]
        ["'tanh'"]
    """
    from netassay.study import find

    return find(name).config.explain()


def open_run(run: Run | Path | str = "latest", store: Path | str = "runs") -> Run:
    """Open a run: its state, numbers, tables, findings and charts.

    Args:
        run: Id, beginning of an id, folder of the run, or "latest" for the run that was created last.
        store: Folder that holds the runs.

    Returns:
        The run.

    Raises:
        StoreError: For a run that does not exist, and a store without runs.

    Example:
        >>> import netassay
        >>> netassay.open_run("edge-1a2b3c").study
        'edge'
    """
    if run != "latest":
        return find_run(run, store)
    runs = Store(store).runs()
    if not runs:
        raise StoreError(f"store {store}: there are no runs in it, so there is no latest one")
    return max(runs, key=lambda candidate: (candidate.created, candidate.id))


def figure(
    run: Run | Path | str,
    name: str,
    *,
    store: Path | str = "runs",
    out: Path | str | None = None,
    width: str = "",
    theme: Theme = "screen",
) -> Path:
    """Write one figure of a run as a file for a paper or a talk.

    Args:
        run: Id, beginning of an id, folder of the run, or "latest".
        name: Name of the figure, as on its page.
        store: Folder that holds the runs.
        out: File to write, ending in .pdf, .svg, .png or .csv; by default the name with .pdf.
        width: Width of the whole figure, such as 85mm, 3.3in or 240pt; by default as on the page.
        theme: print has black text and thin lines, screen looks as on the page.

    Returns:
        The path of the file.

    Raises:
        ConfigError: For an unknown figure, ending or width.
        StoreError: For a run that does not exist, and a file that cannot be written.

    Example:
        >>> import netassay
        >>> netassay.figure("edge-1a2b3c", "edge-loss", out="loss.svg", width="85mm").name
        'loss.svg'
    """
    from netassay.presenting import charts
    from netassay.reporting.paper import save_sized

    opened = open_run(run, store)
    figures = charts(opened)
    if name not in figures:
        raise ConfigError(f"run {opened.id} has no figure {name!r}; {did_you_mean(name, sorted(figures))}")
    return save_sized(figures[name], Path(out or f"{name}.pdf"), width=width, theme=theme)
