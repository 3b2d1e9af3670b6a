import itertools
import math
import sqlite3

import hypothesis.strategies as st
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings

from netassay.errors import Interrupted, RunDamaged, StoreError
from netassay.runs import Run, State, ledger
from netassay.training import Checkpoint, Outcome, train

ENVIRONMENT = {"torch": "2.13", "threads": 1}
printable = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), min_size=1, max_size=12)
salts = itertools.count()
numbers = st.one_of(st.floats(width=64), st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 5e-324]))


def same_bits(a: float, b: float) -> bool:
    return a.hex() == b.hex()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.dictionaries(st.tuples(printable, st.one_of(st.just(""), printable)), numbers, max_size=5),
        max_size=4,
    )
)
def test_metrics_come_back_bit_for_bit_and_sorted(new_run, state_at, steps):
    run = new_run(salt=next(salts))
    with run.writer(ENVIRONMENT) as writer:
        for step, values in enumerate(steps):
            writer.record(step, values)
        writer.commit(state_at(len(steps)))
        writer.finish("finished", step=len(steps))
    given_rows = sorted((step, *key, value) for step, values in enumerate(steps) for key, value in values.items())
    rows = run.metrics().rows()
    assert [row[:3] for row in rows] == [row[:3] for row in given_rows]
    assert all(same_bits(a[3], b[3]) for a, b in zip(rows, given_rows, strict=True))
    assert run.verify() == []


def test_metrics_of_one_name(finished):
    assert finished.metrics("sharpness").rows() == [
        (0, "sharpness", "layer", 7.5),
        (1, "sharpness", "layer", 7.5),
    ]
    assert finished.metrics("none").schema == finished.metrics().schema


def test_a_whole_life(new_run, state_at):
    run = new_run(width=1)
    assert (run.state, run.step, run.environment, run.checkpoint()) == (State.PLANNED, 0, {}, None)
    with run.writer(ENVIRONMENT) as writer:
        assert writer.latest() is None
        assert run.state is State.RUNNING
        writer.record(0, {"loss": 1.0})
        assert run.metrics().is_empty()
        writer.commit(state_at(1))
        assert run.step == 1
        assert run.metrics().height == 1
        writer.record(1, {"loss": 0.5})
        writer.finish(Outcome.FINISHED, step=1, message="done")
    assert (run.state, run.step, run.message) == (State.FINISHED, 1, "done")
    assert run.metrics()["value"].to_list() == [1.0, 0.5]
    assert run.environment == ENVIRONMENT
    assert run.events()["what"].to_list() == ["started", "finished"]
    assert run.seconds > 0


def test_checkpoint_comes_back(finished, state_at):
    for step in (0, 2):
        loaded, expected = finished.checkpoint(step), state_at(step)
        assert (loaded.step, loaded.facts) == (expected.step, expected.facts)
        assert loaded.tensors.keys() == expected.tensors.keys()
        assert all(torch.equal(loaded.tensors[name], expected.tensors[name]) for name in expected.tensors)
    assert finished.checkpoint().step == 2
    with pytest.raises(StoreError, match="no checkpoint at step 1; it has: 0, 2"):
        finished.checkpoint(1)


def test_only_the_newest_checkpoints_stay(new_run, state_at):
    run = new_run()
    with run.writer(ENVIRONMENT, keep=3) as writer:
        for step in range(6):
            writer.commit(state_at(step))
        assert run.checkpoints() == (3, 4, 5)
    with run.writer(ENVIRONMENT) as writer:
        writer.commit(state_at(6))
    assert run.checkpoints() == (5, 6)
    assert sorted(path.name for path in (run.folder / "tensors").iterdir()) == [
        "step-5.safetensors",
        "step-6.safetensors",
    ]
    with pytest.raises(StoreError, match="keep=0"):
        run.writer(ENVIRONMENT, keep=0)


def test_the_same_step_may_be_committed_again(new_run, state_at):
    run = new_run()
    with run.writer(ENVIRONMENT) as writer:
        writer.commit(state_at(3))
        writer.commit(state_at(3))
        other = Checkpoint(3, {"weights": torch.zeros(1)})
        writer.commit(other)
        assert torch.equal(writer.latest().tensors["weights"], other.tensors["weights"])
        writer.commit(state_at(3))
    assert run.verify() == []
    assert run.checkpoints() == (3,)


