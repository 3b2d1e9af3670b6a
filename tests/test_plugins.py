"""Studies of other packages: found, checked by name, lazy, and harmless where they are broken or not installed."""

import json
from pathlib import Path

import pytest
from every_kind import EXAMPLE, installed, python, write_metadata

from netassay import study
from netassay.cli import main
from netassay.errors import ConfigError, PluginError
from netassay.performing import perform, resume, summarise
from netassay.presenting import report
from netassay.runs import State, Store
from netassay.sweeps import Plan, sweep

SMALL = {"examples": 30, "most_features": 60, "points": 6}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    write_metadata(site, EXAMPLE)
    return site


@pytest.fixture
def example(site):
    with installed(site, EXAMPLE):
        yield study.find("double-descent")


@pytest.fixture
def package(tmp_path):
    """Installs packages of a name, entry points and files, and has them found while the test runs."""
    folder = tmp_path / "packages"
    folder.mkdir()

    def write(name, points, **files):
        about = folder / f"{name}-1.2.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (about / "entry_points.txt").write_text(f"[netassay.studies]\n{points}\n")
        for file, code in {"__init__": "", **files}.items():
            path = folder / name / f"{file}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(code)

    with installed(folder, folder):
        yield write


def told(capsys, *words, code=2):
    """What a command says on standard error: one sentence, and no traceback."""
    capsys.readouterr()
    assert main([*map(str, words)]) == code
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert len(said.splitlines()) == 1, said
    return said


def test_a_study_of_another_package_is_one_among_all(example):
    assert "double-descent" in study.names()
    assert "double-descent" in study.performable()
    assert "double-descent" not in study.builtin()
    assert example.release == "netassay-double-descent 0.1.0"
    assert "random-feature regression" in example.summary


def test_children_of_a_sweep_find_it(example, tmp_path):
    plan = Plan(study="double-descent", base=SMALL, axes={"noise": [0.0, 0.5]})
    done = sweep(plan, tmp_path / "store", workers=2)
    assert done.failed == {}
    assert [run.package for run in done.runs] == ["netassay-double-descent 0.1.0"] * 2
    assert [row["state"] for row in done.rows()] == ["finished"] * 2
    assert Plan.named("double-descent:demo").study == "double-descent"


def test_a_run_whose_package_is_not_installed_names_it(site, tmp_path, capsys):
    with installed(site, EXAMPLE):
        config = study.configure({"study": "double-descent", **SMALL})
        run = perform(config, tmp_path / "store", threads=1)
        planned = Plan(study="double-descent", base=SMALL, axes={"noise": [0.1]})
        edge = perform(study.find("edge").tiny().replace(steps=2), tmp_path / "store", threads=1)
    package = "netassay-double-descent 0.1.0, which is not installed"
    for words in (["show", run.id], ["resume", run.id]):
        assert package in told(capsys, *words, "--store", tmp_path / "store")
    for ask in (summarise, lambda run: resume(run.folder)):
        with pytest.raises(ConfigError, match=package):
            ask(run)
    page = report([run, edge], tmp_path / "page.html").read_text()
    assert package in page
    assert edge.id in page
    for words in (
        ["runs"],
        ["verify"],
        ["show", run.id, "--what", "metrics"],
        ["export", tmp_path / "x.csv"],
    ):
        assert main([*map(str, words), "--store", str(tmp_path / "store")]) == 0
    assert planned.study == "double-descent"
    with pytest.raises(ConfigError, match="study 'double-descent' is not known"):
        study.find("double-descent")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"config": "raise ZeroDivisionError('two\\nlines')"}, "ZeroDivisionError: two lines"),
        ({"config": "def broken("}, "SyntaxError"),
        ({"config": "raise SystemExit(3)"}, "SystemExit: 3"),
        ({}, "ModuleNotFoundError: No module named 'waves.config'"),
        ({"config": "CONFIG = 1"}, "waves.config does not define tiny"),
        ({"config": "CONFIG = tiny = 1"}, "CONFIG of waves.config must be a subclass"),
        (
            {"config": "from netassay.config import Config as C\nclass CONFIG(C):\n    study = 'x'\ntiny = 1"},
            "with study = 'waves'",
        ),
    ],
)
def test_a_broken_package_is_one_sentence_and_breaks_nothing_else(package, capsys, monkeypatch, files, reason):
    for name in ("waves", "waves.config"):
        monkeypatch.delitem(__import__("sys").modules, name, raising=False)
    package("waves", "waves = waves", **files)
    said = told(capsys, "waves")
    assert "study 'waves' of package waves cannot be used" in said
    assert reason in said
    assert "mend or uninstall" in said
    assert told(capsys, "explain", "waves") == said
    Path("runs").mkdir()
    for words in (["--help"], ["runs"], ["edge", "--help"], ["report"]):
        capsys.readouterr()
        assert main(words) == 0
    assert "Traceback" not in capsys.readouterr().err
    assert main(["--help"]) == 0
    assert "Study of package waves." in capsys.readouterr().out


