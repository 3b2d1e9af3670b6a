"""A page of any runs; each study draws its own."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import netassay
from netassay.errors import NetassayError, PluginError, RunDamaged, RunWarning
from netassay.plugins import one_line
from netassay.processes import paced, stage
from netassay.runs import Problem, Run, Store, find_run
from netassay.runs.run import guarded
from netassay.runs.store import unique_runs, warn_of
from netassay.study import Study, absent, command, find, findings, kinds_of

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

    Unfinished runs are shown up to their last step. Those that cannot be read are named on the page and in a warning,
    and the others are drawn. The page is written completely or not at all.

    Args:
        runs: Ids, beginnings of ids, or folders of runs; by default all runs of the store.
        out: Page to write.
        store: Folder that holds the runs.
        where: Only runs with this value, KEY=VALUE; may be repeated. In Python a mapping.
        figures: Also write every figure as PNG, SVG, PDF and CSV, and every table as CSV, to this folder.
        title: Title of the page.

    Returns:
        The path of the page.

    Raises:
        ConfigError: Where both `runs` and `where` are given.
        StoreError: For a run or key that does not exist, and a page that cannot be written.
        RunDamaged: After writing the page, for an id or folder in `runs` that cannot be read.

    Example:
        >>> import netassay
        >>> netassay.report(where={"study": "edge"}, out="edge.html").name
        'edge.html'
    """
    from netassay.files import refuse_misplaced, write_file
    from netassay.reporting import Figure, Table, save_figure, write_page
    from netassay.reporting.section import csv_text

    opened, problems = _open_runs(runs, store, where)
    refuse_misplaced(out)
    by_study = {name: [run for run in opened if run.study == name] for name in kinds_of(opened)}
    with_part = [name for name, members in by_study.items() if members or not (opened or problems)]
    parts = []
    for name in paced(with_part, "studies", total=len(with_part)):
        part, damaged = _part(find(name, tracked=True), by_study[name])
        parts.append(part)
        problems += damaged
    left_out = {problem.run for problem in problems}
    sound = [run for run in opened if run.id not in left_out]
    if figures is not None:
        items = [item for part in parts for section in part.sections for item in section.items]
        pictures = [item for item in items if isinstance(item, Figure)]
        for item in paced(pictures, "figures", total=len(pictures)):
            save_figure(item, figures, formats=("png", "svg", "pdf", "csv"))
        for table in (*items, *(item for part in parts for item in part.methods)):
            if isinstance(table, Table):
                write_file(Path(figures) / f"{table.name}.csv", csv_text(table.data).encode())
    stage("the page")
    sound_by_study = {name: [run for run in members if run.id not in left_out] for name, members in by_study.items()}
    counts = ", ".join(f"{_count(members)} of {name}" for name, members in sound_by_study.items() if members)
    subtitle = "; ".join(
        [f"{len(sound)} {'run' if len(sound) == 1 else 'runs'}: {counts}"] * bool(counts)
        + sorted({f"not drawn: {absent(run)}" for run in opened if run.study not in by_study})
    )
    facts = {"netassay": netassay.__version__, "runs": ", ".join(run.id for run in sound) or "none"}
    page = write_page(
        Path(out),
        title=title,
        subtitle=subtitle,
        parts=parts,
        facts=facts,
        first=_damage_section(problems) if problems else None,
    )
    for problem in problems:
        warn_of(problem)
    requested = [run for run in runs or () if not isinstance(run, Run)]
    if requested and problems:
        raise RunDamaged(f"{page} is written without {', '.join(problem.run for problem in problems)}")
    return page


def charts(run: Run) -> dict[str, Figure]:
    """The figures of a run's page by name; RunDamaged if the run cannot be read."""
    from netassay.reporting import Figure

    study = find(run.study, tracked=True)
    with guarded(run):
        items = (item for section in _sections(study, [run]) for item in section.items)
        return {item.name: item for item in items if isinstance(item, Figure)}


def _part(study: Study, runs: Sequence[Run]) -> tuple[Part, list[Problem]]:
    """A study's part of the page, and the runs left out of it; findings cover sound runs only."""
    from netassay.reporting import Part

    sections, problems = _sound_sections(study, runs)
    left_out = {problem.run for problem in problems}
    sound = [run for run in runs if run.id not in left_out]
    rules = study.rules
    part = Part(
        study.name,
        getattr(rules, "QUESTION", "") or study.summary,
        tuple(sections),
        tuple(findings(sound)),
        getattr(rules, "READING", ""),
        _methods(study, sound),
        getattr(rules, "REFERENCES", ()),
    )
    return part, problems


