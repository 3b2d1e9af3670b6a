"""A page of any runs, each study drawing its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import netassay
from netassay.errors import NetassayError, PluginError, RunDamaged
from netassay.pace import paced, stage
from netassay.plugins import one_line
from netassay.runs import Run, Store
from netassay.study import Study, absent, drawn, find, findings
from netassay.wording import command

if TYPE_CHECKING:
    from netassay.reporting import Figure, Note, Part, Section, Table


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
    with_part = [name for name, members in chosen.items() if members or not runs]
    parts = [
        _part(find(name, tracked=True), chosen[name])
        for name in paced(with_part, "studies", total=len(with_part))
    ]
    if figures is not None:
        items = [item for part in parts for section in part.sections for item in section.items]
        pictures = [item for item in items if isinstance(item, Figure)]
        for item in paced(pictures, "figures", total=len(pictures)):
            save_figure(item, figures, formats=("png", "svg", "pdf", "csv"))
    stage("the page")
    counts = ", ".join(f"{_counted(members)} of {name}" for name, members in chosen.items() if members)
    subtitle = "; ".join(
        [f"{len(runs)} {'runs' if len(runs) > 1 else 'run'}: {counts}"] * bool(counts)
        + sorted({f"not drawn: {absent(run)}" for run in runs if run.study not in chosen})
    )
    facts = {"netassay": netassay.__version__, "runs": ", ".join(run.id for run in runs) or "none"}
    return write_page(Path(out), title=title, subtitle=subtitle, parts=parts, facts=facts)


def charts(run: Run) -> dict[str, Figure]:
    """The figures of a run's page by their names, those of its study; RunDamaged where it cannot be read."""
    from netassay.reporting import Figure

    study = find(run.study, tracked=True)
    items = (item for section in _sections(study, [run]) for item in section.items)
    return {item.name: item for item in items if isinstance(item, Figure)}


def _part(study: Study, runs: Sequence[Run]) -> Part:
    """A study's part of the page; its findings speak of sound runs only."""
    from netassay.reporting import Part

    sections = tuple(_drawn(study, runs))
    rules = study.rules
    return Part(
        study.name,
        getattr(rules, "QUESTION", "") or study.summary,
        sections,
        tuple(findings(runs)),
        getattr(rules, "READING", ""),
        _methods(study, runs),
        getattr(rules, "REFERENCES", ()),
    )


def _methods(study: Study, runs: Sequence[Run]) -> tuple[Table | Note, ...]:
    """How the runs were made: command, versions, device, threads, time; one row each."""
    import polars as pl

    from netassay.reporting import TableSpec

    rows = []
    for run in runs:
        with suppress(NetassayError):
            environment = run.environment
            rows.append({
                "run": run.id, "command that makes it again": command(run), "state": str(run.state),
                "created": run.created, "seconds": run.seconds,
                **{key: str(value) for key, value in environment.items() if isinstance(value, str | int | float)},
            })  # fmt: skip
    if not rows:
        return ()
    spec = TableSpec(
        f"{study.name}-methods", "How the runs were made",
        "The command makes a run again, where its data are; equal config, machine and threads give equal numbers.",
        {"seconds": ".1f"}, first=("run", "command that makes it again", "seconds"),
    )  # fmt: skip
    return (spec.of(pl.DataFrame(rows, infer_schema_length=None)),)


def _counted(runs: Sequence[Run]) -> str:
    """'3 (1 interrupted)'."""
    states = Counter(str(run.state) for run in runs if not run.state.is_final)
    others = ", ".join(f"{count} {state}" for state, count in states.items())
    return f"{len(runs)} ({others})" if others else f"{len(runs)}"


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
