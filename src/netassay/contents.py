"""Packages as tables of contents: public names stand in `__init__`, their modules load on first use."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def contents(
    package: str, homes: Mapping[str, str], *, rooms: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package whose public names are defined in the modules of `homes`.

    `homes`: public name -> full name of the module that defines it. `rooms`: packages within it that have contents of
    their own. No module of the package may have one of the names: once imported, it would stand in place of the name.
    """

    def attribute(name: str) -> Any:
        if name in homes:
            return getattr(import_module(homes[name]), name)
        if name in rooms:
            return import_module(f"{package}.{name}")
        raise AttributeError(
            f"module {package!r} has no attribute {name!r}; public names: {', '.join([*homes, *rooms])}"
        )

    def names() -> list[str]:
        return sorted([*homes, *rooms])

    return attribute, names, [*homes, *rooms]
