"""One command a study, its flags made from the study's config."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from netassay.cli.output import Format, answer
from netassay.cli.progress import steps
from netassay.config import allowed, read
from netassay.errors import ConfigError
from netassay.study import Study

Store = Annotated[Path, Parameter(help="Folder that holds the runs.")]
Threads = Annotated[int | None, Parameter(help="Threads; by default those the run began with, or all cores.")]

_WHERE = Group("Run", sort_key=1)
_WHAT = Group("Config", sort_key=2)


def assay_command(study: Study) -> Callable[..., int]:
    """The command that makes one run of `study`: a flag for each config key, and where and how to run it."""

    def command(
        *, config: Path | None = None, store: Path = Path("runs"), threads: int | None = None, format: str = "table",
        **given: Any,
    ) -> int:  # fmt: skip
        from netassay.perform import perform, summarise

        chosen = study.config.from_mapping({**_from_file(study, config), **given}, where=str(config or "flags"))
        with steps(getattr(chosen, "steps", None)) as watch:
            run = perform(chosen, store, threads=threads, watch=watch)
        answer(summarise(run), format)
        return 0

    command.__doc__ = f"{(study.config.__doc__ or '').splitlines()[0]}\n\nExample: {study.config.example}"
    command.__signature__ = inspect.Signature([*_run_flags(), *_config_flags(study)])  # type: ignore[attr-defined]
    return command


def _from_file(study: Study, path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    values = read(path)
    if values.get("study", study.name) != study.name:
        raise ConfigError(f"{path}: is a config of study {values['study']!r}; use netassay {values['study']} --config")
    return values


def _run_flags() -> list[inspect.Parameter]:
    config = Annotated[Path | None, Parameter(help="TOML or JSON file of config keys; flags override it.")]
    flags: dict[str, tuple[Any, Any]] = {
        "config": (config, None), "store": (Store, Path("runs")), "threads": (Threads, None), "format": (Format, "table"),
    }  # fmt: skip
    return [_flag(name, Annotated[kind, Parameter(group=_WHERE)], default) for name, (kind, default) in flags.items()]


def _config_flags(study: Study) -> list[inspect.Parameter]:
    flags = []
    for name, field in study.config.model_fields.items():
        meaning = " ".join((field.description or "").split())
        limits = allowed(field)
        words = meaning if "|" in limits else f"{meaning} [{limits}]"
        # strict typing is left to the config, whose messages name the allowed range
        kind = Annotated[field.annotation, Parameter(help=words, group=_WHAT)]  # type: ignore[name-defined]
        flags.append(_flag(name, kind, field.default))
    return flags


def _flag(name: str, kind: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
