"""The command line as its user meets it: answers, examples of every help, refusals."""

import csv
import inspect
import io
import json
import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from netassay.cli import main
from netassay.cli.app import GROUPS, build, commands
from netassay.runs import Run, State, Store
from netassay.studies import STUDIES
from netassay.studies.edge.config import EdgeConfig

SMALL = ["--examples", "60", "--width", "4", "--steps", "6", "--curvature-every", "3", "--threads", "1"]
app = build()
FUNCTIONS = commands(app)
COMMANDS = list(FUNCTIONS)


def run(*words, code=0):
    assert main(list(words)) == code


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    run("edge", *SMALL, "--store", str(folder))
    run("edge", *SMALL, "--store", str(folder), "--depth", "1")
    return folder


def test_edge_prints_one_json_object(capsys, tmp_path):
    run("edge", *SMALL, "--store", str(tmp_path), "--format", "json")
    answer = json.loads(capsys.readouterr().out)
    assert {"run", "status", "phases", "loss", "accuracy", "metrics"} <= answer.keys()
    assert answer["status"] == "finished"
    assert isinstance(answer["phases"], list)
    import polars as pl

    metrics = pl.read_parquet(answer["metrics"])
    assert metrics.filter((pl.col("name") == "loss") & (pl.col("step") == 6))["value"].item() == answer["loss"]
    assert Run.open(answer["folder"]).config["width"] == 4


def test_flags_override_the_file(capsys, tmp_path):
    (tmp_path / "c.toml").write_text('study = "edge"\nexamples = 60\nwidth = 4\nsteps = 2\ndepth = 1\nbias = false\n')
    run("edge", "--config", "c.toml", "--depth", "0", "--format", "json")
    config = Run.open(json.loads(capsys.readouterr().out)["folder"]).config
    assert (config["depth"], config["bias"], config["steps"]) == (0, False, 2)


def test_a_diverging_step_size_is_an_answer(capsys, tmp_path):
    run("edge", *SMALL, "--step-size", "1e9", "--format", "json")
    answer = json.loads(capsys.readouterr().out)
    assert answer["status"] == "diverged"
    assert "diverged at step" in answer["message"]
    assert Run.open(answer["folder"]).checkpoint() is not None
    assert answer["phases"][-1]["phase"] == "divergence"


def test_runs_lists_selects_and_keeps_one_set_of_keys(capsys, store):
    run("runs", "--store", str(store), "--format", "json")
    rows = json.loads(capsys.readouterr().out)
    run("runs", "--store", str(store), "--format", "csv")
    from_csv = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [list(row) for row in rows] == [list(row) for row in from_csv]
    assert sorted(row["depth"] for row in rows) == [1, 2]
    run("runs", "--store", str(store), "--where", "depth=1", "--format", "json")
    assert [row["depth"] for row in json.loads(capsys.readouterr().out)] == [1]


@pytest.mark.parametrize("what", ["summary", "config", "metrics", "tables", "events"])
def test_show(capsys, store, what):
    name = Store(store).runs()[0].id
    words = ["show", name, "--store", str(store), "--what", what]
    run(*words)
    assert capsys.readouterr().out.strip()
    run(*words, "--format", "json")
    assert json.loads(capsys.readouterr().out)
    one_table = ["--name", "phases"] if what == "tables" else []
    run(*words, *one_table, "--format", "csv")
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows
    assert {len(row) for row in rows} == {len(rows[0])}


def test_all_tables_are_one_object_and_no_csv(capsys, store, tmp_path):
    found = Store(store).runs()[0]
    words = ["show", found.id, "--store", str(store), "--what", "tables"]
    run(*words, "--format", "json")
    answer = json.loads(capsys.readouterr().out)
    assert {name: len(rows) for name, rows in answer.items()} == {
        name: found.table(name).height for name in found.tables()
    }
    run(*words, "--format", "csv", code=2)
    assert "choose with --name: metrics, phases" in capsys.readouterr().err
    planned = Run.create(tmp_path, study="edge", config=EdgeConfig().mapping(), digest=EdgeConfig().digest)
    run("show", planned.id, "--store", str(tmp_path), "--what", "tables", "--format", "json")
    assert json.loads(capsys.readouterr().out) == {}