def test_values_recorded_twice_or_late_are_refused(new_run, state_at):
    with new_run().writer(ENVIRONMENT) as writer:
        writer.record(0, {"loss": 1.0})
        with pytest.raises(StoreError, match=r"recorded twice.*'loss'"):
            writer.record(0, {"loss": 1.0})
        with pytest.raises(StoreError, match="recorded twice"):
            writer.record(1, {"loss": 1.0, ("loss", ""): 2.0})
        with pytest.raises(StoreError, match="newer than every metric recorded"):
            writer.commit(state_at(0))
        writer.commit(state_at(4))
        with pytest.raises(StoreError, match="step 3 come after the commit at 4"):
            writer.record(3, {"loss": 1.0})
        with pytest.raises(StoreError, match="must not be older"):
            writer.commit(state_at(3))


@pytest.mark.parametrize("metric", ["", "a\nb", "a\0", ("a", "\x1b[31m"), "\ud800"])
def test_unprintable_metric_names_are_refused(new_run, metric):
    with new_run().writer(ENVIRONMENT) as writer, pytest.raises(StoreError, match="is refused"):
        writer.record(0, {metric: 1.0})


def test_what_json_cannot_hold_is_refused(new_run):
    with new_run().writer(ENVIRONMENT) as writer, pytest.raises(StoreError, match="cannot be kept as JSON"):
        writer.commit(Checkpoint(0, {}, {"object": object()}))


def test_divergence_drops_the_checkpoints_it_reached(new_run, state_at):
    run = new_run()
    with run.writer(ENVIRONMENT) as writer:
        writer.commit(state_at(2))
        writer.record(2, {"loss": math.nan})
        writer.commit(state_at(5))
        writer.record(5, {"loss": math.inf})
        writer.diverged(4, "the loss is nan")
    assert (run.state, run.step, run.message) == (State.DIVERGED, 4, "the loss is nan")
    assert run.checkpoints() == (2,)
    assert run.metrics()["step"].to_list() == [2, 5]
    assert run.verify() == []


def test_a_final_run_takes_tables_only(finished):
    before = finished.metrics()
    with finished.writer(ENVIRONMENT) as writer:
        assert writer.latest().step == 2
        with pytest.raises(StoreError, match="is finished; nothing but tables"):
            writer.record(3, {"loss": 1.0})
        with pytest.raises(StoreError, match="is finished"):
            writer.finish("failed", step=3)
        writer.write_table("phases", pl.DataFrame({"other": [2]}))
    assert finished.state is State.FINISHED
    assert finished.table("phases").rows() == [(2,)]
    assert len(list((finished.folder / "tables").iterdir())) == 1
    assert finished.metrics().equals(before)
    assert finished.verify() == []


def test_tables(finished):
    assert finished.tables() == ("phases",)
    assert finished.table("phases").rows() == [("edge", 1)]
    assert finished.table_path("phases") == finished.folder / "tables" / "phases.parquet"
    with pytest.raises(StoreError, match="no table 'nothing'; it has: phases"):
        finished.table("nothing")


@pytest.mark.parametrize("name", ["../out", "a/b", "", ".hidden", "a\nb", "a\0", "x" * 65])
def test_table_names_stay_in_their_folder(new_run, name):
    with (
        new_run().writer(ENVIRONMENT) as writer,
        pytest.raises(StoreError, match=r"table name .* is refused"),
    ):
        writer.write_table(name, pl.DataFrame())


def test_an_error_ends_the_run_as_failed_and_it_resumes(new_run, state_at):
    run = new_run()
    with pytest.raises(ValueError, match="bad luck"), run.writer(ENVIRONMENT) as writer:
        writer.commit(state_at(1))
        writer.record(1, {"loss": 1.0})
        raise ValueError("bad luck")
    assert (run.state, run.message, run.metrics().height) == (State.FAILED, "ValueError: bad luck", 1)
    with run.writer(ENVIRONMENT) as writer:
        assert run.metrics().is_empty()
        writer.record(1, {"loss": 1.0})
        writer.finish("finished", step=1)
    assert run.metrics().height == 1
    events = run.events().select("what", "text").rows()
    assert ("removed", "1 metrics from step 1 on, to be measured again") in events
    assert run.verify() == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Interrupted("SIGTERM", 15)])
