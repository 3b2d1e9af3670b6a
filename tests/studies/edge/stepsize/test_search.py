"""The search against thresholds that the test sets, without any network."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netassay.studies.edge.stepsize.search import MOST_RUNGS, Outcome, Trial, bracket, next_step_size


def searched(start, resolution, outcome):
    trials = []
    while (size := next_step_size(trials, start, resolution)) is not None:
        assert size not in [trial.step_size for trial in trials]
        trials.append(Trial(size, outcome(size), 1, 1.0))
        assert len(trials) < 200
    return trials


@settings(max_examples=100)
@given(
    threshold=st.floats(1e-2, 1e3),
    start=st.floats(1e-1, 1e2),
    resolution=st.sampled_from([1.02, 1.1, 1.5, 4.0]),
    slow=st.floats(0.0, 0.2),
    above=st.sampled_from([Outcome.DIVERGED, Outcome.UNFINISHED]),
)
def test_the_threshold_is_bracketed_within_the_resolution(threshold, start, resolution, slow, above):
    """Trains between slow * threshold and threshold, unfinished below, `above` up to twice it, then divergence."""

    def outcome(size):
        if size < slow * threshold:
            return Outcome.UNFINISHED
        if size <= threshold:
            return Outcome.TRAINED
        return above if size < 1.2 * threshold else Outcome.DIVERGED

    found = bracket(searched(start, resolution, outcome))
    assert found.largest <= threshold < found.failing
    assert found.failing / found.largest <= resolution * (1 + 1e-6)
    assert found.failing_outcome == outcome(found.failing)


def test_trials_are_few():
    trials = searched(0.5, 1.1, lambda size: Outcome.TRAINED if size < 1.3 else Outcome.DIVERGED)
    assert [trial.step_size for trial in trials[:3]] == [0.5, 1.0, 2.0]
    assert len(trials) == 3 + math.ceil(math.log2(math.log(2) / math.log(1.1)))


@pytest.mark.parametrize("always", [Outcome.UNFINISHED, Outcome.DIVERGED, Outcome.TRAINED])
def test_a_search_without_an_end_is_given_up(always):
    trials = searched(1.0, 1.1, lambda size: always)
    assert MOST_RUNGS <= len(trials) <= MOST_RUNGS + 2
    found = bracket(trials)
    assert math.isnan(found.failing if always is Outcome.TRAINED else found.largest)


def test_a_gap_between_too_slow_and_diverging_is_looked_into():
    trials = searched(1.0, 1.1, lambda size: Outcome.DIVERGED if size > 3.1 else Outcome.UNFINISHED)
    assert math.isnan(bracket(trials).largest)
    low = max(t.step_size for t in trials if t.outcome is Outcome.UNFINISHED)
    assert 3.1 / 1.1 < low <= 3.1
