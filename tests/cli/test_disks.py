"""Stores on a full and on a read-only disk: one sentence, nothing half-written, and the same command goes on later."""

import contextlib
import os
import re
import subprocess
import sys

import pytest

import netassay
from netassay.cli import main
from netassay.runs import Run, State, Store

TINY = ["--examples", "60", "--width", "4", "--depth", "1", "--steps", "2", "--threads", "1", "--quiet"]
CONFIG = netassay.EdgeConfig(examples=60, width=4, depth=1, steps=2)


@pytest.fixture
def disk(tmp_path):
    """A disk of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no disk of its own size can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk):
    """Takes all the room that is left, and gives the file that holds it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    return filler


def refused(words, capsys, code=2):
    assert main(words) == code
    printed = capsys.readouterr().err
    assert any(line.startswith("netassay: ") for line in printed.splitlines())
    assert "Traceback" not in printed
    return printed


def is_full(words):
    """Whether a refusal says that the disk is full and what to do, in the system's words or SQLite's."""
    return re.search(r"No space left|disk is full", words) and re.search(r"free (some )?space", words, re.IGNORECASE)


def test_a_store_on_a_full_disk(disk, capsys):
    store = disk / "store"
    filler = fill(disk)
    assert is_full(refused(["edge", *TINY, "--store", str(store)], capsys))
    assert not store.exists() or Store(store).runs() == []
    filler.unlink()
    assert main(["edge", *TINY, "--store", str(store)]) == 0
    (run,) = Store(store).runs()
    filler = fill(disk)
    assert is_full(refused(["tag", run.id, "a", "--store", str(store)], capsys))
    assert Store(store).table()["id"].to_list() == [run.id]
    assert main(["delete", run.id, "--store", str(store)]) == 0  # which is how room is made
    assert Store(store).runs() == []


def test_a_disk_that_fills_up_during_a_run(disk, capsys):
    store = disk / "store"
    fill(disk).unlink()
    (disk / "filler").write_bytes(b"\0" * 850_000)
    longer = [*(word if word != "2" else "500" for word in TINY), "--curvature-every", "50"]
    refused(["edge", *longer, "--store", str(store)], capsys, code=1)
    (run,) = Store(store).runs()
    assert run.state in (State.FAILED, State.KILLED)
    assert run.verify() == []
    (disk / "filler").unlink()
    assert main(["resume", run.id, "--threads", "1", "--quiet", "--store", str(store)]) == 0
    assert Run.open(run.folder).state is State.FINISHED


@pytest.mark.slow
def test_a_sweep_on_a_full_disk_goes_on_once_there_is_room(disk, tmp_path, capsys):
    plan = tmp_path / "plan.json"
    plan.write_text(
        '{"study": "edge", "base": {"examples": 60, "width": 4, "steps": 2, "layers": false}, "repeats": 3}'
    )
    words = ["sweep", str(plan), "--store", str(disk / "store"), "--workers", "1", "--quiet"]
    filler = fill(disk)
    assert is_full(refused(words, capsys))
    filler.unlink()
    assert main(words) == 0
    assert {run.state for run in Store(disk / "store").runs()} == {State.FINISHED}


def test_a_store_on_a_read_only_disk(disk, tmp_path, capsys):
    store = disk / "store"
    run = netassay.perform(CONFIG, store, threads=1)
    Store(store).tag(run, ["kept"])
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for words in (
        ["runs"],
        ["show", "kept"],
        ["verify"],
        ["export", str(tmp_path / "a.csv")],
        ["delete", "--where", "tag=kept"],
    ):
        assert main([*words, "--store", str(store)]) == 0, words
    capsys.readouterr()
    for words in (
        ["edge", *TINY, "--seed", "1"],
        ["tag", run.id, "other"],
        ["delete", run.id],
        ["delete", "--where", "tag=kept", "--yes"],
    ):
        printed = refused([*words, "--store", str(store)], capsys)
        assert "ead-only" in printed, printed
    assert main(["edge", *TINY, "--store", str(store)]) == 0  # it is done already
    assert Store(store).verify() == []


def test_one_run_in_two_stores_counts_once_or_is_refused(tmp_path, capsys):
    for store in ("a", "b"):
        netassay.perform(CONFIG, tmp_path / store, threads=1)
    (run,), (copy,) = (Store(tmp_path / store).runs() for store in ("a", "b"))
    once, twice = tmp_path / "once.csv", tmp_path / "twice.csv"
    assert main(["export", str(once), str(run.folder)]) == 0
    assert main(["export", str(twice), str(run.folder), str(run.folder)]) == 0
    assert once.read_bytes() == twice.read_bytes()
    for words in (["export", str(tmp_path / "c.csv")], ["report", "--out", str(tmp_path / "c.html")]):
        printed = refused([*words, str(run.folder), str(copy.folder)], capsys)
        assert f"run {run.id} is given twice, from {tmp_path / 'a'} and {tmp_path / 'b'}" in printed
    assert main(["show", run.id, "--store", str(tmp_path / "b")]) == 0
    assert str(copy.folder) in capsys.readouterr().out


@pytest.mark.parametrize("words", [["sweep"], ["sweep", "--dry-run"], ["watch", "--once"]])
def test_a_plan_of_a_million_runs_is_counted_and_not_made(tmp_path, words):
    plan = tmp_path / "plan.toml"
    plan.write_text('study = "edge"\nrepeats = 1000000\n')
    code = """
import sys
from netassay.cli import main
from netassay.processes import peak_bytes

code = main()
print(peak_bytes())
sys.exit(code)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run([*command, *words, str(plan)], capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 2
    assert "1,000,000 runs; add --yes" in done.stderr
    assert int(done.stdout) < 200_000_000


@pytest.mark.parametrize(
    "words",
    [
        "entropy absent.txt --lengths 1,2 --page {}.html",
        "injectivity absent.txt --page {}.html",
        "construct absent.txt --save {}",
        "predict aitac-absent --fasta absent.fa --out {}.csv",
        "variants aitac-absent --vcf absent.vcf --genome absent.fa --out {}.csv",
        "attribute aitac-absent --cell-type B --fasta absent.fa --out {}",
        "atlas build --peaks absent.bed --heights absent.csv --genome absent.fa --out {}",
        "atlas consensus absent.bed --out {}.bed",
        "atlas background --peaks absent.bed --genome absent.fa --out {}.bed",
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_any_input_is_read(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert "cannot be written, since file is a file" in refused(words.format("file/new").split(), capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_name_that_no_bigwig_can_have_is_refused_before_the_work(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["attribute", "aitac-absent", "--cell-type", "B", "--bed", "absent.bed", "--genome", "absent.fa", "--out"]
    assert "contributions.bw: the name is not UTF-8" in refused([*words, os.fsdecode(b"\xff")], capsys)
    assert not list(tmp_path.iterdir())


def test_a_page_that_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("netassay.capacity.rank.ranks", None)
    assert "since file is a file" in refused(["rank", "tanh", "--page", "file/new.html"], capsys)
    Store(tmp_path / "runs").folder.mkdir()
    monkeypatch.setattr("netassay.reporting.write_page", None)
    assert "since file is a file" in refused(["report", "--out", "file/new.html"], capsys)
