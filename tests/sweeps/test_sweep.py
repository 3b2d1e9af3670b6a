"""Sweeps of real child processes: done, failed, interrupted, killed, and gone on with."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from netassay import performing
from netassay.errors import Interrupted, StoreError
from netassay.runs import Run, State, Store
from netassay.sweeps import Plan, outlook, sweep
from netassay.sweeps.drive import lay_out
from netassay.sweeps.local import PATIENCE, LocalProcesses

BASE = {"examples": 60, "width": 4, "steps": 6, "curvature_every": 3, "layers": False}


def plan(**axes):
    return Plan(study="edge", base=BASE, axes=axes)


def test_runs_every_run_in_processes_and_the_second_time_none(tmp_path):
    chosen = plan(depth=[1, 2])
    seen = []
    done = sweep(chosen, tmp_path, workers=2, watch=seen.append)
    assert [run.state for run in done.runs] == [State.FINISHED] * 2
    assert done.failed == {}
    assert [row["depth"] for row in done.rows()] == [1, 2]
    assert (seen[0].done, seen[-1].done, seen[-1].total, seen[-1].running) == (0, 2, 2, ())
    assert seen[-1].seconds_left == 0

    def never(folders, begun, ended):
        assert not folders

    sweep(chosen, tmp_path, execute=never)


def test_a_failed_run_is_reported_with_its_cause_while_the_others_go_on(tmp_path):
    done = sweep(Plan(study="edge", base=BASE, cases=[{"device": "cuda:7"}, {}]), tmp_path, workers=1)
    # where there is no such GPU the run is left for a machine that has one
    assert [run.state for run in done.runs] == [State.PLANNED, State.FINISHED]
    ((run, cause),) = done.failed.items()
    assert run == done.runs[0].id
    assert "cuda:7" in cause
    assert "Traceback" not in cause


def test_a_run_that_kills_its_workers_is_reported_and_the_sweep_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(_python_that_kills_itself(tmp_path, times=PATIENCE)))
    done = sweep(plan(depth=[1, 2]), tmp_path / "store", workers=1)
    monkeypatch.undo()
    assert list(done.failed) == [done.runs[0].id]
    assert f"SIGKILL; its last checkpoint is kept, {PATIENCE} times at step 0" in done.failed[done.runs[0].id]
    assert done.runs[1].state is State.FINISHED


def _holder(run):
    """The process that wrote a run last."""
    return json.loads((run.folder / "lock").read_text())["pid"]


def test_a_worker_performs_many_runs_until_its_memory_has_grown(tmp_path):
    enough = LocalProcesses(1, 1)
    first, second = sweep(plan(depth=[1, 2]), tmp_path, execute=enough).runs
    assert _holder(first) == _holder(second)
    grown = LocalProcesses(1, 1, growth=-(1 << 40))
    third, fourth = sweep(plan(depth=[3, 4]), tmp_path, execute=grown).runs
    assert _holder(third) != _holder(fourth)


def test_a_run_that_another_process_performs_is_waited_for(tmp_path):
    chosen = plan(depth=[1, 2])
    runs = lay_out(chosen, tmp_path).runs
    writer, turns = runs[0].writer({}), []

    def let_go(progress):
        turns.append(progress.done)
        if progress.done == 1:
            writer.close()

    done = sweep(chosen, tmp_path, workers=2, watch=let_go)
    assert done.failed == {}
    assert [run.state for run in done.runs] == [State.FINISHED] * 2
    assert turns[-1] == 2


def test_two_sweeps_of_one_plan_both_end_with_all_done(tmp_path):
    (tmp_path / "plan.json").write_text(plan(depth=[1, 2, 3]).model_dump_json())
    words = [sys.executable, "-m", "netassay", "sweep", "plan.json", "--store", "runs", "--workers", "1"]
    sweeps = [
        subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in sweeps:
        out, err = process.communicate()
        assert process.returncode == 0, err
        assert out.count("finished") == 3
    for run in Store(tmp_path / "runs").runs():
        assert run.events()["what"].to_list() == ["started", "finished"]


def test_a_run_killed_before_its_tables_is_not_finished(tmp_path, monkeypatch):
    chosen = plan(depth=[1])
    (config,) = chosen.configs()
    if not (victim := os.fork()):
        monkeypatch.setattr(performing, "_keep_tables", lambda run, writer: os.kill(os.getpid(), signal.SIGKILL))
        performing.perform(config, tmp_path, threads=1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(victim, 0)[1]) == -signal.SIGKILL
    assert [str(run.state) for run in Store(tmp_path).runs()] == ["killed"]
    assert "0 done, 1 left" in outlook(chosen, tmp_path).in_words()
    (run,) = sweep(chosen, tmp_path).runs
    whole = performing.perform(config, tmp_path / "whole", threads=1)
    assert run.tables() == whole.tables() == ("metrics", "phases")
    assert run.table("metrics").equals(whole.table("metrics"))


def test_a_run_that_an_earlier_version_left_without_tables_is_completed(tmp_path):
    chosen = plan(depth=[1])
    (config,) = chosen.configs()
    run = performing.perform(config, tmp_path, threads=1)
    with run.writer({}) as writer:
        writer.remove_table("metrics")
    ahead = outlook(chosen, tmp_path)
    assert "0 done, 1 left" in ahead.in_words()
    assert [row["state"] for row in ahead.rows] == ["killed"]
    performing.perform(config, tmp_path)
    assert "1 done, 0 left" in outlook(chosen, tmp_path).in_words()


def test_a_damaged_run_is_reported_while_the_others_are_made_done(tmp_path):
    chosen = plan(depth=[1, 2])
    first, second = (config.digest[:12] for config in chosen.configs())
    (tmp_path / f"edge-{first}").mkdir()
    (tmp_path / f"edge-{first}" / "run.sqlite").write_bytes(b"no database")
    ahead = outlook(chosen, tmp_path)
    assert [row["state"] for row in ahead.rows] == ["damaged", "planned"]
    assert "0 done, 1 left, 1 damaged" in ahead.in_words()
    seen = []
    done = sweep(chosen, tmp_path, workers=1, watch=seen.append)
    assert [(row["run"], row["depth"], row["state"]) for row in done.rows()] == [
        (f"edge-{first}", 1, "damaged"),
        (f"edge-{second}", 2, "finished"),
    ]
    assert list(done.failed) == [f"edge-{first}"]
    assert "is damaged" in done.rows()[0]["message"]
    assert (seen[-1].total, seen[-1].done, list(seen[-1].failed)) == (2, 1, [f"edge-{first}"])


def test_a_run_deleted_meanwhile_is_reported_and_the_sweep_goes_on(tmp_path):
    chosen = plan(depth=[1, 2])
    gone = next(f"edge-{config.digest[:12]}" for config in chosen.configs())

    def delete_first(progress):
        if not progress.running and not progress.failed and progress.done == 0:
            shutil.rmtree(tmp_path / gone)

    done = sweep(chosen, tmp_path, workers=1, watch=delete_first)
    assert list(done.failed) == [gone]
    assert "is not a run" in done.failed[gone]
    assert [row["state"] for row in done.rows()] == ["damaged", "finished"]


def test_a_run_that_another_sweep_ended_meanwhile_has_not_failed(tmp_path):
    chosen = plan(depth=[1])

    def held_by_another(folders, begun, ended):
        begun(folders[0])
        ended(folders[0], "is being written by process 1 on host elsewhere")
        LocalProcesses(1, 1)(folders, lambda folder: None, lambda folder, cause: None)

    done = sweep(chosen, tmp_path, execute=held_by_another)
    assert done.failed == {}
    assert done.rows()[0]["message"] == ""


def test_a_store_that_cannot_be_written_stops_the_sweep(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="give a folder"):
        sweep(plan(depth=[1, 2]), tmp_path / "file")


def _python_that_kills_itself(folder, times):
    script = folder / "python"
    tries = " || ".join(f'mkdir "{folder}/{number}" 2>/dev/null' for number in range(times))
    script.write_text(f'#!/bin/sh\nif {tries}; then kill -9 $$; fi\nexec {sys.executable} "$@"\n')
    script.chmod(0o755)
    return script


def test_the_outlook_says_what_is_left_and_writes_nothing(tmp_path):
    chosen = plan(depth=[1, 2, 2])
    before = outlook(chosen, tmp_path / "store", workers=1)
    assert not (tmp_path / "store").exists()
    assert before.in_words().startswith("2 runs: 0 done, 2 left, 1 at a time with")
    assert "1 equal to another" in before.in_words()
    sweep(plan(depth=[1]), tmp_path / "store")
    after = outlook(chosen, tmp_path / "store", workers=1)
    assert [row["state"] for row in after.rows] == ["finished", "planned"]
    assert "about" in after.in_words()


def test_cores_are_shared_out():
    shared = LocalProcesses.sharing(100)
    assert shared.workers * shared.threads <= max(shared.workers, len(os.sched_getaffinity(0)))
    assert LocalProcesses.sharing(1).workers == 1
    assert LocalProcesses.sharing(0).workers == 1


LONG = """
from netassay.sweeps import Plan, sweep
import sys
base = {"examples": 60, "width": 4, "steps": 1000000, "curvature_every": 1000000, "layers": False}
sweep(Plan(study="edge", base=base, axes={"depth": [1, 2, 3]}), sys.argv[1], workers=2)
"""


def _until(condition):
    """Looks again and again; the number of looks (ten minutes and more of them) only ends a test that hangs."""
    for _ in range(12_000):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it never came so far")


@pytest.fixture
def long_sweep(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", LONG, str(tmp_path)], stderr=subprocess.PIPE, text=True)
    _until(lambda: sum(run.state is State.RUNNING for run in Store(tmp_path).runs()) == 2)
    yield process, tmp_path
    process.kill()
    process.wait()
    process.stderr.close()


def test_a_stopped_sweep_stops_its_children_at_a_checkpoint(long_sweep):
    process, store = long_sweep
    process.send_signal(signal.SIGTERM)
    assert process.wait() != 0
    states = sorted(str(run.state) for run in Store(store).runs())
    assert states == ["interrupted", "interrupted", "planned"]
    assert all(run.checkpoint() is not None for run in Store(store).runs() if run.state is State.INTERRUPTED)
    assert Interrupted.__name__ in process.stderr.read()


def test_children_of_a_killed_sweep_stop_by_themselves(long_sweep):
    process, store = long_sweep
    process.kill()
    _until(lambda: sum(run.state is State.INTERRUPTED for run in Store(store).runs()) == 2)
    assert Run.open(Store(store).runs()[0].folder).verify() == []
