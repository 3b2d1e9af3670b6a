"""A page of any runs, each study drawing its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import netassay
from netassay.runs import Run, Store
from netassay.study import drawn, find


def report(
    runs: Sequence[Run | Path | str] | None = None,
    out: Path | str = "report.html",
    *,
    store: Path | str = "runs",
    where: Mapping[str, Any] | None = None,
    figures: Path | str | None = None,
    title: str = "netassay report",
) -> Path:
    """Write runs as one self-contained page: figures, tables and the numbers behind them.

    Runs in any state are shown as far as they have got. Nothing is left half-written.

    Args:
        runs: Ids, beginnings of ids, or folders of runs; by default all runs of the store.
        out: Page to write.
        store: Folder that holds the runs.
        where: Only runs with this value, KEY=VALUE; may be repeated. In Python a mapping.
        figures: Also write every figure as PNG, SVG, PDF and CSV to this folder.
        title: Title of the page.

    Returns:
        The path of the page.

    Raises:
        ConfigError: Where both `runs` and `where` are given.
        StoreError: For a run or key that does not exist, and a page that cannot be written.

    Example:
        >>> import netassay
        >>> netassay.report(where={"study": "edge"}, out="edge.html").name
        'edge.html'
    """
    from netassay.reporting import Figure, save_figure, write_page

    runs = Store(store).chosen(runs, where)
    chosen = {name: [run for run in runs if run.study == name] for name in drawn()}
    sections = [
        part
        for name, held in chosen.items()
        if held or not runs
        for part in find(name, tracked=True).pages.sections(held)
    ]
    if figures is not None:
        for section in sections:
            for item in section.items:
                if isinstance(item, Figure):
                    save_figure(item, figures, formats=("png", "svg", "pdf", "csv"))
    unknown = sorted({run.study for run in runs} - set(chosen))
    subtitle = "; ".join(
        [f"{name}: {len(held)} runs" for name, held in chosen.items() if held]
        + [f"not drawn, no such study here: {name}" for name in unknown]
    )
    facts = {"netassay": netassay.__version__, "runs": ", ".join(run.id for run in runs) or "none"}
    return write_page(Path(out), title=title, subtitle=subtitle, sections=sections, facts=facts)