def _methods(study: Study, runs: Sequence[Run]) -> tuple[Table | Note, ...]:
    """How the runs were made: command, versions, device, threads, time; one row each."""
    import polars as pl

    from netassay.reporting import TableSpec

    rows = []
    for run in runs:
        with suppress(NetassayError):
            environment = run.environment
            rows.append(
                {
                    "run": run.id,
                    **({"tags": ", ".join(tags)} if (tags := run.tags) else {}),
                    "command that makes it again": command(run),
                    "state": str(run.state),
                    "created": run.created,
                    "seconds": run.seconds,
                    **{key: str(value) for key, value in environment.items() if isinstance(value, str | int | float)},
                }
            )
    if not rows:
        return ()
    spec = TableSpec(
        f"{study.name}-methods",
        "How the runs were made",
        "The command repeats a run, given its data; the same config, machine and threads give the same numbers.",
        {"seconds": ".1f"},
        first=("run", "command that makes it again", "seconds"),
    )
    return (spec.of(pl.DataFrame(rows, infer_schema_length=None)),)


def _count(runs: Sequence[Run]) -> str:
    """'3 (1 interrupted)'."""
    states = Counter(str(run.state) for run in runs if not run.state.is_final)
    unfinished = ", ".join(f"{count} {state}" for state, count in states.items())
    return f"{len(runs)} ({unfinished})" if unfinished else f"{len(runs)}"


def _open_runs(
    runs: Sequence[Run | Path | str] | None, store: Path | str, where: Mapping[str, Any] | None
) -> tuple[list[Run], list[Problem]]:
    """The runs to draw, and those of them that cannot be opened."""
    if runs and not where:
        opened, problems = [], []
        for run in runs:
            try:
                opened.append(find_run(run, store))
            except RunDamaged as cause:
                problems.append(Problem(Path(run).name if not isinstance(run, Run) else run.id, ".", str(cause)))
        return unique_runs(opened), problems
    folder = Store(store)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RunWarning)  # the caller warns of these and of those that cannot be drawn
        of_all = runs is None or where is not None
        return folder.chosen(runs, where), folder.unreadable() if of_all else []


def _damage_section(problems: Sequence[Problem]) -> Section:
    from netassay.reporting import Note, Section

    words = "Run {} cannot be read and is left out: {}"
    notes = (Note(words.format(problem.run, problem.what), "warning") for problem in problems)
    return Section("Runs that are left out", items=tuple(notes))


def _sound_sections(study: Study, runs: Sequence[Run]) -> tuple[list[Section], list[Problem]]:
    """The sections of a study, without the runs that cannot be drawn, and those runs."""
    try:
        return _sections(study, runs), []
    except Exception:
        damaged = {run.id: cause for run in runs if (cause := _damage(study, run))}
        if not damaged:
            raise
    sound = [run for run in runs if run.id not in damaged]
    problems = [Problem(run, ".", cause) for run, cause in damaged.items()]
    return _sections(study, sound) if sound else [], problems


def _damage(study: Study, run: Run) -> str:
    try:
        with guarded(run):  # the pages of a study trust its runs
            _sections(study, [run])
    except NetassayError as cause:
        return str(cause)
    return ""


def _sections(study: Study, runs: Sequence[Run]) -> list[Section]:
    """The sections of a study's pages; of another package, errors become a note and names get a prefix."""
    from netassay.reporting import Note, Section, refuse_twins

    if study.plugin is None:
        return study.pages.sections(runs)
    try:
        sections = study.pages.sections(runs)
        prefixed = [section.named_after(study.name) for section in sections]
        refuse_twins(prefixed)
        return prefixed
    except RunDamaged:
        raise
    except Exception as cause:
        reason = str(cause) if isinstance(cause, PluginError) else f"{type(cause).__name__}: {one_line(cause)}"
        ids = ", ".join(run.id for run in runs) or "none"
        words = f"The pages of study {study.name} (package {study.release}) could not be drawn: {reason}. Runs: {ids}."
        return [Section(f"Study {study.name}", items=(Note(words, "warning"),))]
