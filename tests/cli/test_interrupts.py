"""Ctrl-C at any moment of a command's first second: one line at most, exit code 130, no traceback."""

import os
import signal
import subprocess
import sys
import time

import pytest

from netassay.cli import _is_importing, main

COMMANDS = (
    ("--help",),
    ("runs",),
    ("entropy", "topics"),
    ("edge", "--examples", "60", "--width", "4", "--steps", "1000000"),
    ("sweep", "edge:demo"),
    ("injectivity", "topics"),
)

# a byte tells the moment from which on it is netassay that answers, and not Python's own start
TELLING = """
import os, sys
from netassay import cli

class Telling(cli.Interrupts):
    def __enter__(self):
        super().__enter__()
        os.write(1, b".")
        return self

cli.Interrupts = Telling
sys.exit(cli.main())
"""


def stopped_after(seconds, words):
    """Exit code and standard error of a command that is sent Ctrl-C so long after its own code began."""
    process = subprocess.Popen(
        [sys.executable, "-c", TELLING, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    os.read(process.stdout.fileno(), 1)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors.decode()


def is_quiet(code, errors, words):
    ended_before = code == 0 or (words == ("runs",) and code == 2)
    return "Traceback" not in errors and "Exception ignored" not in errors and (code == 130 or ended_before)


@pytest.mark.parametrize("words", [("runs",), ("edge", "--steps", "1000000")])
def test_no_traceback_at_once_and_within_imports(words):
    for seconds in (0.002, 0.3):
        code, errors = stopped_after(seconds, words)
        assert is_quiet(code, errors, words), (seconds, code, errors)


LATE = """
import os, signal, sys
from netassay import cli

class Late:
    def __del__(self, kill=os.kill, process=os.getpid(), number=signal.SIGINT):
        kill(process, number)

late = Late()
sys.exit(cli.main())
"""


@pytest.mark.parametrize(("words", "code"), [(("--help",), 0), (("runs", "--store", "nowhere"), 2)])
def test_a_ctrl_c_while_python_ends_leaves_the_answer(words, code):
    process = subprocess.Popen(
        [sys.executable, "-c", LATE, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.wait(120) == code


@pytest.mark.slow
@pytest.mark.parametrize("words", COMMANDS)
def test_no_traceback_at_any_moment_of_the_first_second(words):
    for step in range(1, 21):
        code, errors = stopped_after(step * 0.05, words)
        assert is_quiet(code, errors, words), (step, code, errors)


def test_what_comes_of_a_ctrl_c_is_no_error_of_its_own(monkeypatch, capsys):
    def broken_off(*words, **more):
        # as a library may answer an interrupt inside it
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise RuntimeError("initialisation failed") from None

    monkeypatch.setattr("netassay.cli.app.build", lambda word: broken_off)
    before = signal.getsignal(signal.SIGINT)
    assert main(["runs"]) == 130
    assert capsys.readouterr().err == "netassay: stopped\n"
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_without_a_ctrl_c_stays_one(monkeypatch):
    def broken(*words, **more):
        raise RuntimeError("a mistake")

    monkeypatch.setattr("netassay.cli.app.build", lambda word: broken)
    with pytest.raises(RuntimeError, match="a mistake"):
        main(["runs"])


def test_a_ctrl_c_that_a_finaliser_swallowed_comes_again():
    code = """
import sys, time
from netassay.cli import hear_again

class Swallowing:
    def __del__(self):
        raise KeyboardInterrupt

sys.unraisablehook = hear_again
try:
    Swallowing()
    time.sleep(30)
except KeyboardInterrupt:
    print("heard")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("heard\n", "")


def test_the_stack_says_whether_an_import_is_under_way():
    assert not _is_importing(sys._getframe())
