"""Bad files, paths and numbers: a few in every run of the tests, a sample of all in the slow suite."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from bad_inputs import BAD, COMMANDS, WORDS
from fuzzing import PLAN

from netassay.cli import main
from netassay.performing import _refusal

SCRIPT = Path(__file__).parents[1] / "bad_inputs.py"
SMALL = [name for name, put in BAD.items() if name not in ("bomb", "deep", "digits", "line", "lines", "sparse")]


def names():
    return sorted(path.name for path in Path().iterdir() if path.name != "runs")


@pytest.mark.parametrize(
    ("command", "sound"),
    [
        ("entropy corpus.jsonl", '{"text": "the cat"}\n{"text": "a dog"}\n'),
        ("check plan.toml", PLAN),
        ("sweep plan.toml --dry-run", PLAN),
    ],
)
def test_whatever_is_in_place_of_a_file_one_sentence_refuses_it(command, sound, tmp_path, capfd, monkeypatch):
    for name in SMALL:
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        words = [*command.split(), "--quiet"]  # no progress on a slow machine
        file = Path(words[1])
        if BAD[name] is None:
            words[1] = WORDS[name](words[1])
        else:
            file.write_text(sound)
            BAD[name](file, folder)
        before = names()
        code = main(words)
        said = capfd.readouterr().err
        assert code in (0, 2), (name, said)
        assert len(said) < 2500 and "Traceback" not in said, name
        if code:
            assert said.startswith("netassay: "), name
            assert names() == before


@pytest.mark.parametrize(
    "greedy", [lambda: torch.empty(1 << 62), lambda: np.zeros(1 << 62), lambda: np.zeros((1 << 40, 1 << 40))]
)
def test_more_memory_than_there_is_is_one_sentence(greedy, capsys, monkeypatch):
    monkeypatch.setattr("netassay.cli._answer", lambda words, interrupts: greedy())
    assert main(["rank"]) == 2
    assert capsys.readouterr().err == "netassay: there is not enough memory; lower --memory or use less data\n"


def test_an_empty_name_of_a_file_is_refused(tmp_path, capsys):
    Path("peaks.bed").write_text("chr1\t100\t160\n")
    for genome, words in (("", '"" is not the name of a file or folder'), (".", ".: ")):
        assert main(["atlas", "background", "--peaks", "peaks.bed", "--genome", genome, "--out", "x.bed"]) == 2
        assert words in capsys.readouterr().err


def tried(tmp_path, *words):
    """Exit codes of the cases that the script tries, none of them wrong."""
    results = tmp_path / "results.jsonl"
    done = subprocess.run([sys.executable, SCRIPT, results, *words], capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return [json.loads(line)["code"] for line in results.read_text().splitlines()]


@pytest.mark.slow
def test_a_sample_of_all_bad_inputs(tmp_path):
    codes = tried(tmp_path, "--sample", "500", "--seed", "4")
    assert len(codes) == 500 and codes.count(2) > 300


@pytest.mark.slow
def test_each_command_of_the_bad_inputs_works_where_nothing_is_bad(tmp_path):
    codes = tried(tmp_path, "--only", "#  # nothing$")
    assert codes == [0] * len(COMMANDS)


@pytest.mark.parametrize(
    "words",
    [
        ("capacity", "--corpus", "n" * 300),
        ("memorisation", "untrained", "--corpus", "n" * 300, "--tokenizer", "whitespace"),
        ("memorisation", "n" * 300, "--corpus", "corpus.txt"),
    ],
)
def test_a_name_too_long_for_the_system_is_refused_and_leaves_no_run(words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("corpus.txt").write_text("the cat\n")
    assert main([*words, "--store", "store", "--quiet"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("netassay: nnn") and said.endswith("cannot be read: File name too long\n")
    assert not [path for path in Path("store").iterdir() if path.is_dir()]


def odd(path):
    """The file under a name that is not UTF-8."""
    return path.rename(path.with_name(os.fsdecode(b"\xff\xfe") + path.name))


def test_names_that_are_not_utf_8(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.bed", "b.bed"):
        Path(name).write_text("chr1\t100\t160\n")
    assert main(["atlas", "consensus", str(odd(Path("a.bed"))), "b.bed", "--width", "51", "--out", "c.bed"]) == 0
    pl.DataFrame({"text": ["the cat", "a dog"]}).write_parquet("corpus.parquet")
    capsys.readouterr()
    assert main(["entropy", str(odd(Path("corpus.parquet"))), "--format", "json"]) == 2
    assert capsys.readouterr().err == (
        "netassay: \\udcff\\udcfecorpus.parquet: the name is not UTF-8, and files of this form are read by UTF-8 names "
        "alone; rename it\n"
    )


def test_only_what_lies_outside_a_run_makes_a_refusal_of_it(tmp_path):
    inside, outside = tmp_path / "edge-1" / "tables" / "x", tmp_path / "corpus.txt"
    missing = [FileNotFoundError(errno.ENOENT, "No such file or directory", str(path)) for path in (inside, outside)]
    assert _refusal(missing[0], tmp_path / "edge-1") is None
    assert str(_refusal(missing[1], tmp_path / "edge-1")) == f"{outside}: cannot be read: No such file or directory"
    assert _refusal(OSError(errno.ENOSPC, "No space left on device", str(outside)), tmp_path / "edge-1") is None