def test_a_name_is_not_ignored(capsys, store):
    run("show", Store(store).runs()[0].id, "--store", str(store), "--name", "loss", code=2)
    assert "--what metrics" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["edge", "--seed", "1.5"], "'1.5' is not a whole number"),
        (["edge", "--threads", "1.5"], "'1.5' is not a whole number"),
        (["edge", "--threads", "0"], "threads = 0 is not allowed"),
        (["edge", "--threads", "-1"], "threads = -1 is not allowed"),
        (["edge", "--threads", "100000"], "threads = 100000 is not allowed"),
        (["edge", "--seed", str(2**63)], "9223372036854775808' is not allowed: whole numbers have 64 bits"),
        (["resume", "edge-1a2b3c", "--from-step", "0.4"], "'0.4' is not a whole number"),
        (["show", "x" * 5000], "no run"),
        (["verify"], "no such folder"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_written(capsys, words, told):
    run(*words, code=2)
    assert told in capsys.readouterr().err
    assert not Path("runs").exists()


def test_what_is_no_file_is_not_replaced(capsys, store):
    os.mkfifo("pipe.csv")
    for words, says in ((["report", "--out"], "is a folder, a pipe or a device"), (["export"], "is not a file")):
        run(*words, "pipe.csv", "--store", str(store), code=2)
        assert says in capsys.readouterr().err
    assert Path("pipe.csv").is_fifo()


def test_workers_below_one_are_refused_and_nothing_written(capsys):
    Path("p.toml").write_text('study = "edge"\n')
    for options in (["--workers", "0"], ["--workers", "-2", "--dry-run"]):
        run("sweep", "p.toml", *options, code=2)
        assert "at least 1 run at a time" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_ids_stay_whole_in_a_narrow_terminal(capsys, store, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes standard output for a terminal
    run("runs", "--store", str(store))
    drawn = capsys.readouterr().out
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in drawn.splitlines()) <= 60
    assert all(found.id in drawn for found in Store(store).runs())


def test_the_answer_of_a_sound_verify_has_the_columns_of_a_damaged_one(capsys, store):
    run("verify", "--store", str(store), "--format", "csv")
    assert capsys.readouterr().out == "run,file,what\n"


@pytest.mark.parametrize("value", ["1" * 5000, "[" * 100_000, "nan", ""], ids=["digits", "deep", "nan", "none"])
def test_odd_values_of_where_select_nothing(capsys, store, value):
    run("runs", "--store", str(store), "--where", f"depth={value}", "--format", "json")
    assert json.loads(capsys.readouterr().out) == []


def test_truth_values_are_written_as_where_reads_them(capsys, store):
    run("show", Store(store).runs()[0].id, "--store", str(store), "--what", "config", "--format", "csv")
    assert "bias,true" in capsys.readouterr().out.splitlines()


def test_verify_finds_a_flipped_byte(capsys, store, tmp_path):
    import shutil

    shutil.copytree(store, tmp_path / "copy")
    run("verify", "--store", str(tmp_path / "copy"))
    assert "every byte" in capsys.readouterr().out
    file = next((tmp_path / "copy").glob("*/tensors/*.safetensors"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    run("verify", "--store", str(tmp_path / "copy"), "--format", "json", code=2)
    assert file.name in capsys.readouterr().out


@pytest.fixture
def damaged(store, tmp_path):
    """A copy of the store with one run that does not open, and one whose numbers pages cannot draw."""
    import shutil
    import sqlite3

    copy = tmp_path / "damaged"
    shutil.copytree(store, copy)
    sound, closed = sorted(path for path in copy.iterdir() if path.is_dir())
    shutil.copytree(sound, odd := copy / "edge-0123456789ab")
    (closed / "run.sqlite").write_bytes(b"no database" * 500)
    with sqlite3.connect(odd / "run.sqlite") as connection:
        connection.execute("UPDATE facts SET value = '{}' WHERE key = 'config'")
    return copy, sound.name, closed.name, odd.name


def test_a_page_of_all_runs_names_those_that_are_left_out(capsys, damaged):
    copy, sound, closed, odd = damaged
    run("report", "--store", str(copy), "--out", "page.html")
    words, page = capsys.readouterr().err, Path("page.html").read_text()
    for name in (closed, odd):
        assert words.count(f"warning: run {name} cannot be read and is left out") == 1
        assert f"Run {name} cannot be read and is left out" in page
    assert "1 run: 1 of edge" in page
    assert sound not in words
    run("report", closed, sound, "--store", str(copy), "--out", "two.html", code=2)
    assert f"two.html is written without {closed}" in capsys.readouterr().err
    run("report", sound, "--store", str(copy), "--out", "one.html", "--quiet")
    assert not capsys.readouterr().err


def test_an_export_of_all_runs_names_those_that_are_left_out(capsys, damaged):
    copy, sound, closed, _ = damaged
    run("export", "all.csv", "--store", str(copy))
    assert f"warning: run {closed} cannot be read and is left out" in capsys.readouterr().err
    assert sound in Path("all.csv").read_text()
    run("export", "named.csv", closed, sound, "--store", str(copy), code=2)
    assert closed in capsys.readouterr().err
    assert not Path("named.csv").exists()
    run("runs", "--where", "state=finished", "--store", str(copy))
    assert f"run {closed} cannot be read" in capsys.readouterr().err


def test_delete_needs_a_full_id_and_deletes_only_that(capsys, tmp_path):
    run("edge", *SMALL, "--store", str(tmp_path))
    run("edge", *SMALL, "--store", str(tmp_path), "--depth", "1")
    keep, go = Store(tmp_path).runs()
    run("delete", "--store", str(tmp_path), code=2)
    run("delete", go.id[:8], "--store", str(tmp_path), code=2)
    run("delete", f"../{tmp_path.name}/{go.id}", "--store", str(tmp_path), code=2)
    run("delete", go.id, "--store", str(tmp_path))
    assert [left.id for left in Store(tmp_path).runs()] == [keep.id]


def example(command):
    """The example line in a command's help."""
    (line,) = re.findall(r"Example: (netassay .*)", FUNCTIONS[command].__doc__)
    return shlex.split(line)[1:]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example_that_parses(command):
    parsed, bound, *_ = app.parse_args(example(command), exit_on_error=False, print_error=False)
    assert parsed is FUNCTIONS[command]
    assert bound.arguments, "the example shows no option or argument"


# these take a trained sequence network: tests/studies/aitac runs them
OF_A_NETWORK = {"predict", "interpret", "variants", "attribute", "transfer", "reduce"}


@pytest.mark.parametrize(
    "command",
    sorted(name for name in set(COMMANDS) - {"demo", *OF_A_NETWORK, *STUDIES} if not name.startswith("atlas ")),
)
def test_every_short_example_runs(command, store, tmp_path, capsys):
    import shutil

    shutil.copytree(store, tmp_path / "runs")
    (tmp_path / "plan.toml").write_text(
        'study = "edge"\n[base]\nexamples = 60\nwidth = 4\nsteps = 3\n[axes]\ndepth = [0]\n'
    )
    (tmp_path / "stories.txt").write_text(
        "<|endoftext|>".join(f"Story {i} is of a {i % 3} and a {i % 5} ." for i in range(20))
    )
    name = Store(tmp_path / "runs").runs()[0].id
    words = [re.sub(r"^edge-[0-9a-f]+$", name, word) for word in example(command)]
    run(*words)


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help(command, capsys):
    run(*(command or "").split(), "--help")
    out = capsys.readouterr().out
    assert "Usage: netassay" in out
    if command is not None:
        for name, flag in inspect.signature(FUNCTIONS[command]).parameters.items():
            word = name.replace("_", "-")
            shown = f"--{word}" if flag.kind is inspect.Parameter.KEYWORD_ONLY else word.upper()
            assert shown in out, f"{shown} is not in the help"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["egde"], "Did you mean"),
        (["edge", "--dept", "3"], "--depth"),
        (["edge", "--depth", "99"], "0 to 64"),
        (["edge", "--depth", "two"], "two"),
        (["edge", "--activation", "rleu"], "relu"),
        (["edge", "--step-size", "0"], "step_size = 0.0"),
        (["edge", "--step-size", "nan"], "step_size"),
        (["edge", "--config", "missing.toml"], "missing.toml"),
        (["edge", "--device", "tpu"], "cuda"),
        (["runs", "--where", "depth"], "KEY=VALUE"),
        (["show", "nothing"], "nothing"),
        (["resume", "/nowhere/at-all"], "is not a run"),
        (["sweep", "missing.toml"], "missing.toml"),
        (["report", "nothing"], "nothing"),
        (["explain", "egde"], "did you mean 'edge'"),
        (["export", "x.doc", "--store", "."], "x.doc"),
        (["edge", "--store", ""], '"" is not a folder'),
        (["runs", "--store="], '"" is not a folder'),
    ],
)
def test_bad_input_is_reported_in_one_message_and_code_2(words, says, capsys):
    run(*words, code=2)
    said = capsys.readouterr()
    assert said.err.startswith("netassay: ")
    assert says in said.err
    assert "Traceback" not in said.err
    assert said.out == ""


