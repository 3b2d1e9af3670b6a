"""One form of options in all commands; completion; answers as their schema says."""

import inspect
import json
import math
import os
import shlex
import shutil
from pathlib import Path

import jsonschema
import pytest
from toy_atlas import make_toy

from netassay import Atlas, study
from netassay.cli import main, output
from netassay.cli.app import build, commands
from netassay.commands import demo
from netassay.errors import ConfigError
from netassay.formats.bases import decode
from netassay.processes import of_threads
from netassay.runs import Run
from netassay.study import command

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


def test_every_command_that_runs_a_network_has_a_device():
    runs_a_network = {"predict", "variants", "attribute", "reduce", "transfer", "interpret", *study.builtin()}
    runs_a_network.remove("capacity")  # float64 on the CPU, as its theorems are about exact sums
    assert {name for name, flags in COMMANDS.items() if "device" in flags} == runs_a_network


def test_every_command_has_a_schema():
    assert {*COMMANDS} <= SCHEMA["properties"].keys()
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_numbers_that_are_not_finite_are_the_words_of_the_schema(capsys):
    output.answer({"a": math.nan, "b": math.inf, "c": -math.inf}, "json")
    words = json.loads(capsys.readouterr().out).values()
    assert {*words} == {*SCHEMA["$defs"]["number"]["anyOf"][1]["enum"]}


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
    """A folder with all that the commands read: runs of an earlier version, their data, and a toy's files."""
    folder = tmp_path_factory.mktemp("answers")
    for name in ("atlas", "corpus.txt", "model"):
        source = WRITTEN.parent / name
        shutil.copytree(source, folder / name) if source.is_dir() else shutil.copy(source, folder / name)
    shutil.copytree(WRITTEN, folder / "runs")
    shutil.copytree(WRITTEN, folder / "demo" / "runs")
    (folder / "s.txt").write_text("the cat sat\nthe dog sat\n")
    (folder / "toy").mkdir()
    make_toy(folder / "toy")
    pairs = json.loads(config_of("aitac-transfer")["cell_types"])
    (folder / "pairs.csv").write_text("".join(f"{a},{b}\n" for a, b in pairs))
    write_sequences(folder)
    return folder


def write_sequences(folder):
    atlas = Atlas.open(folder / "atlas")
    first, second = (decode(row.numpy()) for row in atlas.codes[:2])
    (folder / "one.fa").write_text(f">one\n{first}\n>two\n{second}\n")
    (folder / "g.fa").write_text(f">chr1\n{first}{second}\n")
    alternative = "A" if first[40] != "A" else "C"
    header = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    (folder / "v.vcf").write_text(f"{header}chr1\t41\trs1\t{first[40]}\t{alternative}\t.\tPASS\t.\n")


def run_of(study):
    return Run.open(min(WRITTEN.glob(f"{study}-????????????")))


def config_of(study):
    return run_of(study).config


def again(study):
    """The command of a run that is finished already."""
    return command(run_of(study)).removeprefix("netassay ")


RUN, AITAC = run_of("edge").id, config_of("aitac-interpret")["run"]
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
    "watch": "watch runs --once",
    "figure": f"figure {RUN} edge-loss --out f.svg",
    "report": f"report {RUN} --out r.html",
    "export": "export m.csv",
    "tag": f"tag {RUN} good",
    "resume": f"resume {RUN}",
    "aitac": again("aitac"),
    "capacity": again("capacity"),
    "edge-stepsize": again("edge-stepsize"),
    "interpret": again("aitac-interpret"),
    "transfer": f"transfer {AITAC} --atlas atlas --cell-types pairs.csv --influence-peaks 20 --permutations 3",
    "memorisation": "memorisation --model model --corpus corpus.txt --tokenizer wordpunct --document line --store new",
    "reduce": f"reduce {AITAC} --filters 1,2 --epochs 1",
    "predict": f"predict {AITAC} --fasta one.fa --out predictions.tsv",
    "variants": f"variants {AITAC} --vcf v.vcf --genome g.fa --null 5 --out effects.tsv",
    "attribute": f"attribute {AITAC} --cell-type B.late.1 --fasta one.fa --out contributions",
    "sweep": "sweep edge:demo --store new --dry-run",
    "demo": "demo --out demo",
    "atlas background": "atlas background --peaks toy/peaks.bed --genome toy/genome.fa --out background.bed",
    "atlas build": "atlas build --peaks toy/peaks.bed --heights toy/heights.csv --genome toy/genome.fa --out built",
    "atlas simulate": "atlas simulate --peaks 40 --length 80 --cells 20 --depth 2000 --out simulated",
    "atlas ceiling": "atlas ceiling atlas --replicate atlas",
    "atlas export": "atlas export atlas s.h5ad",
    "atlas consensus": "atlas consensus toy/peaks.bed --out consensus.bed",
    "atlas reads": "atlas reads --peaks 20 --cells 4 --depth 100 --out reads",
    "delete": f"delete {RUN}",
}
EXTRAS = {"atlas export": "anndata"}


def test_every_command_answers_here():
    assert ANSWERS.keys() == SCHEMA["properties"].keys()


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_are_as_the_schema_says(name, workshop, monkeypatch, capsys):
    if name in EXTRAS:
        pytest.importorskip(EXTRAS[name], reason=f"the extra {EXTRAS[name]} is not installed")
    monkeypatch.chdir(workshop)
    monkeypatch.setattr(demo, "sweep_all", lambda plans, store, **options: [])  # its runs are those of other commands
    monkeypatch.setattr(demo, "report", lambda runs, out, **options: out)
    assert main([*shlex.split(ANSWERS[name]), "--format", "json"]) == 0
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
