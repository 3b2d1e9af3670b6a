"""The contract of a study, the studies by name, and the names of their runs in legends, panels and tables.

A study is a folder in `netassay.studies` with four modules of these names:

- config: `CONFIG`, a subclass of `Config`, and `tiny()`, a config that runs through every part in seconds (no torch);
- assay: `assay(config, recorder, **keywords of training.train) -> training.Result`; `tables(run) -> {name: DataFrame}`,
  the tables of a finished run besides its metrics;
- findings: `METRICS`, a `reporting.quantity.Quantity` for each metric of a study; `summary(run) -> dict`, the results
  of a run in any state, for JSON; and whatever else pages read from its folder (no torch);
- pages: `sections(runs) -> list of report sections`, for runs of any state and number, none included (no torch).

A fifth, rules, is optional: `findings(runs) -> list[Finding]`, what finished runs show, in sentences; and, for pages,
`QUESTION`, `READING` (how to read the figure of the first finding) and `REFERENCES` (no torch).

Other packages provide studies by entry points (`netassay.plugins`).
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module, resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from netassay.config import Config, read
from netassay.errors import ConfigError, NetassayError, PluginError, did_you_mean
from netassay.plugins import Plugin, Plugins, installed, module, package, unusable
from netassay.reporting import Axis
from netassay.reporting.section import Finding
from netassay.runs import Run
from netassay.runs.folders import DIGITS


@dataclass(frozen=True)
class Study:
    """A kind of run by name; its modules are imported on first use."""

    name: str
    plugin: Plugin | None = None
    """The plugin of another package that provides the study, if any."""

    @property
    def config(self) -> type[Config]:
        config = self._module("config").CONFIG
        if self.plugin is not None and not (
            isinstance(config, type) and issubclass(config, Config) and getattr(config, "study", "") == self.name
        ):
            requirement = f"a subclass of netassay.config.Config with study = {self.name!r}"
            raise unusable(self.plugin, f"CONFIG of {self.package}.config must be {requirement}")
        return config

    @property
    def assay(self) -> ModuleType:
        return self._module("assay")

    @property
    def findings(self) -> ModuleType:
        return self._module("findings")

    @property
    def pages(self) -> ModuleType:
        return self._module("pages")

    @property
    def rules(self) -> ModuleType | None:
        """Its rules for findings in words; None if it has none."""
        home = package(self.plugin) if self.plugin else self.package
        if not (resources.files(home) / "rules.py").is_file():
            return None
        return self._module("rules")

    def tiny(self) -> Config:
        return self._module("config").tiny()

    @property
    def package(self) -> str:
        """The package of this study: "a-b" is the experiment b within the study a, with the same modules."""
        return f"netassay.studies.{self.name.replace('-', '.')}" if self.plugin is None else self.plugin.package

    @property
    def folder(self) -> Traversable:
        """The folder of its modules and plans."""
        return resources.files(package(self.plugin) if self.plugin else self.package)

    @property
    def release(self) -> str:
        """Name and version of the package that provides it, "" for netassay itself."""
        return "" if self.plugin is None else self.plugin.release

    @property
    def summary(self) -> str:
        """One line on the study; that of another package is read without importing it."""
        if self.plugin is not None:
            return self.plugin.summary or f"Study of package {self.plugin.distribution}."
        return summary_line(import_module(self.package).__doc__, f"Study {self.name}.")

    def _module(self, part: str) -> ModuleType:
        return module(self.plugin, part) if self.plugin else import_module(f"{self.package}.{part}")


def summary_line(doc: str | None, default: str) -> str:
    """The first paragraph of a docstring on one line, or `default` if there is none."""
    return " ".join((doc or "").strip().partition("\n\n")[0].split()) or default


def builtin() -> tuple[str, ...]:
    """Names of the studies of this package."""
    return import_module("netassay.studies").STUDIES


def plugins() -> Plugins:
    """Studies of other installed packages."""
    return installed(builtin() + _derived() + _tracked())


def names() -> tuple[str, ...]:
    """Names of all studies, those of other packages last."""
    return (*builtin(), *plugins().usable)


def performable() -> tuple[str, ...]:
    """Names of all kinds of runs that can be performed: the studies, and those derived from their runs."""
    return (*builtin(), *_derived(), *plugins().usable)


def drawable() -> tuple[str, ...]:
    """Names of all kinds of runs that have pages: those performed here, and those that users' own loops write."""
    return (*builtin(), *_derived(), *_tracked(), *plugins().usable)


def kinds_of(runs: Collection[Run]) -> tuple[str, ...]:
    """As `drawable`; other packages are searched for studies only where a run is of none of these, or there is none."""
    own = (*builtin(), *_derived(), *_tracked())
    return own if runs and all(run.study in own for run in runs) else drawable()


