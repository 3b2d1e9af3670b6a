"""A command made from a public function: its signature, defaults and help are the function's own.

Below it the values of command-line words, the flags that several commands share, and those for the keys of a config.
"""

from __future__ import annotations

import builtins
import inspect
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache, partial
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from cyclopts import Group, Parameter, Token
from docstring_parser import google

from netassay.cli.output import be_quiet, working
from netassay.commands.corpus import CORPUS_DEFAULTS, CorpusArguments
from netassay.commands.network import NETWORK_DEFAULTS, NetworkArguments
from netassay.config import MOST, Config, NameList, allowed
from netassay.errors import ConfigError
from netassay.processes import LARGEST, of_threads


@dataclass(frozen=True)
class Docstring:
    """The first sentence, the text after it, and the sections under their headings; empty if missing."""

    sentence: str
    text: str
    arguments: Mapping[str, str]
    attributes: Mapping[str, str]
    returns: str
    errors: Mapping[str, str]
    source: str
    example: str


@lru_cache(maxsize=256)
def docstring_of(documented: Any) -> Docstring:
    """The parsed docstring of a function or class."""
    parsed = _parser().parse(inspect.getdoc(documented) or "")
    sections: dict[str, dict[str, str]] = {}
    for meta in parsed.meta:
        kind, *names = meta.args
        sections.setdefault(kind, {})[" ".join(names)] = (meta.description or "").strip()
    return Docstring(
        _line(parsed.short_description or ""),
        parsed.long_description or "",
        _lines(sections.get("param", {})),
        _lines(sections.get("attribute", {})),
        _line(sections.get("returns", {}).get("", "")),
        _lines(sections.get("raises", {})),
        _line(sections.get("source", {}).get("", "")),
        sections.get("examples", {}).get("", ""),
    )


@lru_cache(maxsize=1)
def _parser() -> google.GoogleParser:
    source = google.Section("Source", "source", google.SectionType.SINGULAR)
    return google.GoogleParser([*google.DEFAULT_SECTIONS, source])


def _lines(entries: Mapping[str, str]) -> dict[str, str]:
    return {name: _line(words) for name, words in entries.items()}


def _line(words: str) -> str:
    return " ".join(words.split())


Ask = Callable[..., Any]
"""Calls the public function with the arguments of the command line, and with further ones given to it."""

_SHARED: dict[type, tuple[Group, Mapping[str, Any]]] = {
    CorpusArguments: (Group("Corpus", sort_key=1), CORPUS_DEFAULTS),
    NetworkArguments: (Group("A network of your own, in place of a run", sort_key=1), NETWORK_DEFAULTS),
}
_ONLY_IN_PYTHON = {"watch", "execute", "commit_seconds", "grammar", "observe", "self"}
_POSITIONAL, _NAMED = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY


