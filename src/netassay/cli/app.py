"""The table of commands, and the command for one run of each study."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Group, Parameter

import netassay
from netassay import study
from netassay.cli.command import Command, Format, Quiet, Store, Threads, config_flags, flag
from netassay.cli.output import answer, be_quiet, progress_of_steps
from netassay.config import read
from netassay.errors import ConfigError, PluginError
from netassay.studies import STUDIES
from netassay.study import Study, summary_line

_ConfigFile = Annotated[Path | None, Parameter(help="TOML or JSON file of config keys; flags override it.")]

_RUN_FLAGS: dict[str, tuple[Any, Any]] = {
    "config": (_ConfigFile, None),
    "store": (Store, Path("runs")),
    "threads": (Threads, None),
    "format": (Format, "table"),
    "quiet": (Quiet, False),
}

_WHERE = Group("Run", sort_key=1)


def assay_command(study: Study) -> Callable[..., int]:
    """The command for one run of `study`: a flag for each config key, and where and how to run it."""

    def command(*positional: Any, **words: Any) -> int:
        from netassay.performing import perform, summarise

        words |= dict(zip(study.config.positional, positional, strict=False))
        run_words = {name: words.pop(name, default) for name, (_, default) in _RUN_FLAGS.items()}
        config, where = run_words["config"], str(run_words["config"] or "flags")
        settings = study.config.from_mapping({**_from_file(study, config), **words}, where=where)
        be_quiet(run_words["quiet"])
        with progress_of_steps(getattr(settings, "steps", None)) as watch:
            run = perform(settings, run_words["store"], threads=run_words["threads"], watch=watch)
        answer(summarise(run), run_words["format"])
        return 0

    example = getattr(study.config, "example", f"netassay {study.name} --store runs")
    command.__doc__ = f"{summary_line(study.config.__doc__, study.summary)}\n\nExample: {example}"
    keys = [_by_position(key, study.config.positional) for key in config_flags(study.config)]
    flags = [flag(name, kind, default, _WHERE) for name, (kind, default) in _RUN_FLAGS.items()]
    # keys by position come before flags
    flags = sorted([*flags, *keys], key=lambda key: key.kind)
    command.__signature__ = inspect.Signature(flags)  # type: ignore[attr-defined]
    command.__annotations__ = {}
    return command


def _by_position(parameter: inspect.Parameter, names: tuple[str, ...]) -> inspect.Parameter:
    """A flag that may also be given by position, where its name is among `names`."""
    return parameter.replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD) if parameter.name in names else parameter


def _from_file(study: Study, path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    values = read(path)
    if values.get("study", study.name) != study.name:
        raise ConfigError(f"{path}: is a config of study {values['study']!r}; use netassay {values['study']} --config")
    return values


GROUPS = {
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
    for group, (module, names) in GROUPS.items():
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
    for group, (module, names) in GROUPS.items():
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
