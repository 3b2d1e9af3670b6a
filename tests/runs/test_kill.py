"""What is left when the writing process is killed at a random moment."""

import fcntl
import os
import random
import time

import pytest
import torch

from netassay.errors import RunLocked, StoreError
from netassay.runs import Run, State, Store, disk, ledger
from netassay.training import Checkpoint

STEPS = 100_000


def numbers(step: int) -> dict:
    return {"loss": 1.0 / (step + 1), ("sharpness", "a"): float(step), ("sharpness", "b"): -0.0}


def work(run: Run) -> None:
    """Records every step and commits every third, from wherever the run stands."""
    with run.writer({"threads": 1}) as writer:
        found = writer.latest()
        for step in range(0 if found is None else found.step, STEPS):
            if step % 3 == 0:
                writer.commit(Checkpoint(step, {"w": torch.full((500,), float(step))}, {"step": step}))
            writer.record(step, numbers(step))


def check(run: Run) -> int:
    """The run is sound, and its metrics are all those before the newest checkpoint; returns its step."""
    assert run.verify() == []
    assert run.state in (State.PLANNED, State.KILLED)
    found = run.checkpoint()
    step = 0 if found is None else found.step
    assert run.step == step
    if found is not None:
        assert found.facts == {"step": step}
        assert torch.equal(found.tensors["w"], torch.full((500,), float(step)))
    expected = [(s, *(k if isinstance(k, tuple) else (k, "")), v) for s in range(step) for k, v in numbers(s).items()]
    assert run.metrics().rows() == expected
    return step


def until(condition) -> None:
    """Looks again and again; the number of looks (ten minutes and more of them) only ends a test that hangs."""
    for _ in range(120_000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("the child never came so far")


def test_a_killed_writer_leaves_a_prefix_up_to_a_checkpoint(new_run, child):
    run, moments, step, steps = new_run(), random.Random(1), 0, set()
    for _ in range(25):
        child(lambda: work(Run.open(run.folder))).kill_after(moments.uniform(0.0, 0.15))
        reached = check(run)
        assert reached >= step
        step = reached
        steps.add(step)
    assert len(steps) > 5
    with run.writer({"threads": 1}) as writer:
        writer.finish("finished", step=step)
    assert run.verify() == []
    assert len(list((run.folder / "tensors").iterdir())) == 2
    assert "killed" in run.events()["what"].to_list()


def test_a_killed_maker_leaves_a_whole_run_or_none(new_run, child, tmp_path):
    store, moments = Store(tmp_path / "store"), random.Random(2)

    def make_many():
        for number in range(1000):
            new_run(number=number)

    for _ in range(10):
        child(make_many).kill_after(moments.uniform(0.0, 0.1))
        assert store.verify() == []
    for number in range(30):
        assert new_run(number=number).state is State.PLANNED
    new_run(number=-1)
    assert {path.name[0] for path in store.folder.iterdir() if path.name != ".lock"} == {"e"}


def test_a_killed_delete_leaves_no_half_run(new_run, child, tmp_path):
    store, moments = Store(tmp_path / "store"), random.Random(3)
    for _ in range(5):
        for number in range(4):
            new_run(number=number)
        child(lambda: store.delete([run.id for run in store.runs()])).kill_after(moments.uniform(0.0, 0.05))
        assert store.verify() == []
    new_run(number=100)
    assert not list(store.folder.glob(".deleted-*"))


def test_kill_releases_the_lock_and_shows_as_killed(new_run, child, state_at):
    run = new_run()
    writing = child(lambda: work(run))
    until(lambda: run.checkpoint() is not None)
    assert run.state is State.RUNNING
    for attempt in (lambda: run.writer({}), lambda: Store(run.folder.parent).delete([run.id])):
        with pytest.raises(RunLocked, match=f"process {writing.pid} on host"):
            attempt()
    writing.kill_after(0.0)
    assert run.state is State.KILLED
    with run.writer({}) as writer:
        assert writer.latest().step % 3 == 0


def test_a_running_run_is_read_from_another_process(new_run, child):
    run = new_run()
    writing = child(lambda: work(run))
    seen = set()

    def look():
        rows = run.metrics("loss").rows()
        assert rows == [(step, "loss", "", 1.0 / (step + 1)) for step in range(len(rows))]
        assert len(rows) % 3 == 0
        assert run.verify() == []
        run.checkpoint()
        seen.add(len(rows))
        return len(seen) == 5

    until(look)
    writing.kill_after(0.0)


def test_a_fork_does_not_keep_the_lock_of_its_parent(new_run, child):
    run = new_run()
    held = disk.Lock(run.folder)
    sleeping = child(lambda: time.sleep(3600))
    held.release()
    until(lambda: not disk.is_held(run.folder))
    with run.writer({}):
        pass
    sleeping.kill_after(0.0)


def test_looking_does_not_lock_a_writer_out(new_run, monkeypatch):
    run = new_run()
    looking = os.open(run.folder / disk.LOCK, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)  # as `is_held` does for an instant
    monkeypatch.setattr(time, "sleep", lambda seconds: fcntl.flock(looking, fcntl.LOCK_UN))
    disk.Lock(run.folder).release()
    os.close(looking)


def test_a_reader_is_never_fooled_by_a_writer_coming_and_going(new_run, child, state_at):
    run = new_run()

    def come_and_go():
        for step in range(STEPS):
            with run.writer({}) as writer:
                writer.record(step, numbers(step))
                writer.commit(state_at(step + 1))

    writing, last, reads = child(come_and_go), 0, 0
    # on a busy machine the reads could all be over before the writer has begun
    while reads < 200 or last == 0:
        reads += 1
        try:
            rows = ledger.read(run.folder, lambda connection: list(ledger.metric_rows(connection)))
        except StoreError as refused:
            assert "changes faster" in str(refused)
            continue
        assert len(rows) % 3 == 0
        assert len(rows) >= last
        last = len(rows)
    writing.kill_after(0.0)


def test_what_was_read_while_a_writer_came_and_went_is_read_again(new_run, state_at):
    run, looks = new_run(), []

    def look(connection):
        before = list(ledger.metric_rows(connection))
        if not looks:
            with run.writer({}) as writer:
                writer.record(0, numbers(0))
                writer.commit(state_at(1))
        looks.append(len(before))
        return before

    assert len(ledger.read(run.folder, look)) == 3
    assert looks == [0, 3]
