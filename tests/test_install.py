"""The wheel in an environment of its own, without extras: what it weighs, and that its demo runs; other Pythons."""

import json
import os
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
LARGEST = 600e6
"""Bytes that an installation may take beside torch."""
TORCH = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))


def pip(python, *words, check=True):
    command = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", folder, ROOT)
    return next(folder.glob("netassay-*.whl"))


@pytest.fixture(scope="module")
def plain(wheel, tmp_path_factory):
    """The folder of an environment that holds the wheel and what it needs."""
    folder = tmp_path_factory.mktemp("plain") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip(folder / "bin" / "python", "install", TORCH)
    pip(folder / "bin" / "python", "install", wheel)
    return folder


def closure(name, distributions, names=frozenset()):
    """Names of a distribution and all that it needs."""
    if name in names or name not in distributions:
        return names
    names = names | {name}
    for line in distributions[name].requires or ():
        needed = Requirement(line)
        if needed.marker is None or needed.marker.evaluate({"extra": ""}):
            names = closure(needed.name.lower().replace("_", "-"), distributions, names)
    return names


def size(distribution):
    paths = [Path(distribution.locate_file(file)) for file in distribution.files or ()]
    return sum(path.stat().st_size for path in paths if path.is_file())


@pytest.mark.slow
def test_what_is_installed_beside_torch_is_small(plain):
    (packages,) = plain.glob("lib/python*/site-packages")
    installed = metadata.distributions(path=[str(packages)])
    distributions = {one.metadata["Name"].lower().replace("_", "-"): one for one in installed}
    own = closure("netassay", distributions) - closure("torch", distributions)
    total = sum(size(distributions[name]) for name in own)
    assert 100e6 < total < LARGEST
    assert {"numpy", "polars", "altair"} <= own
    assert not {"bioframe", "pandas", "matplotlib", "pybigtools", "scikit-learn", "pyarrow"} & distributions.keys()
    stated = f"{total / 1e6:.0f} MB"
    readme = (ROOT / "README.md").read_text()
    print(f"{stated} beside torch")
    assert "MB beside torch" in readme


def netassay(plain, folder, *words):
    """The command as installed: no path of this checkout."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    program = plain / "bin" / "netassay"
    return subprocess.run([program, *words], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_commands_run_from_the_wheel(plain, tmp_path):
    shown = netassay(plain, tmp_path, "--help")
    assert shown.returncode == 0 and "demo" in shown.stdout and not shown.stderr
    made = netassay(plain, tmp_path, "edge", "--steps", "5", "--examples", "50", "--width", "4", "--format", "json")
    assert json.loads(made.stdout)["status"] == "finished", made.stderr
    (tmp_path / "a.bw").write_bytes(b"\x26\xfc\x8f\x88" + bytes(60))
    refused = netassay(plain, tmp_path, "check", "a.bw")
    assert refused.returncode == 2 and "install netassay[dna]" in refused.stderr


@pytest.mark.slow
def test_the_demo_runs_from_the_wheel(plain, tmp_path):
    done = netassay(plain, tmp_path, "demo", "--out", "demo")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0].startswith("contributions by DeepLIFT/SHAP are left out")
    assert "is left out: method deepshap needs the package" in (tmp_path / "demo" / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("extra", ["", "[dna]"])
@pytest.mark.parametrize("python", PYTHONS)
def test_every_python_resolves(wheel, tmp_path, python, extra):
    """The extra's requirements are chosen here: pip takes the running Python for the one that markers ask for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = map(Requirement, project["optional-dependencies"]["dna"] if extra else ())
    chosen = [one for one in required if one.marker is None or one.marker.evaluate({"python_version": python})]
    more = [f"{one.name}{one.specifier}" for one in chosen]
    report = tmp_path / "report.json"
    words = ["--dry-run", "--ignore-installed", "--only-binary=:all:", "--python-version", python]
    pip(sys.executable, "install", *words, "--target", tmp_path / "none", "--report", report, wheel, *more)
    names = {item["metadata"]["name"] for item in json.loads(report.read_text())["install"]}
    assert {"netassay", "torch", "polars"} <= names and ("bioframe" in names) == (extra == "[dna]")
    assert ("pybigtools" in names) == (extra == "[dna]" and python != "3.14")


def test_classifiers_and_readme_name_the_pythons():
    """3.11 is the one on which the suite runs; the others are resolved by the test above."""
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    assert [word.rsplit(" ", 1)[1] for word in classifiers if "Python :: 3." in word] == [*PYTHONS]
    readme = (ROOT / "README.md").read_text()
    assert "The suite runs on Python 3.11" in readme and "3.12, 3.13 and 3.14" in readme