def test_an_interrupt_is_no_failure(new_run, error):
    run = new_run()
    with pytest.raises(type(error)), run.writer(ENVIRONMENT):
        raise error
    assert run.state is State.INTERRUPTED


def test_leaving_early_is_an_interruption(new_run):
    run = new_run()
    with run.writer(ENVIRONMENT):
        pass
    assert (run.state, run.message) == (State.INTERRUPTED, "closed before it was finished")


def test_a_closed_writer_says_so(new_run, state_at):
    with new_run().writer(ENVIRONMENT) as writer:
        pass
    writer.close()
    for attempt in (
        lambda: writer.record(0, {}),
        lambda: writer.commit(state_at(0)),
        lambda: writer.write_table("t", pl.DataFrame()),
    ):
        with pytest.raises(StoreError, match="is closed"):
            attempt()


def test_any_message_can_be_kept(new_run):
    run = new_run()
    with pytest.raises(ValueError), run.writer(ENVIRONMENT):
        raise ValueError("file \udcff\n\0 is odd")
    assert run.message == "ValueError: file \\udcff\n\0 is odd"
    assert run.verify() == []


def test_only_ends_end_a_run(new_run):
    with new_run().writer(ENVIRONMENT) as writer, pytest.raises(StoreError, match="cannot end as 'running'"):
        writer.finish("running", step=0)


def test_changes_of_the_environment_show(new_run):
    run = new_run()
    for environment in (ENVIRONMENT, ENVIRONMENT, {"torch": "2.14", "threads": 1}, ENVIRONMENT):
        with run.writer(environment):
            pass
    assert run.environment == ENVIRONMENT
    changes = run.events().filter(pl.col("what") == "environment")["text"].to_list()
    assert changes == ["torch: 2.13 -> 2.14", "torch: 2.14 -> 2.13"]


def test_going_on_from_an_older_checkpoint(new_run, state_at):
    run = new_run()
    with run.writer(ENVIRONMENT) as writer:
        for step in range(6):
            writer.record(step, {"loss": float(step)})
            if step in (1, 3):
                writer.commit(state_at(step + 1))
        writer.finish("finished", step=5)
    damaged = run.folder / "tensors" / "step-4.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    with pytest.raises(RunDamaged, match=r"step-4.*expected \w{64}, found \w{64}.*from_step=2"):
        run.checkpoint()
    with pytest.raises(StoreError, match="may be one of 0, 2, 4"):
        run.writer(ENVIRONMENT, from_step=3)
    with run.writer(ENVIRONMENT, from_step=2) as writer:
        assert writer.latest().step == 2
        assert run.state is State.RUNNING
    assert run.metrics()["step"].to_list() == [0, 1]
    assert run.events().filter(pl.col("what") == "rewound")["text"].to_list() == ["on request, from step 4 to 2"]
    assert run.verify() == []


def test_going_back_to_the_start_forgets_every_checkpoint(new_run, state_at):
    run = new_run()
    with run.writer(ENVIRONMENT) as writer:
        writer.commit(state_at(0))
        writer.record(0, {"loss": 1.0})
    with run.writer(ENVIRONMENT, from_step=0) as writer:
        assert writer.latest() is None
    assert run.metrics().is_empty()
    assert run.verify() == []


def test_rows_of_a_foreign_hand_stop_the_writer(new_run, state_at):
    run = new_run()
    with run.writer(ENVIRONMENT) as writer:
        writer.record(0, {"loss": 1.0})
        writer.commit(state_at(1))
    with sqlite3.connect(run.folder / "run.sqlite") as connection:
        connection.execute("INSERT INTO metrics VALUES (7, 'loss', '', 3.0)")
    connection.close()
    assert any("its rows are not those" in problem.what for problem in run.verify())
    with pytest.raises(RunDamaged, match="from_step=1"):
        run.writer(ENVIRONMENT)
    with run.writer(ENVIRONMENT, from_step=1):
        pass
    assert run.metrics()["step"].to_list() == [0]
    assert run.verify() == []


