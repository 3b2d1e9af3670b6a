"""What tracked trainings say in sentences, on runs of which it is known."""

import pytest
from hand_made_runs import hand_made

from netassay.studies.edge.tracker.rules import findings


def tracked(tmp_path, ratios, **more):
    rows = [(10 * step, "edge_ratio", "", ratio) for step, ratio in enumerate(ratios, 1)]
    return hand_made(tmp_path, "edge-tracker", rows, name="mine", tolerance=0.01, **more)


def test_a_training_at_its_edge_is_said_with_its_ratio_from_there_on(tmp_path):
    (finding,) = findings([tracked(tmp_path, [0.2, 0.9, 1.1, 1.0, 1.2, 0.9, 1.1])])
    assert "mine: the sharpness reaches the edge of stability at step 30" in finding.text
    assert "1.10 times the edge in the median (quartiles 1.00 to 1.10, 5 looks; 1 is the edge)" in finding.text


def test_a_training_below_its_edge_is_said_with_its_largest_ratio(tmp_path):
    (finding,) = findings([tracked(tmp_path, [0.2, 0.5, 0.53, 0.4, 0.5])])
    assert "stays below the edge of stability: at most 0.53 of it (at step 30, relative tolerance 0.01" in finding.text


@pytest.mark.parametrize(
    "ratios",
    [
        [0.2, 0.5, 0.995, 0.4, 0.5],  # below 1 by less than the tolerance
        [0.2, 0.5, 1.005, 0.4, 0.5],
        [0.2, 0.5, 0.9],  # few looks
        [0.2, 0.5, 0.9, 0.9, 1.1, 1.1],  # few from the edge on
        [],
    ],
)
def test_a_doubtful_ratio_says_nothing(tmp_path, ratios):
    assert findings([tracked(tmp_path, ratios)]) == []


def test_a_training_that_goes_on_says_nothing(tmp_path):
    assert findings([tracked(tmp_path, [0.2, 0.5, 0.53, 0.4, 0.5], outcome="failed")]) == []
