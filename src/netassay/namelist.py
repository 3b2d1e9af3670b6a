"""Lists of names in configs: TOML arrays, JSON lists, or words with commas between them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema


class NameList(tuple[str, ...]):
    """Names in order, and `text`, how a config writes them: the original text, or the names joined by commas.

    A run's digest is made of the text, so that configs from before TOML lists were allowed keep their digests.

    >>> NameList.read("motifs, influence"), NameList.read(["motifs", "influence"]).text
    (motifs, influence, 'motifs,influence')
    """

    text: str

    @classmethod
    def read(cls, value: str | Iterable[str]) -> Self:
        """The names in a text with commas, without blanks around them, or in a list of names.

        ValueError for a list with anything but names without commas, and for a text of commas only.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            names = cls(name.strip() for name in value.split(",") if name.strip())
            if value.strip() and not names:
                raise ValueError(f"{value!r} contains no name")
            names.text = value
            return names
        items: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
        if not all(isinstance(name, str) and name.strip() == name != "" and "," not in name for name in items):
            raise ValueError(f"{value!r} is not a list of names")
        names = cls(items)
        names.text = ",".join(names)
        return names

    def __repr__(self) -> str:
        return repr(self.text)


@dataclass(frozen=True)
class Each:
    """The pattern of every name of a `NameList`, for annotations of a config; `required` refuses an empty text, but
    not a blank."""

    pattern: str
    required: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.checked,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda names: names.text),
        )

    def checked(self, value: Any) -> NameList:
        """The names of a value in a config. ValueError for a name that does not match, or for no names if required."""
        names = NameList.read(value)
        if (self.required and not names.text) or not all(re.fullmatch(self.pattern, name) for name in names):
            raise ValueError(f"{value!r} is not allowed")
        return names
