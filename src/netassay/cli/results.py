"""Commands on runs that exist: how their answers are shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from netassay.cli.command import Ask, Command, Format, conditions
from netassay.cli.output import answer, frame, progress_of_steps, say, table, visible, written
from netassay.commands import runs as questions
from netassay.commands.check import check as check_path
from netassay.errors import ConfigError, StoreError
from netassay.performing import resume as resume_run
from netassay.presenting import report as write_report
from netassay.runs import Store, find_run


def resume(ask: Ask, *, run: str, store: Any = "runs", format: Format = "table") -> None:
    from netassay.performing import summarise

    with progress_of_steps(find_run(run, store).config.get("steps")) as watch:
        finished = ask(watch=watch)
    answer(summarise(finished), format)


def _require(store: Any) -> None:
    if not Path(store).exists():
        raise StoreError(f"store {store}: there is no such folder; give --store, or make a run in it first")


def runs(
    ask: Ask,
    *,
    store: Any = "runs",
    out: Annotated[
        Path | None, Parameter(help="Write the table here, as .csv, .tsv or .parquet, and print its name.")
    ] = None,
    format: Format = "table",
) -> None:
    from netassay.commands.tables import refuse_no_table, write_table

    rows = ask()
    _require(store)
    if out is None:
        frame(rows, format, empty=f"no runs in {store}")
        return
    refuse_no_table(out)
    write_table(out, rows)
    print(out)


def show(ask: Ask, *, what: str = "summary", name: str | None = None, format: Format = "table") -> None:
    part = ask()
    if what in ("summary", "config"):
        answer(part, format)
    elif isinstance(part, Mapping):
        _show_tables(part, format)
    else:
        frame(part, format, empty=_EMPTY.get(what, "nothing"))


_EMPTY = {"events": "no events", "metrics": "no such numbers recorded"}


def _show_tables(frames: Mapping[str, Any], format: str) -> None:
    """Shows all tables: JSON as an object of tables; CSV, which holds only one, is refused."""
    if format == "csv" and frames:
        raise ConfigError(f"CSV holds one table; choose with --name: {', '.join(frames)}")
    if format == "json":
        answer({key: rows.to_dicts() for key, rows in frames.items()}, format)
        return
    if not frames:
        table([], format, empty="no tables yet; they are written when the run ends")
    for key, rows in frames.items():
        print(visible(key))
        frame(rows, format)


def export(ask: Ask, *, runs: tuple[str, ...] = (), store: Any = "runs", format: Format = "table") -> None:
    if not runs:
        _require(store)
    written(ask(), format)


def verify(ask: Ask, *, runs: tuple[str, ...] = (), store: Any = "runs", format: Format = "table") -> int:
    from netassay.runs import Problem

    if not runs and not Path(store).exists():
        raise StoreError(f"store {store}: there is no such folder, so nothing was verified")
    problems = ask()
    sound = "every byte is as it was written" if runs or Store(store).runs() else f"no runs in {store}"
    table([problem._asdict() for problem in problems], format, columns=Problem._fields, empty=sound)
    return 2 if problems else 0


def delete(
    ask: Ask,
    *,
    where: Any = None,
    store: Any = "runs",
    yes: Annotated[
        bool, Parameter(help="Delete the runs of --where; without it they are only listed.", negative="")
    ] = False,
    format: Format = "table",
) -> None:
    _require(store)
    if where and not yes:
        matches = Store(store).table(conditions(where))
        frame(matches, format, empty="no run has these values")
        say(f"{matches.height} run{'s' * (matches.height != 1)} would be deleted; add --yes to delete them")
        return
    if format == "table":
        for name in ask():
            print(f"deleted {name}")
        return
    table([{"deleted": name} for name in ask()], format, columns=("deleted",))


def tag(ask: Ask, *, format: Format = "table") -> None:
    table([{"tag": word} for word in ask()], format, columns=["tag"], empty="no tags")


def report(ask: Ask, *, runs: tuple[str, ...] = (), store: Any = "runs", format: Format = "table") -> None:
    if not runs:
        _require(store)
    written(ask(), format)


def figure(ask: Ask, *, format: Format = "table") -> None:
    written(ask(), format)


def check(ask: Ask, *, format: Format = "table") -> None:
    checked = ask()
    commands = [{"run next": command} for command in checked.commands]
    left_out = [{"left out": reason, "number": number} for reason, number in checked.left_out.items()]
    answer({"what": checked.what, **checked.facts, "left_out": left_out, "commands": commands}, format)


def explain(ask: Ask, *, format: Format = "table") -> None:
    table([key._asdict() for key in ask()], format)


COMMANDS = (
    Command(
        resume_run,
        resume,
        "netassay resume edge-1a2b3c --store runs",
        progress="own",
    ),
    Command(Store.table, runs, "netassay runs --where activation=tanh --where state=finished", named=("where",)),
    Command(questions.show, show, "netassay show edge-1a2b3c --what metrics --name sharpness --format csv"),
    Command(
        Store.export,
        export,
        "netassay export metrics.parquet --where depth=2",
        hidden=("format",),
        progress="said",
    ),
    Command(
        Store.verify,
        verify,
        "netassay verify --store runs",
        progress="said",
    ),
    Command(Store.tag, tag, "netassay tag edge-1a2b3c baseline paper", names={"words": "tags"}),
    Command(Store.delete, delete, "netassay delete edge-1a2b3c4d5e6f --store runs", names={"ids": "runs"}),
    Command(
        write_report,
        report,
        "netassay report --where depth=2 --out depth2.html --figures figures",
        named=("out",),
        progress="said",
    ),
    Command(
        questions.figure,
        figure,
        "netassay figure latest edge-sharpness --width 85mm --theme print --out sharpness.pdf",
        progress="said",
    ),
    Command(check_path, check, "netassay check plan.toml", progress="said"),
    Command(questions.explain, explain, "netassay explain edge"),
)
