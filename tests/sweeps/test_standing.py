"""Where runs stand: read from folders that a writer, here or elsewhere, is writing."""

import pytest

from netassay.errors import ConfigError
from netassay.reporting.quantity import Course
from netassay.runs import Run
from netassay.sweeps import Plan, Standings, watch
from netassay.sweeps.drive import lay_out
from netassay.training import Checkpoint

PLAN = Plan(study="edge", base={"steps": 100}, axes={"step_size": [0.1, 0.2]})


@pytest.fixture
def runs(tmp_path):
    return lay_out(PLAN, tmp_path).runs


def test_before_anything_is_written_all_is_planned(tmp_path):
    first, second = watch(PLAN, tmp_path / "nowhere")
    assert (first.state, first.step, first.value, first.name) == ("planned", 0, None, "step_size=0.1")
    assert second.name == "step_size=0.2"
    assert not (tmp_path / "nowhere").exists()


def test_step_rate_time_left_number_and_trend_are_those_of_the_folder(runs, tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("netassay.runs.writer.time.monotonic", lambda: clock[0])
    standings = Standings.of(PLAN, tmp_path)
    with runs[0].writer({}) as writer:
        for step in range(40):
            writer.record(step, {"loss": 1.0, "edge_ratio": step / 40})
        clock[0] = 108.0
        writer.commit(Checkpoint(40, {}, {"steps": 100}))
        monkeypatch.setattr("netassay.sweeps.standing.time.time", lambda: 0.0)
        first, second = standings.look()
        assert (first.state, first.step, first.steps, first.rate) == ("running", 40, 100, 40 / 8)
        assert first.seconds_left == 60 / 5
        assert (first.number, first.value) == ("eta lambda/2", 39 / 40)
        stretches = [range(40 * i // 12, 40 * (i + 1) // 12) for i in range(12)]
        assert first.trend == pytest.approx([sum(steps) / len(steps) / 40 for steps in stretches])
        assert second.state == "planned"
        clock[0] = 110.0
        writer.commit(Checkpoint(60, {}, {"steps": 100}))
        assert standings.look()[0].rate == 20 / 2
        writer.finish("finished", step=100)
    last = standings.look()[0]
    assert (last.state, last.seconds_left, last.is_done) == ("finished", None, True)


def test_one_that_was_left_is_killed_at_the_next_look(runs, tmp_path):
    standings = Standings.of(PLAN, tmp_path)
    writer = runs[0].writer({})
    assert standings.look()[0].state == "running"
    writer.close()
    assert standings.look()[0].state == "killed"


def test_one_that_is_damaged_or_deleted_stops_no_look(runs, tmp_path):
    standings = Standings.of(PLAN, tmp_path)
    standings.look()
    (runs[0].folder / "run.sqlite").write_bytes(b"no database")
    (runs[1].folder / "run.sqlite").unlink()
    assert [standing.state for standing in standings.look()] == ["damaged", "planned"]


def test_runs_of_a_store_are_named_by_what_differs_within_their_study(runs, tmp_path):
    names = {standing.run: standing.name for standing in watch(tmp_path)}
    assert names == {runs[0].id: "step_size=0.1", runs[1].id: "step_size=0.2"}
    with pytest.raises(ConfigError, match="nowhere"):
        watch(tmp_path / "nowhere")


def test_a_number_above_a_floor_is_the_share_by_which_it_exceeds_it():
    course = Course("gap", "loss", above=("corpus", "bound"))
    assert course.value(2.2, 2.0) == pytest.approx(0.1)
    assert course.value(2.2, None) is None
    assert course.value(2.2, 0.0) is None


def test_a_study_that_is_not_here_is_followed_by_its_loss(tmp_path):
    from netassay.config import Config

    class Elsewhere(Config):
        study = "elsewhere"

    config = Elsewhere()
    run = Run.create(tmp_path, study="elsewhere", config=config.mapping(), digest=config.digest)
    with run.writer({}) as writer:
        writer.record(0, {"loss": 3.0})
        writer.finish("finished", step=1)
    (standing,) = watch(tmp_path)
    assert (standing.number, standing.value) == ("loss", 3.0)
