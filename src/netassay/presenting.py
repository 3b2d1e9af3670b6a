"""A page of any runs, each study drawing its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import netassay
from netassay.reporting import Figure, save_figure, write_page
from netassay.runs import Run
from netassay.study import drawn, find


def report(
    runs: Sequence[Run],
    out: Path | str = "report.html",
    *,
    figures: Path | str | None = None,
    title: str = "netassay report",
) -> Path:
    """Writes the page of `runs` to `out`, study by study, and returns its path.

    `figures`: a folder that gets every figure as PNG, SVG and PDF and the numbers behind it as CSV. Nothing is
    left half-written; runs in any state are shown as far as they go.
    """
    chosen = {name: [run for run in runs if run.study == name] for name in drawn()}
    sections = [
        part
        for name, members in chosen.items()
        if members or not runs
        for part in find(name, tracked=True).pages.sections(members)
    ]
    if figures is not None:
        for section in sections:
            for item in section.items:
                if isinstance(item, Figure):
                    save_figure(item, figures, formats=("png", "svg", "pdf", "csv"))
    unknown = sorted({run.study for run in runs} - set(chosen))
    subtitle = "; ".join(
        [f"{name}: {len(members)} runs" for name, members in chosen.items() if members]
        + [f"not drawn, no such study here: {name}" for name in unknown]
    )
    facts = {"netassay": netassay.__version__, "runs": ", ".join(run.id for run in runs) or "none"}
    return write_page(Path(out), title=title, subtitle=subtitle, sections=sections, facts=facts)