def test_a_store_that_cannot_be_written_is_reported(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    run("edge", *SMALL, "--store", "file", code=2)
    assert "file" in capsys.readouterr().err


def test_a_locked_run_is_reported(capsys, tmp_path):
    config = ["edge", *SMALL, "--store", str(tmp_path)]
    from netassay.studies.edge.config import EdgeConfig

    chosen = EdgeConfig(examples=60, width=4, steps=6, curvature_every=3)
    held = Run.create(tmp_path, study="edge", config=chosen.mapping(), digest=chosen.digest)
    with held.writer({}) as writer:
        run(*config, code=2)
        assert "being written by process" in capsys.readouterr().err
        writer.finish(State.FAILED, step=0, message="made for a test")


def test_a_failed_run_is_code_1(capsys, tmp_path, monkeypatch):
    import netassay.studies.edge.assay as assay

    def fail(*args, **keywords):
        raise RuntimeError("made for a test")

    monkeypatch.setattr(assay, "build", fail)
    run("edge", *SMALL, code=1)
    assert "RuntimeError: made for a test" in capsys.readouterr().err


def test_a_run_of_a_machine_with_a_gpu_is_left_as_it_is_where_there_is_none(capsys, tmp_path):
    import torch

    from netassay.studies.edge.config import EdgeConfig

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    chosen = EdgeConfig(examples=60, width=4, steps=6, curvature_every=3, device="cuda")
    made = Run.create(tmp_path, study="edge", config=chosen.mapping(), digest=chosen.digest)
    before = made.state
    run("resume", made.id, "--store", str(tmp_path), code=2)
    assert "no usable GPU" in capsys.readouterr().err
    assert made.state == before


def test_what_the_disk_refuses_names_the_run_once(capsys, tmp_path, monkeypatch):
    import netassay.studies.edge.assay as assay
    from netassay.errors import RunFailed

    def refuse(config, writer, **keywords):
        raise RunFailed(f"run {writer.folder.name}: commit failed (disk full); free space")

    monkeypatch.setattr(assay, "assay", refuse)
    run("edge", *SMALL, "--store", str(tmp_path), code=1)
    said = capsys.readouterr().err
    assert said.count("run edge-") == 1
    assert "commit failed (disk full)" in said


def test_a_reader_that_goes_away_is_no_error(store):
    line = f"{sys.executable} -m netassay show --what metrics --format csv {Store(store).runs()[0].folder} | head -n 1"
    done = subprocess.run(line, shell=True, capture_output=True, text=True)  # noqa: S602
    assert done.stdout == "step,name,part,value\n"
    assert done.stderr == ""


def test_the_answer_alone_is_on_standard_output(store, tmp_path):
    words = [sys.executable, "-m", "netassay", "edge", *SMALL, "--format", "json", "--store", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0
    json.loads(done.stdout)


def test_every_command_is_in_the_table_of_commands():
    listed = {}
    for module, names in GROUPS.values():
        listed.setdefault(module, set()).update(names)
    for module, names in listed.items():
        assert {command.name for command in import_module(f"netassay.cli.{module}").COMMANDS} == names
