"""The table of commands."""

from __future__ import annotations

import sys
from collections.abc import Callable

from cyclopts import App

import netassay
from netassay import study
from netassay.cli import atlas, corpus, plans, results, trained
from netassay.cli.assay import assay_command
from netassay.cli.command import Command
from netassay.errors import PluginError

_GROUPS: dict[str, tuple[Command, ...]] = {
    "A corpus": corpus.COMMANDS,
    "What a network learned": trained.COMMANDS,
    "Many runs": plans.COMMANDS,
    "Runs": results.COMMANDS,
    "Help": (results.CHECK, results.EXPLAIN),
}

COMPLETION = "--install-completion"
_HELP = ("", "-h", "--help")


def build(word: str | None = None) -> App:
    """All commands; with `word`, the first word of a command line, only the study of that name is loaded.

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
    app.register_install_completion_command(
        COMPLETION, help="Install completion of words for bash, zsh or fish, and add it to the shell's startup file."
    )
    if word == COMPLETION:  # completion knows the flags of all commands
        word = None
    for name in study.builtin():
        _add(app, study.find(name), word in (None, name), "Studies")
    for group, commands in _GROUPS.items():
        for command in commands:
            loaded = word in (None, command.name)
            app.command(
                command.build() if loaded else _unbuilt(command.name, command.sentence), name=command.name, group=group
            )
    app.command(atlas.atlas_app())
    if word is not None and (word in _HELP or word not in app.resolved_commands()):
        _add_plugins(app, word)
    return app


def _add(app: App, kind: study.Study, loaded: bool, group: str) -> None:
    command = assay_command(kind) if loaded else _unloaded(kind)
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
            _add(app, study.Study(name, plugin), word == name, "Studies of other packages")
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


def _unloaded(kind: study.Study) -> Callable[[], None]:
    # loading a study's config for its flags costs a tenth of a second, which every other command would pay
    return _unbuilt(kind.name, kind.summary)


def _unbuilt(name: str, sentence: str) -> Callable[[], None]:
    """A command that is only listed."""

    def command() -> None:
        raise AssertionError(f"command {name} was called without being loaded")

    command.__doc__ = sentence
    return command
