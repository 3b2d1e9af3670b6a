"""The documents say what the code does."""

import ast
import importlib
import importlib.util
import re
import runpy
import shlex
from pathlib import Path

import pytest
from every_kind import EXAMPLE, installed, write_metadata

from netassay.cli.app import build

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "CHANGELOG.md",
]


def generate():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["cli", "api"])
def test_generated_pages_are_up_to_date(name):
    assert (ROOT / "docs" / f"{name}.md").read_text() == getattr(generate(), name)(), "run `make docs`"


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_tables_of_metrics_are_up_to_date(page):
    assert page.read_text() == generate().metric_tables(page.read_text()), "run `make docs`"


def test_stubs_are_up_to_date():
    made = generate().stubs()
    files = set((ROOT / "src").rglob("*.pyi"))
    assert files == set(made), "run `make docs`"
    for path, text in made.items():
        assert path.read_text() == text, f"{path.name} of {path.parent.name}: run `make docs`"
    # and each has the names that the package has when it runs
    for path in made:
        package = importlib.import_module(".".join(path.parent.relative_to(ROOT / "src").parts))
        listed = ast.literal_eval(path.read_text().rpartition("__all__ = ")[2])
        assert sorted(listed) == sorted(package.__all__)


def commands():
    for page in PAGES:
        for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.S):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("netassay "):
                    yield pytest.param(line, id=f"{page.name}: {line[:40]}")


@pytest.mark.parametrize("line", list(commands()))
def test_commands_in_the_documents_parse(line, tmp_path):
    words = shlex.split(line, comments=True)[1:]
    write_metadata(tmp_path, EXAMPLE)
    with installed(tmp_path, EXAMPLE):
        build(words[0]).parse_args(words, exit_on_error=False, print_error=False)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "```python" in page.read_text()], ids=lambda p: p.name
)
def test_python_in_the_documents_compiles(page):
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.S):
        if page.name != "api.md":
            compile(block, page.name, "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_and_paths_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert "://" not in target, f"{page.name} names a host: {target}"
        assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("name", ["reliability.md", "run-format.md"])
def test_named_tests_exist(name):
    page = ROOT / "docs" / name
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    promised = re.findall(r"`(?:\w+::)?(test_[a-z0-9_]+)`", page.read_text())
    assert promised
    for test in promised:
        assert f"def {test}(" in tests, f"{page.name}: {test}"


def test_python_of_the_step_size_tutorial_runs(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "edge-diverges.md").read_text(), re.S)
    assert len(blocks) == 2
    for number, block in enumerate(blocks):
        (tmp_path / f"{number}.py").write_text(block)
        runpy.run_path(str(tmp_path / f"{number}.py"))
    assert len(list((tmp_path / "runs").glob("edge-tracker-*"))) == 1


def test_the_tutorial_on_interpretations_names_every_figure():
    page = " ".join((ROOT / "docs" / "aitac-interpret.md").read_text().split())
    told = set(re.findall(r"\*\*(.*?)[.,]?\*\*", page))
    for name in (
        "sections/binding.py",
        "sections/influence.py",
        "sections/pairs.py",
        "sections/reproducible.py",
    ):
        code = (ROOT / "src/netassay/studies/aitac/interpret" / name).read_text()
        titles = re.findall(r'Figure\(\s*"[a-z-]+",\s*"([^"]+)"', code)
        assert titles, name
        assert set(titles) <= told, f"{name}: {set(titles) - told}"
