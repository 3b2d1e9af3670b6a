"""Child processes: heard, asked, explained, and gone with their parent."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from netassay.processes import Child, cores, stop_signals

ECHO = """
import sys, os
from netassay.processes import when_parent_ends
print("ready", sys.argv[1], flush=True)
line = sys.stdin.buffer.raw.readline().decode().strip()
if line == "fail":
    print("no such thing", file=sys.stderr)
    sys.exit(2)
if line == "wait":
    when_parent_ends(lambda: os._exit(7))
    import time; time.sleep(60)
"""


@pytest.fixture
def child(tmp_path, monkeypatch):
    (tmp_path / "echo_child.py").write_text(ECHO)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    made = Child("echo_child", ["3"], heard=True)
    yield made
    made.close()


def test_a_child_is_heard_and_its_last_words_are_kept(child):
    assert child.hear() == "ready 3\n"
    assert child.exit_code() is None
    child.tell("fail")
    assert child.wait()
    assert (child.exit_code(), child.killed_by(), child.last_words()) == (2, "", "no such thing")
    assert child.hear() == ""


def test_a_child_is_asked_once_and_the_signal_is_named(child):
    assert child.hear()
    assert not child.wait(0.0)
    child.stop()
    child.stop()
    assert child.wait()
    assert child.killed_by() == "SIGTERM"


def test_a_child_ends_with_its_parent(child):
    child.hear()
    child.tell("wait")
    child._process.stdin.close()
    assert child.wait()
    assert child.exit_code() == 7


SIGNALS = """
import os, signal, sys
from netassay.processes import stop_signals
asked = []
try:
    with stop_signals(lambda: asked.append(1), patient=sys.argv[1] == "patient") as received:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("left")
print(len(asked), received == [signal.SIGINT] * len(asked))
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


@pytest.mark.parametrize(("kind", "told"), [("once", ["left", "1 True", "True"]), ("patient", ["2 True", "True"])])
def test_a_second_signal_goes_to_the_handler_that_was_there_before(kind, told):
    done = subprocess.run([sys.executable, "-c", SIGNALS, kind], capture_output=True, text=True)
    assert done.stdout.splitlines() == told, done.stderr


def test_other_threads_hear_no_signals():
    handler, received = signal.getsignal(signal.SIGINT), []

    def within():
        with stop_signals() as signals:
            received.append((signals, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=within)
    thread.start()
    thread.join()
    assert received == [([], handler)]


def test_cores_are_those_of_this_process():
    assert cores() == len(os.sched_getaffinity(0))


def test_a_closed_terminal_asks_for_a_checkpoint_as_a_stop_does():
    from netassay.processes import stop_signals

    asked = []
    with stop_signals(lambda: asked.append(True)) as received:
        os.kill(os.getpid(), signal.SIGHUP)
    assert (received, asked) == ([signal.SIGHUP], [True])
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals() as received:  # nohup
            os.kill(os.getpid(), signal.SIGHUP)
        assert received == []
    finally:
        signal.signal(signal.SIGHUP, before)
