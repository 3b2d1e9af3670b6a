"""Writes docs/cli.md, docs/api.md, tables of metrics and the stubs of packages whose names load on first use."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import netassay
from netassay import study
from netassay.cli.app import build, commands
from netassay.cli.command import docstring_of

HERE = Path(__file__).parent
MADE = "<!-- made by `make docs` from the code; change the docstrings there -->\n"


def cli() -> str:
    """Every command: what it does, an example, its arguments."""
    parts = ["# Command line\n", MADE, inspect.cleandoc(EXIT_CODES)]
    for name, command in commands(build()).items():
        parts += [f"\n## netassay {name}\n", _prose(command.__doc__ or ""), "", *_arguments(command)]
    return "\n".join(parts) + "\n"


EXIT_CODES = """
    Answers go to standard output, progress and errors to standard error. Exit codes: 0 done (a run that diverged is
    done: that is its result); 1 a run failed, or no variant could be scored; 2 bad input; 128 + signal number after
    SIGINT (130) or SIGTERM (143), with a checkpoint written. `NETASSAY_TRACEBACK=1` shows where in the code an error
    arose.
"""


def _prose(doc: str) -> str:
    return inspect.cleandoc(doc).replace("Example: ", "Example: `").rstrip() + "`"


def _arguments(command: object) -> list[str]:
    rows = ["| argument | default | meaning |", "|---|---|---|"]
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        words = [settings.help for settings in get_args(parameter.annotation)[1:] if getattr(settings, "help", None)]
        flag = name.replace("_", "-")
        positional = parameter.kind is not inspect.Parameter.KEYWORD_ONLY
        default = "" if parameter.default in (inspect.Parameter.empty, None, ()) else f"`{parameter.default}`"
        shown = f"`{flag.upper()}`" if positional else f"`--{flag}`"
        rows.append(f"| {shown} | {_cell(default)} | {_cell(' '.join(words))} |")
    return rows


def api() -> str:
    """Every public name with its signature and docstring, and every study's config."""
    parts = ["# Python interface\n", MADE, inspect.cleandoc(PREFACE)]
    shown: set[int] = set()
    names = [name for name in netassay.__all__ if not name.startswith("__")]
    rooms = [name for name in names if inspect.ismodule(getattr(netassay, name))]
    for name in names:
        if name not in rooms:
            parts += _documented("##", name, getattr(netassay, name), shown)
    for name in rooms:
        parts += _rooms(getattr(netassay, name), shown)
    for name in study.builtin():
        parts += [
            f"\n## Config of study {name}\n",
            "| key | allowed | default | meaning |",
            "|---|---|---|---|",
        ]
        parts += [
            f"| `{row.key}` | {_cell(row.allowed)} | `{row.default}` | {_cell(row.meaning)} |"
            for row in study.find(name).config.explain()
        ]
    return "\n".join(parts) + "\n"


PREFACE = """
    Names without a dot are imported from `netassay`, those of a kit from the kit, such as `netassay.dna.motifs`. The
    examples are run by the tests, in a folder with a store `runs`, an atlas `atlas` and the files that they name.
"""


def _rooms(package: ModuleType, shown: set[int]) -> list[str]:
    """A kit: what each of its files is for, and the names that only it exports; then its rooms."""
    members = {name: getattr(package, name) for name in package.__all__}
    parts = [f"\n## {package.__name__}\n", inspect.cleandoc(package.__doc__ or "")]
    here = {name: member for name, member in members.items() if not inspect.ismodule(member)}
    again = [f"`{name}`" for name, member in here.items() if id(member) in shown]
    parts += [f"\nAlso exports {', '.join(again)} (above)."] if again else []
    for name, member in here.items():
        parts += _documented("###", f"{package.__name__}.{name}", member, shown)
    for member in members.values():
        parts += _rooms(member, shown) if inspect.ismodule(member) else []
    return parts


def _documented(level: str, name: str, thing: Any, shown: set[int]) -> list[str]:
    """One name: signature, sentence, arguments, returns, errors, source, example."""
    if id(thing) in shown:
        return []
    shown.add(id(thing))
    doc = docstring_of(thing)
    parts = [f"\n{level} {name}\n"]
    if inspect.isfunction(thing) or (inspect.isclass(thing) and doc.arguments):
        parts.append(f"```python\n{name.rpartition('.')[2]}{_signature(thing)}\n```\n")
    parts.append(doc.sentence)
    parts += [f"\n{doc.text}"] if doc.text else []
    for heading, entries in (("Arguments", doc.arguments), ("Attributes", doc.attributes)):
        parts += [f"\n**{heading}**\n", *(f"- `{key}`: {words}" for key, words in entries.items())] if entries else []
    parts += [f"\n**Returns** {doc.returns}"] if doc.returns else []
    parts += ["\n**Errors**\n", *(f"- `{key}`: {words}" for key, words in doc.errors.items())] if doc.errors else []
    parts += [f"\n**Source** {doc.source}"] if doc.source else []
    parts += ["\n**Methods**\n", *members] if inspect.isclass(thing) and (members := _members(thing)) else []
    return [*parts, f"\n**Example**\n\n```python\n{doc.example}\n```"] if doc.example else parts


