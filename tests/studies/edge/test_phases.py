"""Phases of trajectories drawn by hand, whose phases are known."""

import numpy as np
import pytest

from netassay.studies.edge.findings import EDGE_COUNT, layer_phases, phases

FLAT = np.full(101, 0.5)


def named(found, name):
    (phase,) = [phase for phase in found if phase.phase == name]
    return phase


def names(found):
    return [phase.phase for phase in found]


def climb_and_hover(top=1.0, length=100):
    steps = np.arange(0, length + 1, 5)
    ratios = np.minimum(0.3 + steps / 50, top)
    return steps, ratios


def test_sharpening_crossing_edge():
    steps, ratios = climb_and_hover(top=1.02)
    found = phases(steps, ratios, FLAT)
    assert names(found) == ["sharpening", "crossing", "edge"]
    sharpening, crossing, edge = found
    # 0.3 + s / 50 reaches 1 at s = 35
    assert (sharpening.first_step, sharpening.last_step) == (0, 35)
    assert (sharpening.ratio_start, sharpening.ratio_end) == pytest.approx((0.3, 1.0))
    assert (crossing.first_step, crossing.last_step) == (35, 35)
    assert (edge.first_step, edge.last_step) == (35, 100)
    assert edge.ratio_median == pytest.approx(1.02)


def test_below_the_edge_there_is_only_sharpening():
    steps, ratios = climb_and_hover(top=0.9)
    assert names(phases(steps, ratios, FLAT)) == ["sharpening"]


def test_a_dip_before_the_rise_begins_the_sharpening_at_its_bottom():
    steps = np.arange(0, 50, 5)
    ratios = np.array([0.6, 0.4, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.99])
    assert named(phases(steps, ratios, FLAT), "sharpening").first_step == 10


def test_a_rise_of_less_than_a_tenth_is_no_sharpening():
    steps = np.arange(0, 50, 5)
    assert phases(steps, np.linspace(0.5, 0.54, 10), FLAT) == []


def test_a_short_visit_above_the_edge_is_a_crossing_and_no_edge():
    steps = np.arange(10)
    ratios = np.array([0.5, 0.7, 0.9, 1.1, 0.5, 0.4, 0.3, 0.3, 0.3, 0.3])
    assert names(phases(steps, ratios, FLAT)) == ["sharpening", "crossing"]


def test_the_edge_ends_where_sharpness_leaves_it_for_good():
    steps = np.arange(40)
    ratios = np.concatenate([np.linspace(0.5, 0.95, 10), np.full(20, 1.03), np.linspace(0.7, 0.1, 10)])
    edge = named(phases(steps, ratios, FLAT), "edge")
    assert (edge.first_step, edge.last_step) == (10, 29)


@pytest.mark.parametrize(("count", "is_edge"), [(EDGE_COUNT - 1, False), (EDGE_COUNT, True)])
def test_the_edge_needs_enough_measurements(count, is_edge):
    ratios = np.concatenate([np.full(5, 0.5), np.full(count, 1.0), np.full(5, 0.2)])
    found = phases(np.arange(len(ratios)), ratios, FLAT)
    assert ("edge" in names(found)) is is_edge


def test_beginning_above_the_edge_is_no_crossing_and_the_edge_begins_when_it_comes_down():
    steps = np.arange(30)
    ratios = np.concatenate([np.linspace(3, 1.3, 10), np.full(20, 1.05)])
    found = phases(steps, ratios, FLAT)
    assert names(found) == ["edge"]
    assert found[0].first_step == 10


def test_falling_far_and_coming_back_is_a_crossing_from_below():
    steps = np.arange(40)
    ratios = np.concatenate([[900.0, 30.0, 0.5, 0.1], np.linspace(0.15, 0.95, 10), np.full(26, 1.02)])
    found = phases(steps, ratios, FLAT)
    assert names(found) == ["sharpening", "crossing", "edge"]
    assert (named(found, "sharpening").first_step, named(found, "crossing").first_step) == (3, 14)
    never_back = np.concatenate([np.linspace(3, 1.3, 10), np.full(10, 1.05), np.linspace(0.7, 0.2, 20)])
    assert names(phases(steps, never_back, FLAT)) == ["edge"]


def test_catapult_is_a_spike_of_the_loss_with_a_fall_of_the_sharpness():
    steps = np.arange(0, 41, 2)
    losses = np.concatenate([[1.0, 1.5, 4.0, 8.0, 4.0, 2.0, 1.2], np.linspace(0.9, 0.5, 34)])
    ratios = np.where(steps <= 4, 1.8, 0.9)
    catapult = named(phases(steps, ratios, losses), "catapult")
    assert (catapult.first_step, catapult.last_step) == (1, 7)
    still_sharp = phases(steps, np.full(21, 1.8), losses)
    assert "catapult" not in names(still_sharp)


def test_a_spike_that_never_comes_back_is_no_catapult():
    steps = np.arange(20)
    assert "catapult" not in names(phases(steps, np.full(20, 1.8), np.linspace(1, 50, 20)))


def test_convergence_is_where_the_loss_stays_below_a_hundredth():
    losses = np.array([1.0, 0.5, 0.009, 0.02, 0.009, 0.008, 0.001])
    found = phases(np.array([0, 6]), np.array([0.5, 0.5]), losses)
    convergence = named(found, "convergence")
    assert (convergence.first_step, convergence.last_step) == (4, 6)


def test_divergence_has_its_step_and_rules_out_convergence():
    losses = np.array([1.0, 0.001, 0.001, np.inf])
    found = phases(np.array([0, 1]), np.array([0.5, 0.5]), losses, diverged_at=3)
    assert names(found) == ["divergence"]
    assert found[0].first_step == 3
    assert np.isnan(found[0].ratio_median)


def test_a_layer_has_sharpening_crossing_and_edge_of_its_own():
    steps, ratios = climb_and_hover(top=1.02)
    found = layer_phases(steps, ratios, part="layer1")
    assert names(found) == ["sharpening", "crossing", "edge"]
    assert {phase.part for phase in found} == {"layer1"}


def test_nothing_measured_gives_no_phases():
    nothing = np.array([])
    assert phases(nothing.astype(int), nothing, nothing) == []
    assert [phase.phase for phase in phases(nothing.astype(int), nothing, np.array([np.nan]), diverged_at=0)] == [
        "divergence"
    ]


def test_a_ratio_below_zero_is_no_sharpening():
    assert phases(np.arange(5), np.array([-0.5, -0.1, 0.0, 0.1, 0.2]), FLAT) == []