def test_a_disk_that_refuses_the_opening_is_reported_and_frees_the_run(new_run, monkeypatch):
    def refused(folder):
        raise OSError(28, "No space left on device")

    run = new_run()
    with monkeypatch.context() as patched:
        patched.setattr(ledger, "sync_folder", refused)
        with pytest.raises(StoreError, match=r"run.sqlite: cannot be opened .*No space.*Nothing committed is lost"):
            run.writer(ENVIRONMENT)
    with run.writer(ENVIRONMENT) as writer:
        writer.finish("finished", step=0)


def test_files_of_a_killed_writer_are_removed(new_run, state_at):
    run = new_run()
    for left in ("tensors/step-9.safetensors", "tensors/step-9.safetensors.part", "tables/old.parquet"):
        (run.folder / left).write_bytes(b"half")
    (run.folder / "tensors" / "notes.txt").write_text("mine")
    with run.writer(ENVIRONMENT):
        pass
    assert [path.name for path in (run.folder / "tensors").iterdir()] == ["notes.txt"]
    assert [problem.file for problem in run.verify()] == ["tensors/notes.txt"]


class Counter:
    """A trainee whose loss is the number of steps taken."""

    def __init__(self, stop_at: int = -1, request=lambda: None):
        self.count, self.stop_at, self.request = torch.zeros((), dtype=torch.float64), stop_at, request

    def measure(self, step):
        if step == self.stop_at:
            self.request()
        return {"loss": 1.0 + self.count.item()}

    def advance(self):
        self.count += 1

    def state(self):
        return {"count": self.count}, {"list": [1, 2.5, "x"]}

    def load(self, tensors, facts):
        assert facts == {"list": [1, 2.5, "x"]}
        self.count = tensors["count"].clone()


def run_counter(run: Run, stop_at: int = -1) -> None:
    with run.writer(ENVIRONMENT) as writer:
        result = train(Counter(stop_at, writer.request_stop), writer, steps=10, commit_seconds=0.0)
        writer.finish(result.outcome, step=result.step, message=result.message)


def test_the_loop_stopped_and_resumed_records_the_same(new_run):
    whole, parts = new_run(name="whole"), new_run(name="parts")
    run_counter(whole)
    run_counter(parts, stop_at=4)
    assert (parts.state, parts.step) == (State.INTERRUPTED, 5)
    run_counter(parts)
    assert parts.state is State.FINISHED
    assert parts.metrics().equals(whole.metrics())
    assert torch.equal(parts.checkpoint().tensors["count"], whole.checkpoint().tensors["count"])


def test_tensors_on_the_writer_may_share_memory(new_run):
    run, base = new_run(), torch.arange(6.0)
    with run.writer(ENVIRONMENT) as writer:
        writer.commit(Checkpoint(0, {"a": base, "b": base[::2], "c": base.reshape(2, 3).T}))
    loaded = run.checkpoint().tensors
    assert torch.equal(loaded["b"], base[::2])
    assert torch.equal(loaded["c"], base.reshape(2, 3).T)


def test_whole_numbers_of_numpy_and_torch_are_numbers(new_run, state_at):
    import numpy as np

    run = new_run()
    with run.writer(ENVIRONMENT) as writer:
        writer.record(np.int64(0), {"a": torch.tensor(2), "b": np.float32(0.5)})
        writer.commit(state_at(1))
    assert run.metrics()["value"].to_list() == [2.0, 0.5]
    assert run.metrics()["step"].to_list() == [0, 0]


def test_what_a_killed_writer_left_half_written_is_no_damage_and_goes(new_run):
    run = new_run()
    for name in (".run.sqlite.0123abcd.part.sha256", "run.sqlite.sha256.part"):
        (run.folder / name).write_bytes(b"half")
    assert run.verify() == []
    with run.writer({}) as writer:
        writer.commit(Checkpoint(0, {}, {}))
        assert {path.name for path in run.folder.iterdir() if ".part" in path.name} == set()


def test_what_a_killed_writer_left_in_a_final_run_is_swept(finished):
    from netassay.runs.writer import sweep

    left = finished.folder / "tensors" / "step-7.safetensors"
    left.write_bytes(b"")
    (finished.folder / ".lock.0a1b2c-1-0a1b2c.part").write_bytes(b"")
    sweep(finished.folder)
    assert finished.verify() == []
    left.write_bytes(b"")
    with finished.writer({}):
        left.write_bytes(b"")
        sweep(finished.folder)
        assert left.exists()
