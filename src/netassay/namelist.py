"""Lists of names in configs: TOML arrays, JSON lists, or words with commas between them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema


class NameList(tuple[str, ...]):
    """Names in order, and `text`, how a config writes them: the text that was given, else the names with commas.

    The text is what a run's digest is made of, so that configs written before lists were lists keep their digests.

    >>> NameList.read("motifs, influence"), NameList.read(["motifs", "influence"]).text
    (motifs, influence, 'motifs,influence')
    """

    text: str

    @classmethod
    def read(cls, given: str | Iterable[str]) -> Self:
        """The names in a text with commas, blanks around them dropped, or in a list of names.

        ValueError for a list with anything but names without commas in it, and for a text of commas alone.
        """
        if isinstance(given, cls):
            return given
        if isinstance(given, str):
            names = cls(name.strip() for name in given.split(",") if name.strip())
            if given.strip() and not names:
                raise ValueError(f"{given!r} holds no name")
            names.text = given
            return names
        items: list[Any] = list(given) if isinstance(given, list | tuple) else [given]
        if not all(isinstance(name, str) and name.strip() == name != "" and "," not in name for name in items):
            raise ValueError(f"{given!r} is no list of names")
        names = cls(items)
        names.text = ",".join(names)
        return names

    def __repr__(self) -> str:
        return repr(self.text)


@dataclass(frozen=True)
class Each:
    """What every name of a `NameList` must match, for annotations of a config; with `required`, none is refused, unless
    it is said by a blank."""

    pattern: str
    required: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.checked,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda names: names.text),
        )

    def checked(self, given: Any) -> NameList:
        """The names of a value in a config. ValueError for one that does not match, or for none."""
        names = NameList.read(given)
        if (self.required and not names.text) or not all(re.fullmatch(self.pattern, name) for name in names):
            raise ValueError(f"{given!r} is not allowed")
        return names
