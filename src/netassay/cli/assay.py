"""One command a study, its flags made from the study's config."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter, Token

from netassay.cli.output import Format, answer
from netassay.cli.progress import steps
from netassay.config import Config, allowed, read
from netassay.errors import ConfigError
from netassay.namelist import NameList
from netassay.study import Study, summary_line


def whole_number(kind: Any, words: Sequence[Token]) -> int:
    """The number in a flag's word; cyclopts by itself would round 1.5 to 2."""
    try:
        return int(words[0].value)
    except ValueError:
        raise ValueError(f"{words[0].value[:40]!r} is no whole number.") from None


def whole_numbers(kind: Any, words: Sequence[Token]) -> tuple[int, ...]:
    """`whole_number` of a flag that takes several."""
    return tuple(whole_number(kind, [word]) for word in words)


def folder(kind: Any, words: Sequence[Token]) -> Path:
    """The path in a flag's word; cyclopts by itself would take none for the current folder."""
    if not words[0].value:
        raise ValueError('"" is no folder; write "." for the current one.')
    return Path(words[0].value)


Store = Annotated[Path, Parameter(converter=folder, help="Folder that holds the runs.")]
Threads = Annotated[
    int | None,
    Parameter(converter=whole_number, help="Threads; by default those the run began with, or all cores."),
]
_ConfigFile = Annotated[Path | None, Parameter(help="TOML or JSON file of config keys; flags override it.")]

_RUN_FLAGS: dict[str, tuple[Any, Any]] = {
    "config": (_ConfigFile, None),
    "store": (Store, Path("runs")),
    "threads": (Threads, None),
    "format": (Format, "table"),
}

_WHERE = Group("Run", sort_key=1)
_WHAT = Group("Config", sort_key=2)


def assay_command(study: Study) -> Callable[..., int]:
    """The command that makes one run of `study`: a flag for each config key, and where and how to run it."""

    def command(**words: Any) -> int:
        from netassay.performing import perform, summarise

        run_words = {name: words.pop(name, default) for name, (_, default) in _RUN_FLAGS.items()}
        config, where = run_words["config"], str(run_words["config"] or "flags")
        chosen = study.config.from_mapping({**_from_file(study, config), **words}, where=where)
        with steps(getattr(chosen, "steps", None)) as watch:
            run = perform(chosen, run_words["store"], threads=run_words["threads"], watch=watch)
        answer(summarise(run), run_words["format"])
        return 0

    example = getattr(study.config, "example", f"netassay {study.name} --store runs")
    command.__doc__ = f"{summary_line(study.config.__doc__, study.summary)}\n\nExample: {example}"
    flags = [_flag(name, kind, default, _WHERE) for name, (kind, default) in _RUN_FLAGS.items()]
    command.__signature__ = inspect.Signature([*flags, *config_flags(study.config)])  # type: ignore[attr-defined]
    command.__annotations__ = {}
    return command


def _from_file(study: Study, path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    values = read(path)
    if values.get("study", study.name) != study.name:
        raise ConfigError(
            f"{path}: is a config of study {values['study']!r}; use netassay {values['study']} --config"
        )
    return values


def config_flags(config: type[Config]) -> list[inspect.Parameter]:
    """A flag for each key of a config."""
    flags = []
    for name, field in config.model_fields.items():
        meaning = " ".join((field.description or "").split())
        limits = allowed(field)
        words = meaning if "|" in limits else f"{meaning} [{limits}]"
        whole = field.annotation in (int, int | None)
        told = Parameter(help=words, converter=whole_number if whole else None)
        # a list of names is one word with commas at the command line
        kind, default = (
            (str, field.default.text) if field.annotation is NameList else (field.annotation, field.default)
        )
        flags.append(_flag(name, Annotated[kind, told], default, _WHAT))
    return flags


def _flag(name: str, kind: Any, default: Any, group: Group) -> inspect.Parameter:
    # only flags that were given reach the command: a file's values stay where no flag overrides them
    grouped = Annotated[kind, Parameter(group=group)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=grouped)