def find(name: str, *, tracked: bool = False) -> Study:
    """The study of that name; ConfigError if there is none. With `tracked`, any kind of run that has pages."""
    if name in builtin() or name in _derived() or (tracked and name in _tracked()):
        return Study(name)
    if name in _tracked():
        raise ConfigError(f"{name!r} is written by a user's own training loop: run that script again for a new one")
    external = plugins()
    if name in external.usable:
        return Study(name, external.usable[name])
    if name in external.refused:
        raise PluginError(external.refused[name])
    raise ConfigError(f"study {name!r} is not known; {did_you_mean(str(name), names())}")


def findings(runs: Sequence[Run]) -> list[Finding]:
    """What runs show, in sentences made by rule from their tables: an effect, its interval and its comparison.

    Runs of one study that differ in one key give a finding together. A rule that does not apply gives none, and neither
    does a run that has not ended or whose tables cannot be read.

    Args:
        runs: Runs of any studies.

    Returns:
        Findings in the order of the studies; each with its figure on a page and the command that repeats its run.

    Example:
        >>> import netassay
        >>> netassay.findings(netassay.Store("runs").runs())[0].figure
        'capacity-fewest-contexts'
    """
    sentences: list[Finding] = []
    for name in kinds_of(runs):
        members = [run for run in runs if run.study == name]
        rules = find(name, tracked=True).rules if members else None
        if rules is None:
            continue
        try:
            sentences += rules.findings(members)
        except NetassayError:
            # one unreadable run must not silence the others
            for run in members:
                with suppress(NetassayError):
                    sentences += rules.findings([run])
    return sentences


def study_of(run: Run, *, tracked: bool = False) -> Study:
    """The study of a run, as from `find`; if unknown here, the error names the run and the package that provides it."""
    try:
        return find(run.study, tracked=tracked)
    except ConfigError as cause:
        raise ConfigError(f"run {run.id}: {absent(run) if run.package else cause}") from None


def absent(run: Run) -> str:
    """Why the study of a run is unknown here, and what to do."""
    if run.package:
        return f"study {run.study!r} comes with package {run.package}, which is not installed: install it"
    return f"there is no study {run.study!r} here"


def _derived() -> tuple[str, ...]:
    return import_module("netassay.studies").DERIVED


def _tracked() -> tuple[str, ...]:
    return import_module("netassay.studies").TRACKED


def configure(values: Mapping[str, Any], *, where: str = "config") -> Config:
    """The config that a mapping with a "study" key describes."""
    if "study" not in values:
        raise ConfigError(f"{where}: key 'study' is missing; give the name of a study: {', '.join(names())}")
    return find(values["study"]).config.from_mapping(values, where=where)


def configure_from(path: Path) -> Config:
    """The config in a TOML or JSON file."""
    return configure(read(path), where=str(path))


_COMMANDS = {"aitac-interpret": ("interpret", ("run",)), "aitac-transfer": ("transfer", ("run",))}
"""Commands whose name differs from that of their runs, and the keys that they take without a flag."""


def command(run: Run) -> str:
    """The command line that repeats a run: its study and the keys that are not at their defaults.

    >>> from pathlib import Path
    >>> command(Run(Path("runs/edge-1"), "edge", {"study": "edge", "steps": 5}, "", ""))
    'netassay edge --steps 5'
    """
    try:
        defaults = find(run.study).config().mapping()
    except NetassayError:
        return ""
    word, positional = _COMMANDS.get(run.study, (run.study, ()))
    options = [
        option
        for key, value in run.config.items()
        if key not in ("study", *positional) and value != defaults.get(key)
        for option in _option(key, value)
    ]
    arguments = [str(run.config[key]) for key in positional if run.config.get(key)]
    return shlex.join(["netassay", word, *arguments, *options])


def _option(key: str, value: object) -> list[str]:
    flag = "--" + key.replace("_", "-")
    if isinstance(value, bool):
        return [flag if value else "--no-" + key.replace("_", "-")]
    words = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return [flag, words]


_WORDS = {"step_size": "step size η", "seed": "seed", "depth": "hidden layers", "dtype": "arithmetic"}
_BASE = "base"
_SPEAKING = ("loss", "optimiser", "network", "activation", "data")  # keys whose values speak for themselves


class Names(NamedTuple):
    """Names of runs in the order of their values; `axis` says what they name, `following` lists keys in no name.

    `grid` maps a run to its panel and series, if runs differ in two keys and fill the table of both; `series` is the
    title of the series.
    """

    axis: Axis
    of: dict[Run, str]
    following: tuple[str, ...]
    grid: dict[Run, tuple[str, str]]
    series: str