def _signature(function: object) -> str:
    signature = inspect.signature(function)
    shown, starred = [], False
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not starred:
            shown.append("*")
            starred = True
        shown.append(_parameter(parameter))
    one_line = f"({', '.join(shown)}) -> {signature.return_annotation}"
    if len(one_line) < 90:
        return one_line
    lines = "".join(f"    {parameter},\n" for parameter in shown)
    return f"(\n{lines}) -> {signature.return_annotation}"


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {inspect.Parameter.VAR_KEYWORD: "**", inspect.Parameter.VAR_POSITIONAL: "*"}.get(parameter.kind, "")
    words = f"{stars}{parameter.name}: {parameter.annotation}"
    if parameter.default is inspect.Parameter.empty:
        return words
    return f"{words} = {'...' if callable(parameter.default) else repr(parameter.default)}"


def _members(thing: type) -> list[str]:
    """Public methods and properties of the class itself that have a docstring, first paragraph each."""
    rows = []
    for name, member in vars(thing).items():
        function = getattr(member, "__func__", member)
        if name.startswith("_") or not (inspect.isfunction(function) or isinstance(member, property)):
            continue
        if inspect.getdoc(function):
            doc = docstring_of(function)
            rows.append(f"- `{name}`: {' '.join([doc.sentence, *doc.text.split()])}")
    return rows


def stubs() -> dict[Path, str]:
    """Stub file of each package with `netassay.contents` -> its text: a type checker sees what loads on first use."""
    root = Path(netassay.__file__).parent
    calls = {path: _contents(path) for path in sorted(root.rglob("__init__.py"))}
    return {path.with_suffix(".pyi"): _stub(path, root, call) for path, call in calls.items() if call}


def _contents(path: Path) -> ast.Call | None:
    """The call of `contents` in a file, if there is one."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return next((call for call in calls if ast.unparse(call.func) == "contents"), None)


def _stub(path: Path, root: Path, call: ast.Call) -> str:
    package = ".".join(("netassay", *path.parent.relative_to(root).parts))
    homes = dict.fromkeys(ast.literal_eval(call.keywords[0].value) if call.keywords else (), package)
    homes |= ast.literal_eval(call.args[1])
    lines = [
        f"from {homes[name]} import {name} as {name}" for name in sorted(homes, key=lambda n: (homes[n], _order(n)))
    ]
    version = ["__version__"] if path.parent == root else []
    names = sorted([*version, *homes], key=_order)
    typed = ["", "__version__: str"] if version else []
    listed = ["", "__all__ = [", *(f'    "{name}",' for name in names), "]"]
    return "\n".join([STUB, *lines, *typed, *listed]) + "\n"


STUB = "# made by `make docs` from the contents in __init__.py; change them there"


def _order(name: str) -> tuple[int, str]:
    """As import sorters have it: constants, classes, functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def metric_tables(page: str) -> str:
    """A page with the tables between "metrics" marks made anew from what the studies say that they record."""
    return _MARKS.sub(lambda mark: f"{mark[1]}\n{_metrics(mark[2])}\n<!-- end -->", page)


_MARKS = re.compile(r"(<!-- metrics: ([\w ]+) -->)\n.*?\n<!-- end -->", re.DOTALL)


def _metrics(of: str) -> str:
    if of == "edge on request":
        from netassay.studies.edge.instruments import INSTRUMENTS

        rows = [row for instrument in INSTRUMENTS for row in instrument.quantities]
        heads = {
            "key": "key",
            "metric": "",
            "part": "",
            "is": "meaning",
            "error": "error",
            "source": "source",
        }
    else:
        rows = list(study.find(of).findings.METRICS)
        heads = {"metric": "", "part": "", "at": "at", "is": "meaning"}
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for row in rows:
        own = {
            "key": f"`{row.key}`",
            "metric": ", ".join(f"`{name}`" for name in row.names),
            "part": "1, 2, …" if row.part == "rank" else row.part,
        }
        cells = [_cell(own.get(head) or getattr(row, field)) for head, field in heads.items()]
        lines.append(f"| {' | '.join(cells)} |".replace("|  ", "| "))
    return "\n".join(lines)


if __name__ == "__main__":
    for page in HERE.glob("*.md"):
        page.write_text(metric_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
    (HERE / "cli.md").write_text(cli(), encoding="utf-8")
    (HERE / "api.md").write_text(api(), encoding="utf-8")
    for path, stub in stubs().items():
        path.write_text(stub, encoding="utf-8")
