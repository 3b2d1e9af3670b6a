"""Stores that a stranger wrote: one line that names the run, the other runs listed, nothing endless, no escapes."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hostile_stores import HOSTILE

from netassay.cli import main
from netassay.runs import Store

BASELINE = next((Path(__file__).parents[1] / "baseline").glob("*/finished"))
SECONDS_OF_WORK, SECONDS_OF_WAITING = 60, 600
ASKED = (
    ["show", "RUN"],
    *(["show", "RUN", "--what", what] for what in ("config", "metrics", "tables", "events")),
    ["show", "RUN", "--what", "metrics", "--format", "json"],
    ["verify", "RUN"],
    ["export", "one.csv", "RUN"],
)
OF_ALL = (["runs"], ["runs", "--where", "state=finished"], ["verify"], ["export", "all.csv"])
SLOW = (
    ["report", "--out", "all.html"],
    ["report", "RUN", "--out", "one.html"],
    ["resume", "RUN"],
    ["delete", "RUN"],
)


@pytest.fixture
def sound(tmp_path):
    """A store, and the ids in it: of a run to be damaged, and of another."""
    ids = [min(path.name for path in BASELINE.glob(f"{study}-{'[0-9a-f]' * 12}")) for study in ("edge", "capacity")]
    for name in ids:
        shutil.copytree(BASELINE / name, tmp_path / "store" / name)
    return tmp_path / "store", *ids


@pytest.fixture(params=HOSTILE)
def hostile(request, sound):
    store, run, other = sound
    HOSTILE[request.param](store / run)
    return store, run, other


@pytest.fixture(autouse=True)
def _an_end():
    def stop(number, frame):
        raise AssertionError("it does not end")

    before = {number: signal.signal(number, stop) for number in (signal.SIGALRM, signal.SIGPROF)}
    signal.setitimer(signal.ITIMER_PROF, SECONDS_OF_WORK)
    signal.alarm(SECONDS_OF_WAITING)  # a pipe is waited for without any work
    yield
    signal.alarm(0)
    signal.setitimer(signal.ITIMER_PROF, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


def attempt(command, store, run, capsys):
    """The exit code and the words of a command; what it raises, which the user would see as a traceback, fails."""
    code = main([*(run if word == "RUN" else word for word in command), "--store", str(store)])
    said = capsys.readouterr()
    assert code in (0, 2), command
    assert not {"\x1b", "\x9b", "\x07"} & set(said.out + said.err), command
    if code == 2 and command[0] != "verify":
        assert run in said.err, command
        assert len(said.err) < 1500, command
    return code, said


def test_every_command_names_the_run_and_goes_on_with_the_others(hostile, capsys):
    store, run, other = hostile
    for command in ASKED:
        attempt(command, store, run, capsys)
    for command in OF_ALL:
        code, said = attempt(command, store, run, capsys)
        assert command[0] == "verify" or code == 0
        assert command[0] in ("verify", "export") or other in said.out
    assert other in [row["id"] for row in Store(store).table().to_dicts() if row["state"] == "finished"]


@pytest.mark.slow
def test_every_command_that_draws_or_writes(hostile, capsys):
    store, run, _ = hostile
    for command in SLOW:
        attempt(command, store, run, capsys)


@pytest.mark.parametrize("damage", ["config of another run", "config without keys"])
def test_a_config_that_is_not_that_of_its_digest_is_damage(sound, damage, capsys):
    store, run, _ = sound
    HOSTILE[damage](store / run)
    assert main(["resume", run, "--store", str(store)]) == 2
    said = capsys.readouterr().err
    assert run in said and "not the one that its digest was made of" in said


def test_no_file_outside_the_run_is_opened(sound, monkeypatch):
    store, run, _ = sound
    HOSTILE["table of the system"](store / run)
    opened, real = [], os.open

    def note(path, *words, **more):
        opened.append(str(path))
        return real(path, *words, **more)

    monkeypatch.setattr(os, "open", note)
    assert main(["verify", "--store", str(store)]) == 2
    assert main(["show", run, "--what", "tables", "--store", str(store)]) == 2
    assert not [path for path in opened if "hostname" in path]


def test_standard_output_that_is_full_or_closed_is_one_sentence(sound):
    store, *_ = sound
    line = [sys.executable, "-m", "netassay", "runs", "--store", str(store)]
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr.strip()) == (2, "netassay: No space left on device")
    done = subprocess.run(["sh", "-c", f"{shlex.join(line)} >&-"], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "standard output is closed" in done.stderr
