"""Commands that make many runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from netassay.cli.command import Ask, Command, Format
from netassay.cli.output import progress_of_chapters, progress_of_runs, say, table, written
from netassay.commands.demo import demo as demo_of_studies
from netassay.commands.demo import left_out
from netassay.errors import ConfigError
from netassay.sweeps import Plan, Standing
from netassay.sweeps import sweep as sweep_plan
from netassay.sweeps import watch as watch_runs

MANY = 10_000
"""Runs of a plan above which the command asks."""


def sweep(
    ask: Ask,
    *,
    plan: str,
    store: Any = "runs",
    workers: Any = None,
    on: Any = "local",
    shard: Any = None,
    dry_run: Annotated[
        bool, Parameter(help="Only show what is done and what is left; nothing is written.", negative="")
    ] = False,
    yes: Annotated[bool, Parameter(help=f"Go on with more than {MANY:,} runs.", negative="")] = False,
    format: Format = "table",
) -> int:
    from netassay.sweeps import outlook

    chosen = Plan.named(plan).part(shard)
    _refuse_many(chosen, yes)
    if chosen.expect and not Path(plan).exists():
        say(f"{chosen.name}: {chosen.expect}")
    ahead = outlook(chosen, store, workers, on=on)
    say(ahead.in_words())
    if dry_run:
        table(ahead.rows, format)
        return 0
    with _observed([chosen], store, ahead.total) as watch:
        finished = ask(watch=watch)
    table(finished.rows(), format)
    _say_failures(finished.failed)
    return 1 if finished.failed else 0


def _refuse_many(plan: Plan, yes: bool) -> None:
    """ConfigError for more runs than a plan is likely to mean, before any of them takes memory."""
    if plan.size > MANY and not yes:
        raise ConfigError(f"the plan has {plan.size:,} runs; add --yes if you mean it")


@contextmanager
def _observed(plans: Sequence[Plan], store: Any, total: int) -> Iterator[Any]:
    """A watch for a sweep of plans, with a line a run meanwhile."""
    from netassay.cli import view
    from netassay.sweeps import Standings

    with progress_of_runs(total) as (watch, words), view.live(Standings.of_plans(plans, store), words):
        yield watch


def watch(
    ask: Ask,
    *,
    target: str,
    store: Any = "runs",
    once: Annotated[bool, Parameter(help="Print where all runs stand now, and end.", negative="")] = False,
    yes: Annotated[bool, Parameter(help=f"Go on with more than {MANY:,} runs.", negative="")] = False,
    format: Format = "table",
) -> None:
    from netassay.cli import view
    from netassay.sweeps import Standings

    if not Path(target).is_dir():
        _refuse_many(Plan.named(target), yes)
    followed = not once and format == "table"
    standings = view.follow(Standings.of(target, store)) if followed else ask()
    if format != "table":
        table([standing._asdict() for standing in standings], format, columns=Standing._fields)
        return
    say(view.counts(standings))
    for text in view.plain(standings, all_states=True):
        print(text)


def _say_failures(failed: Mapping[str, str]) -> None:
    for run, cause in failed.items():
        say(f"{run} failed: {cause}")


def demo(ask: Ask, *, out: Any = "demo", workers: Any = None, format: Format = "table") -> int:
    @contextmanager
    def observe(plans: Sequence[Plan]) -> Iterator[Any]:
        for plan in plans:
            say(f"{plan.name}: {plan.expect}")
        if plans[0].study.endswith("interpret"):
            with progress_of_chapters() as watch:
                yield watch
            return
        from netassay.sweeps import outlook

        aheads = [outlook(plan, Path(out) / "runs", workers) for plan in plans]
        for ahead in aheads:
            say(ahead.in_words())
        with _observed(plans, Path(out) / "runs", sum(ahead.total for ahead in aheads)) as watch:
            yield watch

    for words in left_out():
        say(words)
    shown = ask(observe=observe)
    _say_failures(shown.failed)
    written(shown.page, format, failed=dict(shown.failed), left_out=list(shown.left_out))
    return 1 if shown.failed else 0


COMMANDS = (
    Command(
        sweep_plan,
        sweep,
        "netassay sweep plan.toml --store runs --workers 2",
        progress="own",
    ),
    Command(watch_runs, watch, "netassay watch plan.toml --store runs", positional=("target",)),
    Command(
        demo_of_studies,
        demo,
        "netassay demo --out demo",
        named=("out",),
        progress="own",
    ),
)
