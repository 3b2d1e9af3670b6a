"""Memory of this process; child processes: heard, asked, explained, and gone with their parent."""

import os
import resource
import signal
import subprocess
import sys
import threading

import pytest
import torch

from netassay import processes
from netassay.numerics import devices
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


def test_free_memory_is_within_what_a_container_allows(tmp_path, monkeypatch):
    for name, text in (
        ("max", "1000\n"),
        ("current", "700\n"),
        ("stat", "anon 5\ninactive_file 150\nfile 9\n"),
    ):
        (tmp_path / f"memory.{name}").write_text(text)
    assert processes._allowed_by_container(tmp_path) == 450
    (tmp_path / "memory.current").write_text("1200\n")
    assert processes._allowed_by_container(tmp_path) == 0
    (tmp_path / "memory.max").write_text("max\n")
    with pytest.raises(ValueError, match="max"):
        processes._allowed_by_container(tmp_path)
    monkeypatch.setattr(processes, "_allowed_by_container", lambda folder: 17)
    assert processes.free_bytes() == 17
    assert devices.free_memory(torch.device("cpu")) == 17


def test_the_peak_is_that_of_this_process():
    before = processes.peak_bytes()
    block = bytearray(before)  # as much again, and touched
    block[::4096] = b"1" * len(block[::4096])
    assert 1.5 * before < processes.peak_bytes() <= processes.machine_bytes()
    assert processes.peak_bytes() <= 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + 2**20