@dataclass(frozen=True)
class Command:
    """A public function, and how its answer is shown.

    `body(ask, **words)` calls `ask`, shows the answer and may return an exit code. Parameters of `body` that the
    function does not have are flags of the command line alone. `names`: flags with other names than the function's
    parameters. `named`: flags for parameters that Python takes by position; `positional`: the reverse.
    `required`: flags without a default; `hidden`: parameters without a flag. `converters` read a flag's value, and
    `options` is the config whose keys the function takes as well.
    `progress` for commands that may take long: their `own`, or `said` by the loops within the function.
    """

    function: Callable[..., Any]
    body: Callable[..., int | None]
    example: str
    names: Mapping[str, str] = field(default_factory=dict)
    named: tuple[str, ...] = ()
    positional: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    converters: Mapping[str, Any] = field(default_factory=dict)
    options: type[Config] | None = None
    progress: Literal["none", "own", "said"] = "none"

    @property
    def name(self) -> str:
        return self.body.__name__

    @property
    def sentence(self) -> str:
        return docstring_of(self.function).sentence

    @property
    def help(self) -> str:
        """The command's help: the function's docstring without its sections, and an example."""
        doc = docstring_of(self.function)
        source = f"Source: {doc.source}" if doc.source else ""
        parts = (doc.sentence, _as_flags(doc.text), source, f"Example: {self.example}")
        return "\n\n".join(part for part in parts if part)

    def build(self) -> Callable[..., int]:
        """The function that cyclopts calls."""
        of_function = list(self._of_function())
        if self.progress != "none":
            of_function.append(inspect.Parameter("quiet", _NAMED, default=False, annotation=Quiet))
        limited = self.progress == "said" and "threads" not in {flag.name for flag in of_function}
        if limited:
            of_function.append(inspect.Parameter("threads", _NAMED, default=None, annotation=OwnThreads))
        own = [flag for flag in self._of_body() if flag.name not in {parameter.name for parameter in of_function}]
        to_function = {flag.name for flag in of_function}
        names = {flag: name for name, flag in self.names.items()}

        def command(*positional: Any, **words: Any) -> int:
            words |= zip((flag.name for flag in flags), positional, strict=False)
            be_quiet(words.pop("quiet", False))
            with of_threads(words.pop("threads", None)) if limited else nullcontext():
                return answered(words)

        def answered(words: dict[str, Any]) -> int:
            arguments = {names.get(key, key): value for key, value in words.items() if key in to_function}
            bodys = inspect.signature(self.body).parameters
            body_words = {key: value for key, value in words.items() if key in bodys}
            return self.body(partial(self._call, arguments), **body_words) or 0

        flags = sorted([*of_function, *own], key=lambda flag: flag.kind)
        command.__name__, command.__doc__ = self.name, self.help
        command.__signature__ = inspect.Signature(flags)  # type: ignore[attr-defined]
        command.__annotations__ = {}
        return command

    def _call(self, words: Mapping[str, Any], **more: Any) -> Any:
        """The answer of the function, or of the method of the store."""
        words = {**words, **more}
        if "where" in words:
            words["where"] = conditions(words["where"] or [])
        with working(self.name) if self.progress == "said" else nullcontext():
            if not self._of_a_store:
                return self.function(**words)
            from netassay.runs import Store as Runs

            return self.function(Runs(words.pop("store", "runs")), **words)

    @property
    def _of_a_store(self) -> bool:
        return "self" in inspect.signature(self.function).parameters

    def _of_function(self) -> Iterator[inspect.Parameter]:
        hints, doc = _hints(self.function), docstring_of(self.function)
        for name, parameter in inspect.signature(self.function).parameters.items():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                yield from self._shared(hints[name])
            elif name not in _ONLY_IN_PYTHON and name not in self.hidden:
                kind = _POSITIONAL if self._by_position(name, parameter) else _NAMED
                default = inspect.Parameter.empty if name in self.required else parameter.default
                yield self._flag(name, hints[name], default, doc.arguments[name], kind)
        if self._of_a_store:
            yield inspect.Parameter("store", _NAMED, default="runs", annotation=Store)

    def _by_position(self, name: str, parameter: inspect.Parameter) -> bool:
        if name in self.positional:
            return True
        return parameter.kind is _POSITIONAL and name not in (*self.named, "store")

    def _shared(self, hint: Any) -> Iterator[inspect.Parameter]:
        if self.options is not None:
            own = {*inspect.signature(self.function).parameters}
            yield from (flag for flag in config_flags(self.options) if flag.name not in own)
        elif (keys := next(iter(get_args(hint)), None)) in _SHARED:
            group, defaults = _SHARED[keys]
            words = docstring_of(keys).arguments
            for name, kind in get_type_hints(keys).items():
                yield self._flag(name, kind, defaults[name], words[name], _NAMED, group)

    def _flag(
        self, name: str, hint: Any, default: Any, words: str, kind: Any, group: Group | None = None
    ) -> inspect.Parameter:
        annotation = _cli_type(name, hint, words, self.converters.get(name), kind, group)
        several = get_origin(get_args(annotation)[0]) is tuple and kind is _POSITIONAL
        if default in (None, ()):
            default = () if several else None
        if default is None:
            inner, settings = get_args(annotation)
            annotation = Annotated[inner | None, settings]
        return inspect.Parameter(self.names.get(name, name), kind, default=default, annotation=annotation)

    def _of_body(self) -> list[inspect.Parameter]:
        hints = get_type_hints(self.body, include_extras=True)
        _, *parameters = inspect.signature(self.body).parameters.items()
        return [parameter.replace(annotation=hints[name], kind=_NAMED) for name, parameter in parameters]


class _Unloaded:
    """Replaces a type that is imported only for type checking, such as torch's."""

    def __class_getitem__(cls, item: Any) -> type:
        return cls


