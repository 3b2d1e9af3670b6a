"""What edge runs say in sentences, on runs of which it is known."""

import pytest
from hand_made_runs import hand_made

from netassay.studies.edge.rules import findings
from netassay.studies.edge.stepsize import rules as stepsize
from netassay.studies.edge.stepsize.findings import CODES
from netassay.studies.edge.stepsize.search import Outcome


def trajectory(ratios, *, error=1e-3, every=10, layers=None):
    """Rows of a descent with step size 0.1 whose ratio to the edge is as given."""
    rows = []
    for i, ratio in enumerate(ratios):
        step = i * every
        rows += [
            (step, "edge_ratio", "", ratio),
            (step, "sharpness", "", 20 * ratio),
            (step, "sharpness_error", "", 20 * ratio * error),
            (step, "loss", "", 1 / (1 + i)),
        ]
        for layer, share in (layers or {}).items():
            value = share[i] if isinstance(share, list) else share
            rows += [(step, "sharpness", layer, value), (step, "sharpness_error", layer, value * error)]
    return rows


RISING = [0.5, 0.6, 0.7, 0.8, 0.9, 1.02, *[1.05] * 12]
BELOW = [0.3 + 0.02 * i for i in range(15)]


def edge(tmp_path, rows, **config):
    return hand_made(tmp_path, "edge", rows, **{"step_size": 0.1, **config})


def test_a_run_that_reaches_its_edge_says_when_and_how_far_it_is_from_it(tmp_path):
    (finding,) = findings([edge(tmp_path, trajectory(RISING))])
    assert "reaches 2/η at step 50" in finding.text and "median 1.05 [1.05, 1.05]" in finding.text
    assert (finding.figure, finding.command) == ("edge-sharpness", "netassay edge")


def test_runs_that_differ_in_their_step_size_share_a_sentence(tmp_path):
    later = [0.5, *RISING]
    runs = [
        edge(tmp_path, trajectory(RISING), step_size=0.2),
        edge(tmp_path, trajectory(later), step_size=0.1),
    ]
    (finding,) = findings(runs)
    assert "η = 0.1 and 0.2" in finding.text and "at steps 60 and 50" in finding.text
    apart = [runs[0], edge(tmp_path, trajectory(later), step_size=0.1, depth=3)]
    assert len(findings(apart)) == 2


def test_a_run_below_its_edge_says_so_with_its_error(tmp_path):
    (finding,) = findings([edge(tmp_path, trajectory(BELOW))])
    assert "stays below 2/η for all 140 steps" in finding.text and "0.580 ± 0.0006, at step 140" in finding.text


@pytest.mark.parametrize("ratios", [RISING, BELOW])
def test_a_sharpness_with_a_large_error_says_nothing(tmp_path, ratios):
    assert findings([edge(tmp_path, trajectory(ratios, error=0.2))]) == []


def test_what_its_error_could_lift_to_the_edge_is_not_said_to_be_below(tmp_path):
    assert findings([edge(tmp_path, trajectory([0.9, 0.95, 0.97], error=0.04))]) == []


def test_a_run_that_goes_on_says_nothing(tmp_path):
    assert findings([edge(tmp_path, trajectory(RISING), outcome="failed")]) == []


def test_divergence_is_said_with_its_step(tmp_path):
    (finding,) = findings([edge(tmp_path, trajectory([0.9, 1.4]), outcome="diverged")])
    assert (
        finding.text
        == "At η = 0.1 training diverges at step 10; ηλ/2 was 1.40 when last measured, at step 10 (1 is the edge)."
    )


@pytest.mark.parametrize(
    ("first", "second", "leader"),
    [
        (4.0, 2.0, "Layer 1"),
        (2.0, 4.0, "Layer 2"),
        (4.0, 4.0001, None),
        ([4.0] * 8 + [1.0] * 7, 2.0, None),
        ([4.0] * 13 + [1.0] * 2, 2.0, "Layer 1"),
    ],
)
def test_a_layer_leads_where_it_has_the_largest_sharpness_by_more_than_the_errors(tmp_path, first, second, leader):
    layers = {"layer1": first, "layer2": second}
    sentences = [finding.text for finding in findings([edge(tmp_path, trajectory(BELOW, layers=layers))])]
    leading = [text for text in sentences if "largest sharpness of all layers" in text]
    assert [text.partition(" has")[0] for text in leading] == ([leader] if leader else [])


def networks(sizes, sharpness=10.0):
    """Rows of a search whose networks train up to the first and fail from the second number on."""
    rows, step = [], 0
    for seed, (trained, failing) in enumerate(sizes):
        part = f"seed {seed}"
        rows.append((step, "sharpness", part, sharpness))
        for size, outcome in ((trained, Outcome.TRAINED), (failing, Outcome.DIVERGED)):
            step += 1
            rows += [
                (step, "step_size", part, size),
                (step, "outcome", part, CODES[outcome]),
                (step, "trial_steps", part, 10.0),
                (step, "trial_loss", part, 0.1),
            ]
        step += 1
    return rows


def search(tmp_path, sizes, **config):
    return hand_made(tmp_path, "edge-stepsize", networks(sizes), seeds=len(sizes), **config)


def test_architectures_are_compared_where_their_brackets_do_not_overlap(tmp_path):
    wide = search(tmp_path, [(1.0, 1.2), (0.9, 1.1)], activation="relu")
    narrow = search(tmp_path, [(0.2, 0.3), (0.25, 0.28)], activation="tanh")
    finding = stepsize.findings([narrow, wide])[0]
    assert "3.0 or more times as large for relu as for tanh: [0.9, 1.2] against [0.2, 0.3]" in finding.text
    assert "activation relu" in finding.command
    near = search(tmp_path, [(0.28, 1.2), (0.9, 1.1)], activation="gelu")
    assert not [one for one in stepsize.findings([narrow, near]) if "times as large" in one.text]


def test_the_initial_sharpness_is_judged_from_five_networks_on(tmp_path):
    sizes = [(0.2 * (i + 1), 0.3 * (i + 1)) for i in range(5)]
    assert not [one for one in stepsize.findings([search(tmp_path, sizes[:4])]) if "2/λ" in one.text]
    constant = stepsize.findings([search(tmp_path, sizes)])
    assert not [one for one in constant if "rank correlation" in one.text]  # a constant predictor has none
