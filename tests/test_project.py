"""The files around the package: one version, local hooks, rules, no word of the machine it was written on."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import netassay

ROOT = Path(__file__).parents[1]
MACHINE = ("/work/", "/root/", "/tmp/bash", "/home/", "/Users/")

CLOCK = re.compile(r"\b(monotonic|perf_counter|process_time|thread_time|time\.time|seconds_taken|elapsed)\b")


def tracked() -> list[Path]:
    """Files of the checkout that git knows, or, in an unpacked archive, all that are no caches."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        return [ROOT / name for name in listed.stdout.split("\0") if name]
    folders = ("src", "docs", "tests", "examples", "benchmarks")
    return [path for folder in folders for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts]


def test_no_text_names_a_place_of_the_machine_it_was_written_on():
    texts = 0
    for path in tracked():
        if path == Path(__file__) or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        texts += 1
        if path.name == "test_baseline.py":  # which looks for such places itself
            continue
        for place in MACHINE:
            assert place not in text, f"{path.relative_to(ROOT)} holds {place}"
    assert texts > 300


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "src/netassay/__init__.py"
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^version: (.*)$", citation, re.M)[1] == netassay.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(r"^## (.*)$", changelog, re.M)[1] == netassay.__version__


def test_the_changelog_is_added_changed_fixed():
    text = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^### (.*)$", text, re.M)
    assert set(headings) <= {"Added", "Changed", "Fixed"}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", name) for name in re.findall(r"^## (.*)$", text, re.M))


def test_hooks_and_workflow_run_what_the_checkout_runs():
    yaml = pytest.importorskip("yaml")
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repo["repo"] for repo in hooks["repos"]] == ["local"]
    steps = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["test"]["steps"]
    assert steps[-1] == {"run": ".ci/run"}
    makefile = (ROOT / "Makefile").read_text()
    for hook in hooks["repos"][0]["hooks"]:
        tool = hook["entry"].split()[0].removeprefix(".venv/")
        assert tool.replace("bin/", "$(BIN)/") in makefile


def test_no_test_fails_because_a_machine_is_slow():
    """No deadline but in the one profile, which has none; no assertion on what a clock says."""
    from hypothesis import settings

    assert settings.default.deadline is None
    assert settings.default.derandomize
    for path in (ROOT / "tests").rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "settings":
                assert not {"deadline", "derandomize"} & {word.arg for word in node.keywords}, path
            if isinstance(node, ast.Assert):
                assert not CLOCK.search(ast.unparse(node.test)), f"{path}:{node.lineno} asserts on a clock"


def test_the_citation_names_the_three_works():
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["title"] == "netassay"
    works = [(work["authors"][0]["family-names"], work["year"]) for work in citation["references"]]
    assert works == [("Madden", 2024), ("Fox", 2023), ("Maslova", 2020)]
    assert citation["references"][0]["identifiers"][0]["value"] == "arXiv:2405.13718"
    assert citation["references"][2]["doi"] == "10.1073/pnas.2011795117"


def test_one_line_length_for_formatter_and_linter():
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]
    assert "pycodestyle" not in ruff["lint"] and "format" not in ruff
    assert f"at most {ruff['line-length']} characters" in (ROOT / "CONTRIBUTING.md").read_text()
    python = [path for path in tracked() if path.suffix == ".py"]
    skipped = sum(line.endswith("# fmt: skip") for path in python for line in path.read_text().splitlines())
    assert len(python) > 500 and skipped <= 40, "# fmt: skip is for tables of data alone"


def test_the_readme_has_three_pictures_with_the_commands_that_made_them():
    text = (ROOT / "README.md").read_text()
    pictures = re.findall(r"^!\[[^\]]+\]\((docs/[^)]+)\)\n\n(\*.*?\*)\n\n", text, re.M | re.S)
    assert len(pictures) == 3
    for path, caption in pictures:
        assert (ROOT / path).exists() and ("netassay demo" in caption or "The same command" in caption)
