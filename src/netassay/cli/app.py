"""The table of commands."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module

from cyclopts import App

import netassay
from netassay import study
from netassay.cli.assay import assay_command
from netassay.cli.command import Command
from netassay.errors import PluginError
from netassay.studies import STUDIES

_GROUPS = {
    "A corpus": ("corpus", ("entropy", "bounds", "construct", "injectivity", "rank")),
    "What a network learned": ("trained", ("interpret", "reduce", "transfer", "variants", "attribute", "predict")),
    "Many runs": ("plans", ("sweep", "watch", "demo")),
    "Runs": ("results", ("resume", "runs", "show", "export", "verify", "tag", "delete", "report", "figure")),
    "Help": ("results", ("check", "explain")),
}
"""Headings of the help: the module of `netassay.cli` with the commands below it, and their names in order."""

COMPLETION = "--install-completion"
_HELP = ("", "-h", "--help")


def build(word: str | None = None) -> App:
    """All commands; with `word`, the first word of a command line, only that command, or the help of all.

    Without it, only the commands of this package. PluginError if `word` names a study of another package that cannot
    be used.
    """
    app = App(
        name="netassay",
        help=netassay.__doc__,
        version=netassay.__version__,
        help_format="plaintext",
        result_action="return_value",
    )
    for group, (module, names) in _GROUPS.items():
        if word in names:
            _add_command(app, _command(module, word), group)
            return app
    if word in STUDIES:
        _add_study(app, study.Study(word), "Studies")
    elif word == "atlas":
        app.command(import_module("netassay.cli.atlas").atlas_app())
    else:
        # completion knows the flags of all commands
        _add_all(app, None if word == COMPLETION else word)
    return app


def _add_all(app: App, word: str | None) -> None:
    """Every command: with its flags if there is no `word`, otherwise only its name and summary."""
    app.register_install_completion_command(
        COMPLETION, help="Install completion of words for bash, zsh or fish, and add it to the shell's startup file."
    )
    for name in STUDIES:
        _add_study(app, study.Study(name), "Studies", listed=word is not None)
    for group, (module, names) in _GROUPS.items():
        for name in names:
            _add_command(app, _command(module, name), group, listed=word is not None)
    app.command(import_module("netassay.cli.atlas").atlas_app())
    if word is not None:
        _add_plugins(app, word)


def _command(module: str, name: str) -> Command:
    return next(command for command in import_module(f"netassay.cli.{module}").COMMANDS if command.name == name)


def _add_command(app: App, command: Command, group: str, *, listed: bool = False) -> None:
    app.command(_unbuilt(command.name, command.sentence) if listed else command.build(), name=command.name, group=group)


def _add_study(app: App, kind: study.Study, group: str, *, listed: bool = False) -> None:
    # loading a study's config for its flags costs a tenth of a second, which the help of all would pay for each
    command = _unbuilt(kind.name, kind.summary) if listed else assay_command(kind)
    app.command(command, name=kind.name, group=group)


def _add_plugins(app: App, word: str) -> None:
    """Adds the studies of other packages; those that cannot be used are named on standard error, for help alone."""
    plugins = study.plugins()
    if word in plugins.refused:
        raise PluginError(plugins.refused[word])
    refused = [*plugins.refused.values()]
    for name, plugin in plugins.usable.items():
        if name in app.resolved_commands():
            refused.append(
                f"study {name!r} of package {plugin.distribution}: netassay has a command of that name; "
                "it can be swept and resumed, and the package should give it another name"
            )
        else:
            _add_study(app, study.Study(name, plugin), "Studies of other packages", listed=word != name)
    if word in _HELP:
        for line in refused:
            print(f"netassay: {line}", file=sys.stderr)


def commands(app: App, words: tuple[str, ...] = ()) -> dict[str, Callable[..., object]]:
    """Every command of an app by its words, such as "atlas build", in alphabetical order."""
    by_words = {}
    for name in sorted(name for name in app.resolved_commands() if not name.startswith("-")):
        inner = app[name]
        if inner.default_command is not None:
            by_words[" ".join((*words, name))] = inner.default_command
        else:
            by_words |= commands(inner, (*words, name))
    return by_words


def _unbuilt(name: str, sentence: str) -> Callable[[], None]:
    """A command that is only listed."""

    def command() -> None:
        raise AssertionError(f"command {name} was called without being loaded")

    command.__doc__ = sentence
    return command
