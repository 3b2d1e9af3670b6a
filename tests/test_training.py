"""The loop against a trainee whose whole trajectory is known: x <- x - eta lambda x on f(x) = lambda x^2 / 2."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from memory import Memory

from netassay.training import Checkpoint, Diverged, Every, Outcome, stages, train


class Quadratic:
    def __init__(self, eta, curvature=1.0, start=1.0):
        self.eta, self.curvature, self.x, self.noise = (
            eta,
            curvature,
            torch.tensor(start, dtype=torch.float64),
            0,
        )
        self.generator = torch.Generator().manual_seed(0)

    def measure(self, step):
        self.draw = torch.rand((), generator=self.generator).item()
        return {"loss": self.curvature * self.x.item() ** 2 / 2, ("draw", "a"): self.draw}

    def advance(self):
        self.x = self.x - self.eta * self.curvature * self.x

    def state(self):
        return {"x": self.x.clone(), "generator": self.generator.get_state()}, {"eta": self.eta}

    def load(self, tensors, facts):
        assert facts == {"eta": self.eta}
        self.x = tensors["x"].clone()
        self.generator.set_state(tensors["generator"])


@given(st.floats(1e-3, 1e3), st.floats(-0.5, 0.5).filter(lambda offset: abs(offset) > 1e-3))
def test_descent_on_a_quadratic_converges_exactly_below_two_over_lambda(curvature, offset):
    eta = (2 + offset) / curvature
    result = train(Quadratic(eta, curvature), Memory(), steps=10_000, divergence_factor=10.0)
    assert result.outcome is (Outcome.DIVERGED if offset > 0 else Outcome.FINISHED)


def test_records_every_step_and_commits_first_and_last():
    memory = Memory()
    seen = []
    result = train(Quadratic(0.1), memory, steps=5, watch=lambda step, values: seen.append(step))
    assert (result.outcome, result.step) == (Outcome.FINISHED, 5)
    assert list(memory.steps) == seen == [0, 1, 2, 3, 4, 5]
    assert memory.commits == [0, 5]
    assert memory.steps[3]["loss"] == pytest.approx(0.9**6 / 2)


def test_a_trainee_that_is_done_ends_with_a_checkpoint_of_its_step():
    memory = Memory()
    result = train(Quadratic(0.1), memory, steps=9, done=lambda step: step == 3)
    assert (result.outcome, result.step) == (Outcome.FINISHED, 3)
    assert list(memory.steps) == [0, 1, 2, 3]
    assert memory.commits == [0, 3]


def test_no_steps_measures_the_start():
    memory = Memory()
    assert train(Quadratic(0.1), memory, steps=0).outcome is Outcome.FINISHED
    assert list(memory.steps) == [0]


@given(st.sets(st.integers(0, 20), max_size=6))
def test_stopped_anywhere_and_resumed_gives_the_same_numbers(stops):
    whole = Memory()
    train(Quadratic(0.1), whole, steps=20)

    memory = Memory()
    for stop in [*sorted(stops), None]:
        trainee = Quadratic(0.1)
        memory.stop = lambda trainee=trainee, stop=stop: stop is not None and len(memory.steps) >= stop
        result = train(trainee, memory, steps=20)
        if stop is not None and stop <= 20:
            assert result.outcome is Outcome.INTERRUPTED
    assert result.outcome is Outcome.FINISHED
    assert memory.steps == whole.steps
    assert torch.equal(memory.checkpoint.tensors["x"], whole.checkpoint.tensors["x"])


@pytest.mark.parametrize("start", [math.nan, math.inf])
def test_a_start_that_is_not_finite_diverges_at_step_0(start):
    memory = Memory()
    result = train(Quadratic(0.1, start=start), memory, steps=9)
    assert (result.outcome, result.step) == (Outcome.DIVERGED, 0)
    assert "diverged at step 0" in result.message


def test_divergence_names_step_loss_and_rule():
    memory = Memory()
    result = train(Quadratic(3.0), memory, steps=99, divergence_factor=100.0)
    # |x| doubles each step: the loss is 4^s / 2, first above 100 / 2 at s = 4
    assert result.step == 4
    assert "128" in result.message
    assert "more than 100 times the first, 0.5" in result.message
    assert list(memory.steps) == [0, 1, 2, 3, 4]


def test_a_trainee_may_say_itself_that_it_diverged():
    class Steep(Quadratic):
        def measure(self, step):
            values = super().measure(step)
            if step == 2:
                raise Diverged(values, "the slope is infinite")
            return values

    memory = Memory()
    result = train(Steep(0.1), memory, steps=9)
    assert (result.outcome, result.step) == (Outcome.DIVERGED, 2)
    assert result.message == "diverged at step 2: the slope is infinite"
    assert list(memory.steps) == [0, 1, 2]


def test_commit_seconds_zero_commits_at_every_step():
    memory = Memory()
    train(Quadratic(0.1), memory, steps=4, commit_seconds=0.0)
    assert memory.commits == [0, 1, 2, 3, 4]


def test_every_is_due_at_multiples_and_at_the_last():
    assert [step for step in range(8) if Every(3, last=7).due(step)] == [0, 3, 6, 7]


def sums(memory, *, stop_at=None, **more):
    """Stages that add one number each to a list, which is all that is kept."""
    latest = memory.latest()
    numbers = [] if latest is None else list(latest.facts["numbers"])

    def make(step):
        assert step == len(numbers)
        if step == stop_at:
            return None
        if step == 4:
            return {}
        numbers.append(step * step)
        return {"sum": float(sum(numbers))}

    return stages(memory, make, facts=lambda: {"numbers": [*numbers]}, **more), numbers


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_stages_go_on_to_the_same_numbers_from_wherever_they_were_stopped(seconds):
    whole = Memory()
    result, numbers = sums(whole, commit_seconds=seconds)
    assert (result.outcome, result.step, numbers) == (Outcome.FINISHED, 4, [0, 1, 4, 9])
    assert whole.commits == ([1, 2, 3, 4] if seconds == 0 else [1, 4])
    for stop in range(4):
        memory = Memory()
        result, _ = sums(memory, stop_at=stop, commit_seconds=seconds)
        assert (result.outcome, result.step) == (Outcome.INTERRUPTED, stop)
        assert result.message == f"stopped before stage {stop}"
        again, numbers = sums(memory, commit_seconds=seconds)
        assert (again.outcome, numbers, memory.steps) == (Outcome.FINISHED, [0, 1, 4, 9], whole.steps)


def test_named_stages_end_with_the_last_and_a_stop_after_it_is_no_interruption():
    memory = Memory()
    memory.commit(Checkpoint(4, {}, {"numbers": [0, 1, 4, 9]}))
    memory.stop = lambda: True
    assert sums(memory, names=["a", "b", "c", "d"])[0].outcome is Outcome.FINISHED
    assert memory.commits == [4]
    other = Memory()
    other.stop = lambda: True
    assert sums(other, names=["a", "b", "c", "d"])[0].message == "stopped before a"
