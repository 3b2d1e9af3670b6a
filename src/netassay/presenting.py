"""A page of any runs, each study drawing its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import netassay
from netassay.errors import PluginError, RunDamaged
from netassay.plugins import one_line
from netassay.reporting import Figure, Note, Section, refuse_twins, save_figure, write_page
from netassay.runs import Run
from netassay.study import Study, absent, drawn, find


def report(
    runs: Sequence[Run],
    out: Path | str = "report.html",
    *,
    figures: Path | str | None = None,
    title: str = "netassay report",
) -> Path:
    """Writes the page of `runs` to `out`, study by study, and returns its path.

    `figures`: a folder that gets every figure as PNG, SVG and PDF and the numbers behind it as CSV. Nothing is
    left half-written; runs in any state are shown as far as they go, and damaged ones are named.
    """
    chosen = {name: [run for run in runs if run.study == name] for name in drawn()}
    sections = [
        part
        for name, members in chosen.items()
        if members or not runs
        for part in _drawn(find(name, tracked=True), members)
    ]
    if figures is not None:
        for section in sections:
            for item in section.items:
                if isinstance(item, Figure):
                    save_figure(item, figures, formats=("png", "svg", "pdf", "csv"))
    subtitle = "; ".join(
        [f"{name}: {len(members)} runs" for name, members in chosen.items() if members]
        + sorted({f"not drawn: {absent(run)}" for run in runs if run.study not in chosen})
    )
    facts = {"netassay": netassay.__version__, "runs": ", ".join(run.id for run in runs) or "none"}
    return write_page(Path(out), title=title, subtitle=subtitle, sections=sections, facts=facts)


def _drawn(study: Study, runs: Sequence[Run]) -> list[Section]:
    """What a study draws of its runs; damaged ones are named in its place, and the others are drawn without them."""
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
