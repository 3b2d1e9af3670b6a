"""One command per study, with flags from the study's config."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from netassay.cli.flags import Quiet, Store, Threads, config_flags, flag
from netassay.cli.output import Format, answer
from netassay.cli.progress import be_quiet, steps
from netassay.config import read
from netassay.errors import ConfigError
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
        with steps(getattr(settings, "steps", None)) as watch:
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
