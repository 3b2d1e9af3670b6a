"""One form of options in all commands; completion; answers as their schema says."""

import inspect
import json
import os
import shutil
from pathlib import Path

import jsonschema
import pytest

from netassay import study
from netassay.cli import main
from netassay.cli.app import build, commands
from netassay.cli.command import of_threads
from netassay.errors import ConfigError

ROOT = Path(__file__).parents[2]
WRITTEN = next((ROOT / "tests" / "baseline").glob("*/finished"))
SCHEMA = json.loads((ROOT / "docs" / "answers.schema.json").read_text())
COMMANDS = {name: inspect.signature(command).parameters for name, command in commands(build()).items()}
PARALLEL = {"sweep", "demo"}
INSTANT = {"atlas info", "delete", "explain", "runs", "show", "tag", "watch"}


def test_every_command_has_a_format_and_those_that_compute_have_threads_and_quiet():
    assert len(COMMANDS) > 30
    for name, flags in COMMANDS.items():
        assert "format" in flags, name
        assert name in INSTANT or "quiet" in flags, name
        assert name in INSTANT | PARALLEL or "threads" in flags, name


def test_every_command_has_a_schema():
    assert {*COMMANDS} <= SCHEMA["properties"].keys()
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", sorted({*study.performable()} - {*study.plugins().usable}))
def test_groups_of_keys_name_keys_that_exist_once(name):
    config = study.find(name).config
    keys = [key for group in config.groups.values() for key in group]
    assert len(keys) == len({*keys}) and {*keys} <= config.model_fields.keys()
    assert len(config.model_fields) - len(keys) <= 13, "too many keys without a heading"


def test_help_shows_the_groups(capsys):
    assert main(["interpret", "--help"]) == 0
    shown = capsys.readouterr().out
    places = [shown.index(heading) for heading in ("Config", "Motifs", "Influence, pairs", "Agreement with ChIP-seq")]
    assert places == sorted(places)


def test_threads_hold_while_the_command_runs(monkeypatch):
    import torch

    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    before = torch.get_num_threads()
    with of_threads(2):
        assert os.environ["OMP_NUM_THREADS"] == os.environ["POLARS_MAX_THREADS"] == "2"
        assert torch.get_num_threads() == 2
    assert os.environ["OMP_NUM_THREADS"] == "7" and torch.get_num_threads() == before
    with pytest.raises(ConfigError, match="threads = 0 is not allowed"), of_threads(0):
        pass


def test_completion_is_installed_with_the_flags_of_all_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", "/bin/bash")
    monkeypatch.setattr("cyclopts.completion.detect_shell", lambda: "bash")
    main(["--install-completion"])
    text = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert "--step-size" in text and "--motif-threshold" in text


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("answers")
    shutil.copytree(WRITTEN, folder / "runs")
    (folder / "s.txt").write_text("the cat sat\nthe dog sat\n")
    return folder


RUN = min(path.name for path in WRITTEN.glob("edge-*") if "stepsize" not in path.name)
ANSWERS = {
    "edge": "edge --steps 3 --examples 40 --width 4 --store new",
    "runs": "runs",
    "show": f"show {RUN}",
    "show --what config": f"show {RUN} --what config",
    "show --what metrics": f"show {RUN} --what metrics",
    "show --what events": f"show {RUN} --what events",
    "show --what tables": f"show {RUN} --what tables",
    "verify": "verify",
    "check": "check s.txt",
    "explain": "explain edge",
    "entropy": "entropy s.txt --threads 1",
    "bounds": "bounds s.txt --parameters 100",
    "construct": "construct s.txt",
    "injectivity": "injectivity s.txt",
    "rank": "rank tanh --size 4",
    "atlas info": "atlas info dhs4",
    "watch": "watch new --once",
    "figure": f"figure {RUN} edge-loss --out f.svg",
    "report": f"report {RUN} --out r.html",
    "export": "export m.csv",
    "tag": f"tag {RUN} good",
    "delete": f"delete {RUN}",
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_are_as_the_schema_says(name, workshop, monkeypatch, capsys):
    monkeypatch.chdir(workshop)
    assert main([*ANSWERS[name].split(), "--format", "json"]) == 0
    value = json.loads(capsys.readouterr().out)
    validator = jsonschema.Draft202012Validator({"$defs": SCHEMA["$defs"], **SCHEMA["properties"][name]})
    assert not [error.message for error in validator.iter_errors(value)]


def test_a_damaged_store_is_listed_as_the_schema_says(workshop, tmp_path, monkeypatch, capsys):
    shutil.copytree(WRITTEN / RUN, tmp_path / "runs" / RUN)
    table = next((tmp_path / "runs" / RUN).rglob("*.parquet"))
    table.write_bytes(b"?" + table.read_bytes()[1:])
    assert main(["verify", "--store", str(tmp_path / "runs"), "--format", "json"]) == 2
    problems = json.loads(capsys.readouterr().out)
    assert problems
    jsonschema.validate(problems, {"$defs": SCHEMA["$defs"], **SCHEMA["properties"]["verify"]})
