import pytest

from netassay.studies.capacity.widths import (
    Attempt,
    Next,
    doubling,
    fewest,
    most_attempts,
    next_attempt,
)


def attempts(able, order, *, narrowest, widest, tries=1):
    """All that `next_attempt` asks for, where `able(width, number)` says what comes of it."""
    done = []
    while (chosen := next_attempt(done, order, narrowest=narrowest, widest=widest, tries=tries)) is not None:
        met = able(chosen.width, chosen.number)
        done.append(Attempt(chosen.width, chosen.number, 1, 1.0, 0.0, met, False))
        assert len(done) <= most_attempts(order, narrowest=narrowest, widest=widest, tries=tries)
    return done


@pytest.mark.parametrize("narrowest", [1, 3, 4])
@pytest.mark.parametrize("threshold", range(1, 42))
def test_bisection_finds_the_threshold(narrowest, threshold):
    done = attempts(lambda width, _: width >= threshold, "bisection", narrowest=narrowest, widest=40)
    expected = max(threshold, narrowest)
    assert fewest(done) == (expected if expected <= 40 else None)
    assert len({attempt.width for attempt in done}) == len(done)


def test_doubling_visits_every_width_once():
    done = attempts(lambda width, _: False, "doubling", narrowest=4, widest=512)
    assert [attempt.width for attempt in done] == [4, 8, 16, 32, 64, 128, 256, 512]
    assert doubling(3, 20, last=True) == [3, 6, 12, 20]


def test_a_width_is_tried_until_it_succeeds_and_no_longer():
    done = attempts(lambda width, number: number == 1, "doubling", narrowest=2, widest=4, tries=3)
    assert [(a.width, a.number) for a in done] == [(2, 0), (2, 1), (4, 0), (4, 1)]
    done = attempts(lambda width, number: False, "one", narrowest=1, widest=7, tries=2)
    assert [(a.width, a.number) for a in done] == [(7, 0), (7, 1)]


def test_the_first_width_of_a_search_is_the_narrowest():
    assert next_attempt([], "bisection", narrowest=5, widest=9, tries=1) == Next(5, 0)
