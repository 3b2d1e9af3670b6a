"""What capacity runs say in sentences, on runs of which it is known."""

import polars as pl
import pytest
from hand_made_runs import hand_made

from netassay.studies.capacity.rules import findings

CORPUS = {"contexts": 100.0, "vocabulary": 20.0, "bound": 50.0, "documents": 10.0, "share_certain": 0.9}


def trials(widths, *, contexts=100.0):
    """Rows of a run that tried each width -> gap."""
    rows = [(0, "corpus", part, value) for part, value in {**CORPUS, "contexts": contexts}.items()]
    for i, (width, gap) in enumerate(widths.items()):
        rows += [
            (10 * i + 1, "width", "", width),
            (10 * i + 1, "try", "", 0.0),
            (10 * i + 1, "loss", "", 60.0),
            (10 * i + 9, "exact_loss", "", 50 * (1 + gap)),
            (10 * i + 9, "gap", "", gap),
            (10 * i + 9, "steps", "", 9.0),
            (10 * i + 9, "met", "", float(gap <= 0.01)),
            (10 * i + 9, "proved", "", 0.0),
        ]
    return rows


def capacity(tmp_path, widths, **words):
    contexts = words.pop("contexts", 100.0)
    return hand_made(tmp_path, "capacity", trials(widths, contexts=contexts), gap=0.01, widths="bisection", **words)


def test_the_narrowest_network_that_memorised_is_named_with_the_next_narrower_that_did_not(tmp_path):
    (finding,) = findings([capacity(tmp_path, {4: 0.3, 8: 0.009, 6: 0.02, 7: 0.0081})])
    assert finding.text == (
        "Seven neurons memorise 100 contexts of “topics”: the loss comes within 1 % of the entropy bound (gap 0.81 %). "
        "Networks of 6 neurons did not get there."
    )
    assert finding.figure == "capacity-fewest-contexts"


def test_corpora_of_one_kind_share_a_sentence(tmp_path):
    runs = [
        capacity(tmp_path, {16: 0.009}, contexts=200.0, documents=20),
        capacity(tmp_path, {8: 0.01, 4: 1.0}, documents=10),
    ]
    (finding,) = findings(runs)
    assert finding.text.startswith("Eight neurons memorise 100 contexts of “topics” and 16 for 200")
    assert "did not get there" not in finding.text  # of one of them nothing narrower was tried


def test_a_criterion_that_was_never_met_is_said_with_the_least_gap(tmp_path):
    (finding,) = findings([capacity(tmp_path, {4: 0.3, 8: 0.02})])
    assert "No network of up to 8 neurons came within 1 %" in finding.text and "the least gap is 2 %" in finding.text


@pytest.mark.parametrize("outcome", ["failed", "diverged"])
def test_a_run_that_did_not_finish_says_nothing(tmp_path, outcome):
    assert findings([capacity(tmp_path, {8: 0.001}, outcome=outcome)]) == []


def test_without_a_trial_nothing_is_said(tmp_path):
    run = hand_made(tmp_path, "capacity", [(0, "corpus", "contexts", 3.0)])
    assert findings([run]) == [] and isinstance(run.metrics(), pl.DataFrame)
