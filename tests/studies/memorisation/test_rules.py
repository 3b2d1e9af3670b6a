"""What the memorisation study says in sentences, on runs of which it is known."""

import math

import pytest
from hand_made_runs import hand_made

from netassay.studies.memorisation.rules import findings


def examined(tmp_path, *bits, parameters=1000):
    names = ("reference", "bits", "low", "high", "units", "parameters")
    rows = [dict(zip(names, (*row, 80, parameters), strict=True)) for row in bits]
    whole = {"predictions": 100, "loss_nats": 300 * math.log(2), "bound_nats": 50 * math.log(2)}
    facts = {"trainee": {"whole": whole, "bits": rows}}
    return hand_made(tmp_path, "memorisation", [(1, "loss", "", 1.0)], facts=facts)


def test_bits_are_said_against_the_strictest_reference(tmp_path):
    run = examined(tmp_path, ("uniform", 9e3, 8e3, 1e4), ("unigram", 1234.0, 1000.0, 1500.0))
    (finding,) = findings([run])
    assert "in 1,234 bits [1,000, 1,500] less than the frequencies of its tokens do, 1.23 per parameter" in finding.text
    assert "up to 3.6 of random data" in finding.text
    assert "its loss is 3.00 bits per token, and the least that any model can reach 0.50" in finding.text
    run = examined(tmp_path / "2", ("unigram", 9e3, 8e3, 1e4), ("model", 40.0, 20.0, 60.0))
    assert "40 bits [20, 60] less than the other model does, 0.04 per parameter" in findings([run])[0].text


def test_a_model_that_holds_nothing_is_said_to_need_more(tmp_path):
    (finding,) = findings([examined(tmp_path, ("unigram", -500.0, -600.0, -400.0))])
    assert "in 500 bits [400, 600] more than the frequencies of its tokens do; its loss" in finding.text


@pytest.mark.parametrize("ends", [(-1.0, 9.0), (None, None), (math.nan, math.nan)])
def test_without_an_interval_clear_of_zero_nothing_is_said(tmp_path, ends):
    assert findings([examined(tmp_path, ("unigram", 5.0, *ends))]) == []


def test_without_an_answer_nothing_is_said(tmp_path):
    assert findings([hand_made(tmp_path, "memorisation", [(1, "loss", "", 1.0)])]) == []