class _Names(dict[str, Any]):
    """Names of a module; types that it does not load are `_Unloaded`."""

    def __init__(self, module: str) -> None:
        self._module = vars(sys.modules[module])

    def __missing__(self, name: str) -> Any:
        return self._module.get(name, getattr(builtins, name, _Unloaded))


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(function, localns=_Names(function.__module__))


def _cli_type(name: str, hint: Any, words: str, converter: Any, kind: Any, group: Group | None) -> Any:
    """The type of a flag's value, with its help."""
    if name == "store":
        return Store
    union = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    inner, converts, more = _read_as(union, kind)
    if group is not None:  # a group that is None would hide the flag
        more["group"] = group
    settings = Parameter(help=_as_flags(words), converter=converter or converts, **more)
    return Annotated[inner, settings]


# names in docstrings that are always flags
_KEYS = {"window", "length", "out", "genome", "weights", "what"}


def _as_flags(words: str) -> str:
    """A docstring's text for the command line: without parts that are only for Python, and `a_key` as --a-key."""
    words = re.sub(r"; in Python [^.]*(?=\.)| In Python [^.]*\.", "", words)
    return re.sub(r"`(\w+)`", lambda key: f"--{key[1].replace('_', '-')}" if key[1] in _KEYS else key[0], words)


_SEVERAL = (Sequence, Iterable)


def _read_as(union: Sequence[Any], kind: Any) -> tuple[Any, Any, dict[str, Any]]:
    """Type, converter and settings for a parameter that takes any of `union` in Python."""
    if any(get_origin(part) is Mapping for part in union):
        return list[str], None, {}
    items = [get_args(part)[0] for part in union if get_origin(part) in _SEVERAL]
    if int in items:
        return tuple[int, ...], whole_numbers, {}
    if items and kind is _POSITIONAL:
        return tuple[str, ...], None, {}
    if items and get_origin(items[0]) is not tuple:
        item = items[0] if items[0] is str or get_origin(items[0]) is Literal else Path
        return list[item], None, {"consume_multiple": True, "negative": ""}  # type: ignore[valid-type]
    if bool in union:
        return bool, None, {"negative": ""}
    if int in union:
        return int, whole_number, {}
    if float in union:
        return float, number, {}
    plain = [part for part in union if part in (float, str, Path) or get_origin(part) is Literal]
    if kind is not _POSITIONAL and plain[0] is Path:
        return Path, path, {}
    return (str if plain[0] is Path else plain[0]), None, {}


def whole_number(kind: Any, words: Sequence[Token]) -> int:
    """The number in a flag's word; cyclopts by itself would round 1.5 to 2."""
    try:
        number = int(words[0].value)
    except ValueError:
        raise ValueError(f"{words[0].value[:40]!r} is not a whole number.") from None
    if abs(number) > MOST:
        raise ValueError(f"{words[0].value[:40]!r} is not allowed: whole numbers have 64 bits.")
    return number


def number(kind: Any, words: Sequence[Token]) -> float:
    """The finite number in a flag's word."""
    try:
        value = float(words[0].value)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{words[0].value[:40]!r} is not a finite number.")
    return value


def whole_numbers(kind: Any, words: Sequence[Token]) -> tuple[int, ...]:
    """`whole_number` of a flag that takes several."""
    return tuple(whole_number(kind, [word]) for word in words)


def numbers_in_a_row(kind: Any, words: Sequence[Token]) -> tuple[int, ...]:
    """The whole numbers in a word with commas; "..." stands for omitted doublings, or else omitted equal steps."""
    numbers: list[int] = []
    gap = False
    for word in ",".join(token.value for token in words).split(","):
        if word.strip() in ("...", "…"):
            gap = True
            continue
        try:
            number = int(word)
        except ValueError:
            raise ValueError(f"{word[:40]!r} is not a whole number; write 1,2,4 or 1,2,4,...,1024.") from None
        if gap:
            numbers += _between(numbers, number)
        numbers.append(number)
        gap = False
    if gap:
        raise ValueError("give the last number after ..., as in 1,2,4,...,1024.")
    return tuple(numbers)


