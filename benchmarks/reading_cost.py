"""How much of the package a newcomer reads who follows one command through it, function by function.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/reading_cost.py [REV ...] [--list]. Without REV the checkout is
measured as it stands; with REV, such as two commits before and after a change, the sources of each (git archive).
Half a minute to a minute each, most of it for training a network that `interpret` has something to say about.

A file counts when a function that is defined in it is called while the command runs in this process, imports
included: what builds flags or registers something as a module is imported is part of the way. Functions are def and
lambda. Bodies of modules and of classes do not count, neither do comprehensions and generator expressions (they
belong to the function around them), nor code without a file of this package, such as the methods that dataclasses
generate. Processes that the command starts are not followed, nor are calls from threads that Python did not start.
So the count is of one path: an option not given, an error not met and a format not read cost nothing.

Rooms are the folders of these files. Lines are those of the functions called, from the first decorator to the last
line, docstrings and blank lines included, each counted once (a function within another lies in that).
"""

import argparse
import ast
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType

ROOT = Path(__file__).resolve().parents[1]
TEXT = "the cat sat on the mat\nthe cat ran\nthe dog sat on the cat\n"
# After two epochs on 240 peaks, as in the tests, no peak is well predicted and most chapters only say that they are
# empty: 63 files instead of 97.
TRAINING = (
    "aitac --atlas simulated --peaks 1000 --n-filters 16 --n-channels 16 --n-hidden 32 "
    "--epochs 20 --batch-size 50 --learning-rate 0.003 --store aitac"
)
# what is measured -> command lines run before and not counted, command lines counted together
JOURNEYS = {
    "edge, report": ([], ["edge --step-size 0.2 --steps 5 --store edge", "report edge --store edge"]),
    "entropy": ([], ["entropy corpus.txt"]),
    "interpret, report": (
        [TRAINING],
        ["interpret aitac --store aitac", "report aitac-interpret --store aitac"],
    ),
}
COMPREHENSIONS = {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}
OPTIMIZED = 0x1  # inspect.CO_OPTIMIZED: set in the code of functions, not in that of modules and classes


def functions_called(package: Path, action: Callable[[], None]) -> list[CodeType]:
    """The functions of `package` that `action` calls, in order of their first call."""
    inside = f"{package}{os.sep}"
    codes: dict[int, CodeType] = {}

    def hook(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_flags & OPTIMIZED and code.co_filename.startswith(inside):
            codes.setdefault(id(code), code)

    threading.setprofile(hook)
    sys.setprofile(hook)
    try:
        action()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return [code for code in codes.values() if code.co_name not in COMPREHENSIONS]


def lines_of(path: Path, codes: list[CodeType]) -> int:
    """Lines of a file that belong to these functions."""
    ends: dict[tuple[int, str], int] = {}
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first, name = min([node.lineno, *(d.lineno for d in node.decorator_list)]), node.name
        elif isinstance(node, ast.Lambda):
            first, name = node.lineno, "<lambda>"
        else:
            continue
        ends[first, name] = max(ends.get((first, name), 0), node.end_lineno or first)
    lines: set[int] = set()
    for code in codes:
        first = code.co_firstlineno
        lines.update(range(first, ends[first, code.co_name] + 1))
    return len(lines)


def cost(package: Path, action: Callable[[], None]) -> dict[str, object]:
    """Files in order of first entry, and the number of functions and lines."""
    by_file: dict[str, list[CodeType]] = {}
    for code in functions_called(package, action):
        by_file.setdefault(code.co_filename, []).append(code)
    return {
        "files": [Path(file).relative_to(package).as_posix() for file in by_file],
        "functions": sum(map(len, by_file.values())),
        "lines": sum(lines_of(Path(file), codes) for file, codes in by_file.items()),
    }


def child(source: str, commands: list[str], answer: str) -> None:
    """Runs commands of the package under `source`; what they cost is written to `answer`."""
    import netassay
    from netassay.cli import main

    package = Path(netassay.__file__).parent
    if package != Path(source, "netassay"):
        sys.exit(f"netassay was loaded from {package}, not from {source}")

    def run() -> None:
        for words in commands:
            code = main(words.split())
            if code:
                sys.exit(f"netassay {words}: exit code {code}")

    Path(answer).write_text(json.dumps(cost(package, run)))


def in_child(source: Path, commands: list[str], folder: Path) -> dict:
    answer = folder / "answer.json"
    # -P: the other files of this folder must not be found as modules
    words = [sys.executable, "-P", __file__, "--child", str(source), json.dumps(commands), str(answer)]
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout}\n{done.stderr}\nreading_cost: {commands} failed with the sources in {source}")
    return json.loads(answer.read_text())


def measure(source: Path, list_files: bool) -> None:
    print(f"  {'command':20}{'files':>8}{'rooms':>8}{'functions':>12}{'lines':>9}")
    lists = []
    for name, (before, counted) in JOURNEYS.items():
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "corpus.txt").write_text(TEXT)
            if before:
                in_child(source, before, Path(folder))
            answer = in_child(source, counted, Path(folder))
        files = answer["files"]
        rooms = {Path(file).parent for file in files}
        print(
            f"  {name:20}{len(files):8}{len(rooms):8}{answer['functions']:12,}{answer['lines']:9,}",
            flush=True,
        )
        lists.append((name, files))
    for name, files in lists if list_files else []:
        print(f"\n  {name}", *files, sep="\n    ")


def git(*words: str) -> bytes:
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True)
    if done.returncode:
        sys.exit(f"git {' '.join(words)}: {done.stderr.decode().strip()}")
    return done.stdout


def title(revision: str) -> str:
    return git("show", "-s", "--format=%h of %cs, %s", f"{revision}^{{commit}}").decode().strip()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], json.loads(sys.argv[3]), sys.argv[4])
        sys.exit()
    parser = argparse.ArgumentParser()
    parser.add_argument("revisions", nargs="*", metavar="REV")
    parser.add_argument("--list", action="store_true", help="the files too, in order of first entry")
    arguments = parser.parse_args()
    for name, (_, counted) in JOURNEYS.items():
        print(f"{name}: " + "; ".join(f"netassay {words}" for words in counted))
    if not arguments.revisions:
        changed = ", with changes not committed" if git("status", "--porcelain", "src") else ""
        print(f"\n{title('HEAD')}{changed}")
        measure(ROOT / "src", arguments.list)
    for revision in arguments.revisions:
        print(f"\n{title(revision)}")
        with tempfile.TemporaryDirectory() as folder:
            archive = io.BytesIO(git("archive", revision, "src"))
            with tarfile.open(fileobj=archive) as sources:
                sources.extractall(folder, filter="data")
            measure(Path(folder).resolve() / "src", arguments.list)
