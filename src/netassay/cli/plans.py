"""Commands that make many runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from netassay.cli import progress
from netassay.cli.assay import Store, whole_number
from netassay.cli.output import Format, table

if TYPE_CHECKING:
    from netassay.runs import Run

Workers = Annotated[
    int | None, Parameter(converter=whole_number, help="Runs at a time; by default one a core.")
]


def sweep(
    plan: Annotated[
        str,
        Parameter(
            help="TOML or JSON file with keys study, base, axes, cases, repeats, or a shipped plan as STUDY:NAME."
        ),
    ],
    *,
    store: Store = Path("runs"),
    workers: Workers = None,
    dry_run: Annotated[
        bool, Parameter(help="Only show what is done and what is left; nothing is written.")
    ] = False,
    format: Format = "table",
) -> int:
    """Make every run of a plan done, one process each; the same command goes on after any interruption.

    Example: netassay sweep plan.toml --store runs --workers 2
    """
    from netassay.sweeps import Plan, outlook, sweep

    chosen = Plan.named(plan)
    if chosen.expect and not Path(plan).exists():
        _say(f"{chosen.name}: {chosen.expect}")
    ahead = outlook(chosen, store, workers)
    _say(ahead.in_words())
    if dry_run:
        table(ahead.rows, format)
        return 0
    with progress.runs(ahead.total) as watch:
        done = sweep(chosen, store, workers=workers, watch=watch)
    table(done.rows(), format)
    for run, cause in done.failed.items():
        _say(f"{run} failed: {cause}")
    return 1 if done.failed else 0


def demo(
    *,
    out: Annotated[Path, Parameter(help="Folder for the runs, figures and report.html.")] = Path("demo"),
    workers: Workers = None,
) -> int:
    """Run every study small on real data and write the report; minutes on two cores.

    Example: netassay demo --out demo
    """
    from netassay.presenting import report
    from netassay.runs import Store as Runs
    from netassay.sweeps import outlook, shipped, sweep

    failed: dict[str, str] = {}
    runs = []
    for plan in shipped("demo"):
        _say(f"{plan.name}: {plan.expect}")
        ahead = outlook(plan, out / "runs", workers)
        _say(ahead.in_words())
        with progress.runs(ahead.total) as watch:
            done = sweep(plan, out / "runs", workers=workers, watch=watch)
        failed |= done.failed
        runs += [run.id for run in done.runs]
        runs += [
            _interpreted(run) for run in done.runs if run.study == "aitac" and run.config["null"] == "none"
        ]
    for run, cause in failed.items():
        _say(f"{run} failed: {cause}")
    page = report([Runs(out / "runs").find(run) for run in runs], out / "report.html", figures=out / "figures",
                  title="netassay demo")  # fmt: skip
    print(page)
    return 1 if failed else 0


def _interpreted(run: Run) -> str:
    """The id of a small interpretation of a trained run."""
    from netassay.interpreting import interpret
    from netassay.sweeps import Plan

    plan = Plan.named("aitac-interpret:demo")
    _say(f"{plan.name}: {plan.expect}")
    with progress.chapters() as watch:
        return interpret(run, watch=watch, **plan.base).id


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
