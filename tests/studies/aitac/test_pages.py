"""What the page of aitac runs says in words: which note is there, and when it is not."""

import pytest

from netassay.reporting import Note
from netassay.runs import Run, State
from netassay.studies.aitac.config import AitacConfig
from netassay.studies.aitac.pages import sections

NO_NULL = "No null model is among these runs"
SIMULATED = "SIMULATED DATA"


@pytest.fixture
def made(tmp_path):
    """Runs of small configs with a number each, without training."""

    def make(state=State.FINISHED, **values):
        config = AitacConfig(**values)
        run = Run.create(tmp_path, study="aitac", config=config.mapping(), digest=config.digest)
        with run.writer({}) as writer:
            writer.record(0, {"loss": 1.0, ("r_mean", "test"): 0.5})
            writer.finish(state, step=0, message="made for a test")
        return run

    return make


def notes(runs):
    return [item.text for section in sections(runs) for item in section.items if isinstance(item, Note)]


def says(runs, words):
    return sum(words in note for note in notes(runs))


def test_a_missing_null_model_is_reported_once_and_only_where_there_is_none(made):
    model, other = made(seed=0), made(seed=1)
    assert says([model], NO_NULL) == says([model, other], NO_NULL) == 1
    for null in ("rows", "cells", "mononucleotide", "dinucleotide"):
        shuffled = made(null=null)
        assert says([model, shuffled], NO_NULL) == says([shuffled], NO_NULL) == 0
    warned = [item.kind for section in sections([model]) for item in section.items if isinstance(item, Note)]
    assert "warning" in warned


def test_simulated_data_is_reported_first_and_only_where_it_is(made):
    real, simulated = made(), made(atlas="simulated")
    assert says([real], SIMULATED) == 0
    assert says([simulated], SIMULATED) == says([real, simulated], SIMULATED) == 1
    assert SIMULATED in notes([real, simulated])[0]


def test_runs_that_are_not_finished_are_named_with_their_message(made):
    done, stopped = made(), made(State.INTERRUPTED, seed=2)
    assert says([done, stopped], f"{stopped.id}: interrupted. made for a test") == 1
    assert says([done, stopped], done.id) == 0
