"""The contract of a study, and the studies by name.

A study is a folder in `netassay.studies` with four modules of these names:

- config: `CONFIG`, a subclass of `Config`, and `tiny()`, a config of seconds that passes through every part (no torch);
- assay: `assay(config, recorder, **keywords of training.train) -> training.Result`; `tables(run) -> {name: DataFrame}`,
  what a finished run keeps beside its metrics;
- findings: `METRICS`, a `reporting.quantity.Quantity` for each metric of a study; `summary(run) -> dict`, the answer of
  a run in any state, for JSON; and what else pages read from its folder (no torch);
- pages: `sections(runs) -> list of report sections`, for runs of any state and number, none included (no torch).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from netassay.config import Config, read
from netassay.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Study:
    name: str

    @property
    def config(self) -> type[Config]:
        return self._module("config").CONFIG

    @property
    def assay(self) -> ModuleType:
        return self._module("assay")

    @property
    def findings(self) -> ModuleType:
        return self._module("findings")

    @property
    def pages(self) -> ModuleType:
        return self._module("pages")

    def tiny(self) -> Config:
        return self._module("config").tiny()

    @property
    def package(self) -> str:
        """The package of this study: "a-b" is the experiment b within the study a, with the same modules."""
        return f"netassay.studies.{self.name.replace('-', '.')}"

    def _module(self, part: str) -> ModuleType:
        return import_module(f"{self.package}.{part}")


def names() -> tuple[str, ...]:
    """Names of all studies."""
    return import_module("netassay.studies").STUDIES


def performed() -> tuple[str, ...]:
    """Names of all kinds of runs that can be performed: the studies, and what is made from their runs."""
    return names() + import_module("netassay.studies").DERIVED


def drawn() -> tuple[str, ...]:
    """Names of all kinds of runs that have pages: those performed here, and what users' own loops write."""
    return performed() + import_module("netassay.studies").TRACKED


def find(name: str, *, tracked: bool = False) -> Study:
    """The study of that name; ConfigError if there is none. With `tracked`, any kind of run that has pages."""
    if name in performed() or (tracked and name in drawn()):
        return Study(name)
    if name in drawn():
        raise ConfigError(
            f"{name!r} is written by a user's own training loop: run that script again to have a new one"
        )
    raise ConfigError(f"study {name!r} is not known; {did_you_mean(str(name), names())}")


def configure(values: Mapping[str, Any], *, where: str = "config") -> Config:
    """The config that a mapping with a "study" key describes."""
    if "study" not in values:
        raise ConfigError(f"{where}: key 'study' is missing; give the name of a study: {', '.join(names())}")
    return find(values["study"]).config.from_mapping(values, where=where)


def configure_from(path: Path) -> Config:
    """The config in a TOML or JSON file."""
    return configure(read(path), where=str(path))