def differing(runs: Sequence[Run], untold: Collection[str] = ()) -> list[str]:
    """Config keys in which runs differ, except those of `untold`, in the order of the first config that has each."""
    keys = dict.fromkeys(key for run in runs for key in run.config if key not in untold)
    return [key for key in keys if len({str(run.config.get(key)) for run in runs}) > 1]


def unique_names(names: Mapping[Run, str]) -> dict[Run, str]:
    """The names; shared ones with the end of the id, or with the store if the ids are equal."""
    counts = Counter(names.values())
    ids = Counter((name, run.id) for run, name in names.items())
    return {
        run: name
        if counts[name] == 1
        else f"{name} ({run.id[-DIGITS:] if ids[name, run.id] == 1 else run.folder.parent})"
        for run, name in names.items()
    }


def run_names(runs: Sequence[Run], following: Sequence[str] = ()) -> Names:
    """Names of runs by the config keys in which they differ, and by their stores if configs are equal.

    Keys of `following` are omitted, in that order, if the others distinguish the runs as well.
    """
    different = differing(runs)
    keys = _distinguishing(runs, different, following)
    ordered = sorted(runs, key=lambda run: tuple(_sortable(run.config.get(key)) for key in keys))
    axis, names = _axis_and_names(ordered, keys)
    counts = Counter(names.values())
    grid, series = _grid(ordered, keys) if len(counts) == len(runs) else ({}, "")
    return Names(axis, unique_names(names), tuple(key for key in different if key not in keys), grid, series)


def setting_text(setting: object) -> str:
    """All digits: two values that differ must not become one line."""
    return repr(setting).removesuffix(".0") if isinstance(setting, float) else str(setting)


def _distinguishing(runs: Sequence[Run], keys: Sequence[str], following: Sequence[str]) -> list[str]:
    """The keys without those that add nothing to the others."""
    minimal = list(keys)
    apart = _distinct(runs, minimal)
    for key in following:
        shorter = [candidate for candidate in minimal if candidate != key]
        if set(shorter) - {"seed"} and len(shorter) < len(minimal) and _distinct(runs, shorter) == apart:
            minimal = shorter
    # an architecture is named before its step size
    return sorted(minimal, key=lambda key: following.index(key) if key in following else -1)


def _distinct(runs: Sequence[Run], keys: Sequence[str]) -> int:
    return len({tuple(str(run.config.get(key)) for key in keys) for run in runs})


def _axis_and_names(runs: Sequence[Run], keys: Sequence[str]) -> tuple[Axis, dict[Run, str]]:
    if len(keys) <= 1:
        key = keys[0] if keys else "step_size"
        title = _WORDS.get(key, key.replace("_", " "))
        return Axis("run", title=title), {run: setting_text(run.config.get(key)) for run in runs}
    usual = {key: Counter(setting_text(run.config.get(key)) for run in runs).most_common(1)[0][0] for key in keys}
    changed = {
        run: [key for key in keys if setting_text(run.config.get(key)) != usual[key]] if len(keys) > 2 else keys
        for run in runs
    }
    if len(keys) > 2 and max(map(len, changed.values())) > 1:
        changed = dict.fromkeys(runs, keys)  # no series of single changes: name every key
    return Axis("run"), {
        run: ", ".join(_phrase(key, run.config.get(key)) for key in own) or _BASE for run, own in changed.items()
    }


def _grid(runs: Sequence[Run], keys: Sequence[str]) -> tuple[dict[Run, tuple[str, str]], str]:
    if len(keys) != 2:
        return {}, ""
    # panels for the key of more values, so that the lines of one panel are few
    first, second = sorted(keys, key=lambda key: -_distinct(runs, [key]))
    if _distinct(runs, [first]) * _distinct(runs, [second]) != len(runs):
        return {}, ""
    places: Mapping[Run, tuple[object, object]] = {run: (run.config.get(first), run.config.get(second)) for run in runs}
    title = _WORDS.get(second, second.replace("_", " "))
    return {run: (_phrase(first, a), setting_text(b)) for run, (a, b) in places.items()}, title


def _phrase(key: str, setting: object) -> str:
    return setting_text(setting) if key in _SPEAKING else f"{key} {setting_text(setting)}"


def _sortable(setting: object) -> tuple[int, float, str]:
    number = isinstance(setting, int | float)
    return (0, float(setting), "") if number else (1, 0.0, str(setting))  # type: ignore[arg-type]


def enumeration(words: Iterable[object], last: str = "and") -> str:
    """Words as a list in a sentence.

    >>> enumeration(["a", "b", "c"])
    'a, b and c'
    """
    parts = [str(word) for word in words]
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}" if len(parts) > 1 else "".join(parts)
