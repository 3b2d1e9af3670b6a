"""Studies that other installed packages bring: entry points of the group "netassay.studies".

An entry point's name is the study's name, its value the package that holds the four modules of a study
(`netassay.study`). These packages are imported only when their study is requested.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from importlib import import_module
from importlib.metadata import Distribution, EntryPoint, distributions
from types import ModuleType
from typing import NamedTuple

from netassay.errors import PluginError

GROUP = "netassay.studies"

PARTS = {
    "config": ("CONFIG", "tiny"),
    "assay": ("assay", "tables"),
    "findings": ("summary",),
    "pages": ("sections",),
}
"""The modules of a study, and the names that each must define."""

_NAME = re.compile(r"(?=.{1,40}\Z)[a-z][a-z0-9]*(-[a-z0-9]+)*")
_PACKAGE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class Plugin(NamedTuple):
    """A study of another package: its name, the package that holds its modules, and what was installed with it."""

    name: str
    package: str
    distribution: str
    version: str
    summary: str

    @property
    def release(self) -> str:
        """Name and version of what was installed, such as 'netassay-waves 1.2'."""
        return f"{self.distribution} {self.version}".strip()


class Plugins(NamedTuple):
    """Installed plugins by name, and by name the reasons why others cannot be used."""

    usable: dict[str, Plugin]
    refused: dict[str, str]


def installed(reserved: Collection[str]) -> Plugins:
    """The studies of all installed packages; refuses names in `reserved` and names used twice."""
    usable: dict[str, Plugin] = {}
    refused: dict[str, str] = {}
    for point, distribution in _entry_points(refused):
        plugin = _plugin(point, distribution)
        if reason := _refusal(plugin, reserved, usable.get(plugin.name)):
            refused[plugin.name] = f"study {plugin.name!r} of package {plugin.distribution}: {reason}"
        else:
            usable[plugin.name] = plugin
    for name in refused.keys() & usable.keys():
        del usable[name]
    return Plugins(usable, refused)


def package(plugin: Plugin) -> ModuleType:
    """The package that holds a plugin's study. PluginError if it cannot be imported."""
    return _imported(plugin, plugin.package)


def module(plugin: Plugin, part: str) -> ModuleType:
    """One of the four modules of a study. PluginError if it cannot be imported or lacks required names."""
    loaded = _imported(plugin, f"{plugin.package}.{part}")
    if missing := [name for name in PARTS[part] if not hasattr(loaded, name)]:
        raise unusable(plugin, f"{loaded.__name__} does not define {' and '.join(missing)}")
    return loaded


def unusable(plugin: Plugin, reason: str) -> PluginError:
    """The error that says why a plugin's study cannot be used."""
    return PluginError(
        f"study {plugin.name!r} of package {plugin.distribution} cannot be used: {reason}; "
        "mend or uninstall that package"
    )


def one_line(cause: BaseException) -> str:
    """An exception's message on one line, shortened to 300 characters."""
    return " ".join(str(cause).split())[:300]


def _imported(plugin: Plugin, name: str) -> ModuleType:
    try:
        return import_module(name)
    except (Exception, SystemExit) as cause:  # whatever the code of others raises
        raised = f"{type(cause).__name__}: {one_line(cause)}"
        raise unusable(plugin, f"importing {name} raised {raised}") from cause


def _entry_points(refused: dict[str, str]) -> Iterator[tuple[EntryPoint, Distribution]]:
    # the files are searched for the group first: reading the metadata of every package takes a tenth of a second
    names = set()
    for distribution in distributions():
        text = None
        with suppress(OSError, UnicodeDecodeError):
            text = distribution.read_text("entry_points.txt")
        if not text or GROUP not in text or distribution.name in names:
            continue
        names.add(distribution.name)
        try:
            points = distribution.entry_points.select(group=GROUP)
        except Exception as cause:  # some other tool wrote the file, and the library documents no exception
            refused[str(distribution.name)] = (
                f"package {distribution.name}: its entry points cannot be read ({one_line(cause)}); reinstall it"
            )
            continue
        for point in points:
            yield point, distribution


def _plugin(point: EntryPoint, distribution: Distribution) -> Plugin:
    about = dict(distribution.metadata.items())  # type: ignore[attr-defined]  # a message of the library email
    name, version, summary = (about.get(key, "") for key in ("Name", "Version", "Summary"))
    return Plugin(point.name, point.value, name, version, summary)


def _refusal(plugin: Plugin, reserved: Collection[str], namesake: Plugin | None) -> str:
    if not _NAME.fullmatch(plugin.name):
        return "a name is of lower-case letters, digits and single dashes, at most 40, such as double-descent"
    if plugin.name in reserved:
        return "netassay has a study of that name; the package must give another"
    if namesake is not None:
        return f"package {namesake.distribution} gives that name too; uninstall one of the two"
    if not _PACKAGE.fullmatch(plugin.package):
        return f"{plugin.package!r} is not a package; its entry point must name one, such as waves or waves.study"
    return ""
