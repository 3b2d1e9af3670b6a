"""Base of all configs: a study's complete, typed settings, identified by a digest."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from netassay.errors import ConfigError, did_you_mean, first_line
from netassay.inputs import refuse_odd_file

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


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


MOST = (1 << 63) - 1
"""Largest whole number in a config: larger ones do not fit into an array."""
LEAST = sys.float_info.min
"""Smallest number in a config, but for 0: runs flush smaller ones to 0, and would read another config than theirs."""
_MOST_LINES, _MOST_SHOWN = 10, 200

_Refused = TypeVar("_Refused")


class Explained(NamedTuple):
    """One field in words, as `--help`, the docs and error messages show it."""

    key: str
    allowed: str
    default: str
    meaning: str


class Config(BaseModel):
    """A frozen set of values; an unknown key, a wrong type or a value out of range raises ConfigError.

    Every field has a default and an attribute docstring with its meaning and unit.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
    )

    study: ClassVar[str]
    """Name of the study that this config is for."""

    example: ClassVar[str]
    """A command line, shown in the help of the study's command."""

    positional: ClassVar[tuple[str, ...]] = ()
    """Keys that the study's command takes by position as well, in this order."""

    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Headings in the help, each with its keys; keys without one come first, under "Config"."""

    later: ClassVar[tuple[str, ...]] = ()
    """Keys added after the study's first runs: left out of `mapping` while they have their default, so that the digests
    of older configs do not change."""

    def __init__(self, /, **values: Any) -> None:  # "self" too may be a mistyped key
        for key, value in values.items():
            if type(value) is int and abs(value) > MOST:
                raise ConfigError(f"{key} = {_display(value)} is not allowed: whole numbers have 64 bits")
            if type(value) is float and 0 < abs(value) < LEAST:
                raise ConfigError(f"{key} = {value} is not allowed: within {LEAST:.1e} of 0, runs compute it as 0")
        unknown = [key for key in values if key not in type(self).model_fields]
        if len(unknown) > _MOST_LINES:  # before pydantic makes an error of each, which takes it a while
            names = ", ".join(f"{key!r:.80}" for key in unknown[:3])
            raise ConfigError(
                f"{len(unknown):,} unknown keys, such as {names}; known: {', '.join(type(self).model_fields)}"
            )
        try:
            super().__init__(**values)
        except ValidationError as refused:
            raise ConfigError("\n".join(_in_words(type(self), refused))) from None

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], *, where: str = "config") -> Self:
        """The config that `values` describe; `where` (a file, say) is named in errors."""
        try:
            return cls(**{key: value for key, value in values.items() if key != "study"})
        except ConfigError as refused:
            raise ConfigError(f"{where}: {refused}") from None

    @cached_property
    def canonical(self) -> str:
        """The canonical JSON text of this config: sorted keys, no spaces."""
        return json.dumps(self.mapping(), sort_keys=True, separators=(",", ":"), allow_nan=False)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, 64 hex digits: equal configs, equal digests."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()

    def mapping(self) -> dict[str, Any]:
        """The study's name and all values, in JSON's types, except those of `later` that have their default."""
        silent = {key for key in self.later if getattr(self, key) == type(self).model_fields[key].default}
        return {"study": self.study, **self.model_dump(mode="json", exclude=silent)}

    def replace(self, **values: Any) -> Self:
        """The same config with some values changed, validated again."""
        return type(self)(**{**self.model_dump(), **values})

    @classmethod
    def explain(cls) -> list[Explained]:
        """Each key with its allowed values, its default and its meaning."""
        return [
            Explained(key, allowed(field), _display(field.default), " ".join((field.description or "").split()))
            for key, field in cls.model_fields.items()
        ]


def read(path: Path) -> dict[str, Any]:
    """The mapping in a TOML or JSON file (by its ending); ConfigError names file, line and cause."""
    refuse_odd_file(path, "LARGEST_CONFIG", refusal=ConfigError)
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as cause:
        raise ConfigError(f"{path}: cannot be read ({cause}); give a TOML or JSON file in UTF-8") from None
    suffix = Path(path).suffix.lower()
    try:
        if suffix == ".toml":
            return tomllib.loads(text)
        if suffix == ".json":
            values = json.loads(text, object_pairs_hook=_once)
            if not isinstance(values, dict):
                raise ConfigError(f"{path}: holds a {type(values).__name__}; a config is an object of keys")
            return values
    except ConfigError:
        raise
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deep; a config is a flat list of keys") from None
    except ValueError as cause:  # not well formed, or a whole number of thousands of digits
        raise ConfigError(f"{path}: not valid {suffix[1:].upper()}: {first_line(cause)}") from None
    raise ConfigError(f"{path}: ending {suffix!r} is not known; configs end in .toml or .json")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"key {twice!r:.80} is given twice; give it once")
    return values


def allowed(field: FieldInfo) -> str:
    """The values that a field allows, in words: '0 to 64', 'above 0', 'relu | tanh', 'true | false'."""
    words = " or ".join(_kind(part, field) for part in _parts(field.annotation))
    return words or str(field.annotation)


def _parts(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Literal or not get_args(annotation):
        return [annotation]
    if get_origin(annotation) in (tuple, list):
        return [annotation]
    return list(get_args(annotation))


def _kind(annotation: Any, field: FieldInfo) -> str:
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, get_args(annotation)))
    if (pattern := _metadata(field, "pattern")) is not None:
        return f"text such as {', '.join(field.examples)}" if field.examples else f"text of the form {pattern}"
    if annotation is NoneType:
        return "none"
    if annotation is bool:
        return "true | false"
    bounds = {name: limit for name in ("ge", "gt", "le", "lt") if (limit := _metadata(field, name)) is not None}
    low = bounds.get("ge", bounds.get("gt"))
    high = bounds.get("le", bounds.get("lt"))
    kind = "whole number" if annotation is int else "number" if annotation is float else "text"
    open_low = "above " if "gt" in bounds else ""
    open_high = "below " if "lt" in bounds else ""
    if low is not None and high is not None:
        return f"{kind} {open_low}{low} to {open_high}{high}"
    if low is not None:
        return f"{kind} {open_low or 'from '}{low}"
    return f"{kind} {open_high or 'up to '}{high}" if high is not None else kind


def _metadata(field: FieldInfo, name: str) -> Any:
    return next((value for rule in field.metadata if (value := getattr(rule, name, None)) is not None), None)


def _in_words(config: type[Config], refused: ValidationError) -> list[str]:
    def in_words(error: ErrorDetails) -> str:
        key = str(error["loc"][0]) if error["loc"] else ""
        field = config.model_fields.get(key)
        if error["type"] == "extra_forbidden":
            return _unknown(config, key)
        if field is None:
            return str(error["msg"]).removeprefix("Value error, ")
        line = f"{key} = {_display(error['input'])} is not allowed: {allowed(field)}"
        choices = [
            str(value) for part in _parts(field.annotation) if get_origin(part) is Literal for value in get_args(part)
        ]
        near = difflib.get_close_matches(str(error["input"])[:_MOST_SHOWN], choices, n=1)
        return f"{line}; did you mean {near[0]!r}?" if near else line

    return first_few(refused.errors(include_url=False), in_words)


def first_few(refused: Sequence[_Refused], in_words: Callable[[_Refused], str]) -> list[str]:
    """What is said of the first few things that are refused, each once, and how many more there are."""
    lines = list(dict.fromkeys(map(in_words, refused[:_MOST_LINES])))
    return lines + [f"and {len(refused) - _MOST_LINES:,} more"] * (len(refused) > _MOST_LINES)


def _unknown(config: type[Config], key: str) -> str:
    return f"unknown key {key!r:.80}: {did_you_mean(key[:80], config.model_fields)}"


def _display(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "none" if value is None else str(value).lower()
    if type(value) is int and value.bit_length() > 128:
        return f"a number of {value.bit_length():,} bits"
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
