"""Commands that make many runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from netassay.cli import progress
from netassay.cli.command import Ask, Command
from netassay.cli.output import Format, table
from netassay.cli.terminal import visible
from netassay.commands.demo import demo as demo_of_studies
from netassay.sweeps import Plan
from netassay.sweeps import sweep as sweep_plan


def sweep(
    ask: Ask,
    *,
    plan: str,
    store: Any = "runs",
    workers: Any = None,
    dry_run: Annotated[
        bool, Parameter(help="Only show what is done and what is left; nothing is written.", negative="")
    ] = False,
    format: Format = "table",
) -> int:
    from netassay.sweeps import outlook

    chosen = Plan.named(plan)
    if chosen.expect and not Path(plan).exists():
        _say(f"{chosen.name}: {chosen.expect}")
    ahead = outlook(chosen, store, workers)
    _say(ahead.in_words())
    if dry_run:
        table(ahead.rows, format)
        return 0
    with progress.runs(ahead.total) as watch:
        finished = ask(watch=watch)
    table(finished.rows(), format)
    _say_failures(finished.failed)
    return 1 if finished.failed else 0


def _say_failures(failed: Mapping[str, str]) -> None:
    for run, cause in failed.items():
        _say(f"{run} failed: {cause}")


def demo(ask: Ask, *, out: Any = "demo", workers: Any = None) -> int:
    @contextmanager
    def observe(plan: Plan) -> Iterator[Any]:
        _say(f"{plan.name}: {plan.expect}")
        if plan.study.endswith("interpret"):
            with progress.chapters() as watch:
                yield watch
            return
        from netassay.sweeps import outlook

        ahead = outlook(plan, Path(out) / "runs", workers)
        _say(ahead.in_words())
        with progress.runs(ahead.total) as watch:
            yield watch

    shown = ask(observe=observe)
    _say_failures(shown.failed)
    print(shown.page)
    return 1 if shown.failed else 0


def _say(words: str) -> None:
    print(visible(words), file=sys.stderr, flush=True)


COMMANDS = (
    Command(sweep_plan, sweep, "netassay sweep plan.toml --store runs --workers 2"),
    Command(demo_of_studies, demo, "netassay demo --out demo", named=("out",)),
)
