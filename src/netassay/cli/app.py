"""The table of commands."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from cyclopts import App

import netassay
from netassay.cli import atlas, corpus, plans, results, trained
from netassay.cli.command import Command
from netassay.studies import STUDIES
from netassay.study import Study

_GROUPS: dict[str, tuple[Command, ...]] = {
    "A corpus": corpus.COMMANDS,
    "What a network learned": trained.COMMANDS,
    "Many runs": plans.COMMANDS,
    "Runs": results.COMMANDS,
    "Help": (results.EXPLAIN,),
}


def build(word: str | None = None) -> App:
    """All commands; with `word`, the first of a command line, only the study of that name is loaded."""
    app = App(
        name="netassay",
        help=netassay.__doc__,
        version=netassay.__version__,
        help_format="plaintext",
        result_action="return_value",
    )
    for name in STUDIES:
        app.command(_study(name) if word in (None, name) else _named(name), name=name, group="Studies")
    for group, commands in _GROUPS.items():
        for command in commands:
            chosen = word in (None, command.name)
            app.command(
                command.build() if chosen else _unbuilt(command.name, command.sentence),
                name=command.name, group=group,
            )  # fmt: skip
    app.command(atlas.atlas_app())
    return app


def commands(app: App, words: tuple[str, ...] = ()) -> dict[str, Callable[..., object]]:
    """Every command of an app by its words, such as "atlas build", in the order of the alphabet."""
    found = {}
    for name in sorted(name for name in app.resolved_commands() if not name.startswith("-")):
        inner = app[name]
        if inner.default_command is not None:
            found[" ".join((*words, name))] = inner.default_command
        else:
            found |= commands(inner, (*words, name))
    return found


def _study(name: str) -> Callable[..., int]:
    from netassay.cli.assay import assay_command
    from netassay.study import find

    return assay_command(find(name))


def _named(name: str) -> Callable[[], None]:
    # loading a study's config to make its flags costs a tenth of a second, which every other command would pay
    return _unbuilt(name, (import_module(Study(name).package).__doc__ or "").splitlines()[0])


def _unbuilt(name: str, sentence: str) -> Callable[[], None]:
    """A command that is only listed."""

    def command() -> None:
        raise AssertionError(f"command {name} was called without being loaded")

    command.__doc__ = sentence
    return command