def _between(numbers: list[int], last: int) -> list[int]:
    if len(numbers) < 2 or numbers[-1] <= numbers[-2] or numbers[-2] < 1:
        raise ValueError("give two rising numbers before ..., as in 1,2,4,...,1024.")
    before, current = numbers[-2:]
    # doublings if the last number is twice the one before; 1,2 alone could also be steps of one
    doubling = current == 2 * before
    middle = []
    while (current := 2 * current if doubling else current + numbers[-1] - before) < last:
        middle.append(current)
        if len(middle) > 1_000_000:
            raise ValueError("more than a million numbers are left out by ...; give fewer.")
    return middle


def folder(kind: Any, words: Sequence[Token]) -> Path:
    """The path in a flag's word; cyclopts by itself would take an empty one for the current folder."""
    if not words[0].value:
        raise ValueError('"" is not a folder; write "." for the current one.')
    return Path(words[0].value)


def path(kind: Any, words: Sequence[Token]) -> Path:
    """The path in a flag's word, which is not empty."""
    if not words[0].value:
        raise ValueError('"" is not the name of a file or folder.')
    return Path(words[0].value)


Store = Annotated[Path, Parameter(converter=folder, help="Folder that holds the runs.")]
Threads = Annotated[
    int | None,
    Parameter(
        converter=whole_number, help="Number of threads; by default that with which the run began, or all cores."
    ),
]
OwnThreads = Annotated[int | None, Parameter(converter=whole_number, help="Threads (1 to 1024); by default all cores.")]
Format = Annotated[
    Literal["table", "json", "csv"],
    Parameter(help="Output format; json and csv keep every digit."),
]
Quiet = Annotated[bool, Parameter(help="Show no progress.", negative="")]
_THOUSANDS = {"": 0, "K": 1, "M": 2, "G": 3, "B": 3, "T": 4}


def count(kind: Any, words: Sequence[Token]) -> int:
    """The whole number in a flag's word, written as 1000000, 1e6, 124M or 1.5B (k, M, B, T: thousands to
    trillions)."""
    word = words[0].value.strip()
    match = re.fullmatch(r"([+-]?\d[\d_]*(?:\.\d+)?(?:[eE]\+?\d{1,3})?)([kKMGBT]?)", word)
    if match is None:
        raise ValueError(f"{word[:40]!r} is not a whole number; write it as 1000000, 1e6 or 1M.")
    number = Decimal(match[1]) * 1000 ** _THOUSANDS[match[2].upper()]
    if abs(number) > LARGEST:
        raise ValueError(f"{word[:40]!r} is more than {LARGEST:.0e}, which is more than any model has.")
    if number != int(number):
        raise ValueError(f"{word[:40]!r} is not a whole number.")
    return int(number)


def conditions(words: list[str]) -> dict[str, Any]:
    """KEY=VALUE words as a mapping; values that are valid JSON (numbers, true, null) are parsed as JSON."""
    conditions = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ConfigError(f"--where {word!r}: give KEY=VALUE, for example activation=tanh")
        try:
            conditions[key] = json.loads(value)
        except (ValueError, RecursionError):  # not JSON, or more digits or brackets than the parser reads
            conditions[key] = value
    return conditions


CONFIG_PLACE = 2
CONFIG_KEYS = Group("Config", sort_key=CONFIG_PLACE)


def config_flags(config: type[Config]) -> list[inspect.Parameter]:
    """A flag for each key of a config."""
    flags = []
    headings = {
        key: Group(heading, sort_key=CONFIG_PLACE + place)
        for place, (heading, keys) in enumerate(config.groups.items(), 1)
        for key in keys
    }
    for name, entry in config.model_fields.items():
        meaning = " ".join((entry.description or "").split())
        limits = allowed(entry)
        words = meaning if "|" in limits else f"{meaning} [{limits}]"
        is_integer = entry.annotation in (int, int | None)
        parameter = Parameter(help=words, converter=whole_number if is_integer else None)
        # a list of names is one word with commas at the command line
        kind, default = (str, entry.default.text) if entry.annotation is NameList else (entry.annotation, entry.default)
        flags.append(flag(name, Annotated[kind, parameter], default, headings.get(name, CONFIG_KEYS)))
    return flags


def flag(name: str, kind: Any, default: Any, group: Group) -> inspect.Parameter:
    # only flags that were given reach the command: values of a file hold unless a flag overrides them
    grouped = Annotated[kind, Parameter(group=group)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=grouped)