CONFIG = """
from pydantic import Field
from netassay.config import Config
class CONFIG(Config):
    study = "ripples"
    key: int = Field(1, ge=1)
    "A key."
def tiny(): return CONFIG()
"""
ASSAY = """
from netassay.training import stages
def assay(config, recorder, **keywords):
    return stages(recorder, lambda step: {"loss": 1.0}, facts=dict, names=["one"], **keywords)
def tables(run): return {}
"""
FINDINGS = "def summary(run): return {}"


def test_pages_that_fail_leave_those_of_others(package, tmp_path, capsys):
    package(
        "ripples",
        "ripples = ripples",
        config=CONFIG,
        assay=ASSAY,
        findings=FINDINGS,
        pages="""
def sections(runs): raise KeyError("no <such> thing")
""",
    )
    run = perform(study.find("ripples").tiny(), tmp_path / "store", threads=1)
    assert run.state is State.FINISHED
    edge = perform(study.find("edge").tiny().replace(steps=2), tmp_path / "store", threads=1)
    page = report(Store(tmp_path / "store").runs(), tmp_path / "page.html").read_text()
    assert edge.id in page
    assert "could not be drawn: KeyError: &#x27;no &lt;such&gt; thing&#x27;" in page
    assert run.id in page
    capsys.readouterr()
    assert main(["ripples", "--help"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "Example: netassay ripples --store runs" in words  # neither docstring nor example is given
    assert main(["ripples", "--key", "2", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "finished"


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ("Waves = waves", "'Waves' of package waves: a name is of lower-case letters"),
        ("wa_ves = waves", "a name is of lower-case letters"),
        ("../x = waves", "a name is of lower-case letters"),
        (f"{'w' * 41} = waves", "at most 40"),
        ("edge = waves", "netassay has a study of that name"),
        ("edge-tracker = waves", "netassay has a study of that name"),
        ("sweep = waves", "netassay has a command of that name"),
        ("waves = waves:main", "'waves:main' is not a package"),
        ("waves", "its entry points cannot be read"),
    ],
)
def test_names_are_checked(package, capsys, points, reason):
    package("waves", points)
    name = points.partition(" = ")[0]
    capsys.readouterr()
    assert main(["--help"]) == 0
    assert reason in capsys.readouterr().err
    assert study.find("edge").plugin is None
    if "command" not in reason and "netassay has" not in reason:
        with pytest.raises(PluginError, match="package waves"):
            study.find(name)
        assert reason in told(capsys, name)
    Path("runs").mkdir(exist_ok=True)
    assert main(["runs"]) == 0


def test_two_packages_of_one_name_are_both_refused(package, capsys):
    package("waves", "waves = waves")
    package("other", "waves = other")
    said = told(capsys, "waves")
    assert "gives that name too" in said
    assert "waves" not in study.names()


def test_help_imports_nothing_of_another_package(package, capsys):
    package("waves", "waves = waves", __init__="import torch, nothing_of_that_name")
    code = "from netassay.cli import main; import sys; main(['--help']); print({'torch', 'waves'} & set(sys.modules))"
    done = python(code)
    assert "Studies of other packages" in done.stdout
    assert done.stdout.splitlines()[-1] == "set()", done.stderr


def test_a_study_of_ones_own_without_docstrings_has_a_help_line(monkeypatch, capsys):
    import netassay.studies.edge

    monkeypatch.setattr(netassay.studies.edge, "__doc__", None)
    assert main(["--help"]) == 0
    assert "Study edge." in capsys.readouterr().out
    monkeypatch.setattr(netassay.studies.edge, "__doc__", "\n  \n")
    assert main(["--help"]) == 0
