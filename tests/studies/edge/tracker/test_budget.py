"""The budget against a clock of the test's own, with looks that cost what looks do."""

import pytest

from netassay.errors import ConfigError
from netassay.studies.edge.tracker.budget import SEARCH_EVERY, Budget


def spend(share, steps, *, step=0.01, cold=0.9, warm=0.12, search=0.4, opening=0.05, other=1e-4):
    """Shares used after every step of a training whose first look, later looks and searches take such times."""
    now = [0.0]
    budget = Budget(share, lambda: now[0])
    with budget.spending():
        now[0] += opening
    budget.reserved = budget.spent
    looks, used = 0, []
    for _ in range(steps):
        now[0] += step
        with budget.spending():
            now[0] += other
            if budget.affords_a_look():
                with budget.looking():
                    now[0] += cold if looks == 0 else search if looks % SEARCH_EVERY == 0 else warm
                looks += 1
        used.append(budget.used)
    with budget.spending():
        now[0] += opening
    return [*used, budget.used], looks


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_once_the_first_look_is_paid_the_share_never_rises_above_the_budget(share):
    used, looks = spend(share, 20_000)
    paid = next(i for i, now in enumerate(used) if now <= share)
    assert used[0] > share  # the first look is taken at once
    # every step's own writing is 1 % of it, which is no part of what pays the debt
    assert paid * 0.01 == pytest.approx((0.9 + 0.05) / (share - 0.01), rel=0.05)
    assert max(used[paid:]) <= share
    # and nearly all of it is used: 200 seconds of training
    assert used[-1] > share - 0.005
    assert looks > 0.8 * (200 * (share - 0.01) - 1.0) / ((4 * 0.12 + 0.4) / 5)


def test_a_training_too_short_for_a_second_look_has_one():
    used, looks = spend(0.2, 100)
    assert looks == 1
    assert used[-1] > 0.2


def test_steps_that_the_clock_counts_as_training_are_spent():
    now = [0.0]
    budget = Budget(0.2, lambda: now[0])

    def step():
        now[0] += 1e-3

    with budget.spending():
        budget.calibrate(step)
    before = budget.spent
    now[0] += 50.0
    with budget.spending():
        budget.spent_unseen(100)
    # each costs ten times what it did in a loop of its own
    assert budget.spent - before == pytest.approx(100 * 0.01)
    assert budget.trained == pytest.approx(50.0 - 100 * 0.01)


@pytest.mark.parametrize("share", [0.0, -0.1, float("inf"), float("nan")])
def test_shares_out_of_range(share):
    with pytest.raises(ConfigError, match="above 0"):
        Budget(share, lambda: 0.0)
