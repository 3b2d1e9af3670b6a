"""What one run holds, and what the keys of a study mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from netassay.errors import ConfigError
from netassay.runs import Run, find_run
from netassay.runs.run import guarded

if TYPE_CHECKING:
    from polars import DataFrame

    from netassay.config import Explained

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
        StoreError: For a run or table that does not exist.

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


def _part(opened: Run, what: What, name: str | None) -> dict[str, Any] | DataFrame:
    if what == "config":
        return dict(opened.config)
    if what == "events":
        return opened.events()
    if what == "metrics":
        return opened.metrics(name)
    return opened.table(name) if name else {table: opened.table(table) for table in opened.tables()}


def explain(name: str) -> list[Explained]:
    """Explain every key of a study's config: what it may be, its default, its meaning.

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
