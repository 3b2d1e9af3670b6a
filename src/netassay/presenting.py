"""A page of any runs, each study drawing its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import netassay
from netassay.errors import PluginError, RunDamaged
from netassay.pace import paced, stage
from netassay.plugins import one_line
from netassay.runs import Run, Store
from netassay.study import Study, absent, drawn, find

if TYPE_CHECKING:
    from netassay.reporting import Section


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

    Runs in any state are shown as far as they have got, and damaged ones are named. Nothing is left half-written.

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
    drawn_studies = [name for name, members in chosen.items() if members or not runs]
    sections = [
        part
        for name in paced(drawn_studies, "studies", total=len(drawn_studies))
        for part in _drawn(find(name, tracked=True), chosen[name])
    ]
    if figures is not None:
        pictures = [item for section in sections for item in section.items if isinstance(item, Figure)]
        for item in paced(pictures, "figures", total=len(pictures)):
            save_figure(item, figures, formats=("png", "svg", "pdf", "csv"))
    stage("the page")
    subtitle = "; ".join(
        [f"{name}: {_counted(members)}" for name, members in chosen.items() if members]
        + sorted({f"not drawn: {absent(run)}" for run in runs if run.study not in chosen})
    )
    facts = {"netassay": netassay.__version__, "runs": ", ".join(run.id for run in runs) or "none"}
    return write_page(Path(out), title=title, subtitle=subtitle, sections=sections, facts=facts)


def _counted(runs: Sequence[Run]) -> str:
    """'3 runs, 1 of them interrupted'."""
    states = Counter(str(run.state) for run in runs if not run.state.is_final)
    return ", ".join([f"{len(runs)} runs", *(f"{count} of them {state}" for state, count in states.items())])


def _drawn(study: Study, runs: Sequence[Run]) -> list[Section]:
    """What a study draws of its runs; damaged ones are named in its place, and the others are drawn without them."""
    from netassay.reporting import Note, Section

    try:
        return _sections(study, runs)
    except RunDamaged:
        damaged = {run: cause for run in runs if (cause := _damage(study, run))}
        sound = [run for run in runs if run not in damaged]
        if not damaged:
            raise
    notes = tuple(
        Note(f"Run {run.id} is damaged and not drawn. {cause}", "warning") for run, cause in damaged.items()
    )
    return [
        Section(f"Damaged runs of study {study.name}", items=notes),
        *(_sections(study, sound) if sound else []),
    ]


def _damage(study: Study, run: Run) -> str:
    try:
        _sections(study, [run])
    except RunDamaged as cause:
        return str(cause)
    return ""


def _sections(study: Study, runs: Sequence[Run]) -> list[Section]:
    """What its pages give; of another package, whatever it raises becomes a note, and its names begin with its own."""
    from netassay.reporting import Note, Section, refuse_twins

    if study.plugin is None:
        return study.pages.sections(runs)
    try:
        sections = study.pages.sections(runs)
        named = [section.named_after(study.name) for section in sections]
        refuse_twins(named)
        return named
    except RunDamaged:
        raise
    except Exception as cause:
        reason = (
            str(cause) if isinstance(cause, PluginError) else f"{type(cause).__name__}: {one_line(cause)}"
        )
        ids = ", ".join(run.id for run in runs) or "none"
        words = f"The pages of study {study.name} (package {study.release}) could not be drawn: {reason}. Runs: {ids}."
        return [Section(f"Study {study.name}", items=(Note(words, "warning"),))]
