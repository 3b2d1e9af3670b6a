"""Trials against plain descents, the flow's sharpness against its path, pages and agreement."""

import math

import polars as pl
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from netassay.curvature.flow import gradient_flow
from netassay.errors import ConfigError
from netassay.performing import perform, summarise
from netassay.studies.edge.data import Examples, load
from netassay.studies.edge.networks import LOSSES, constant_loss, network
from netassay.studies.edge.stepsize import pages
from netassay.studies.edge.stepsize.config import StepSizeConfig, tiny
from netassay.studies.edge.stepsize.descents import BATCHED_UP_TO, descend, together
from netassay.studies.edge.stepsize.findings import agreement, largest, trials
from netassay.studies.edge.stepsize.predictors import sharpest_on_flow
from netassay.studies.edge.stepsize.search import Outcome

CONFIG = StepSizeConfig(examples=60, width=6, depth=2, dtype="float64")
DATA = load(CONFIG, dtype=torch.float64)
MODELS = [network(CONFIG, DATA, dtype=torch.float64, seed=seed) for seed in range(3)]


def plain(model, step_size, goal, steps):
    """The loss at every step of torch's own SGD, until an end."""
    import copy

    model, seen = copy.deepcopy(model), []
    optimizer = torch.optim.SGD(model.parameters(), lr=step_size)
    for _ in range(steps + 1):
        optimizer.zero_grad()
        value = LOSSES["mse"](model(DATA.train.inputs), DATA.train.labels)
        seen.append(value.item())
        if not math.isfinite(seen[-1]) or seen[-1] > 1e3 * seen[0] or seen[-1] <= goal:
            break
        value.backward()
        optimizer.step()
    return seen


def test_networks_descended_together_are_those_descended_alone():
    sizes, goal = [0.4, 3.0, 0.01], 0.4
    before = [p.detach().clone() for model in MODELS for p in model.parameters()]
    found = descend(MODELS, LOSSES["mse"], DATA.train, sizes, goal=goal, steps=80, divergence_factor=1e3)
    for model, size, trial in zip(MODELS, sizes, found, strict=True):
        losses = plain(model, size, goal, 80)
        assert trial.steps == len(losses) - 1
        assert trial.loss == pytest.approx(losses[-1], rel=1e-6)
    assert [trial.outcome for trial in found] == [Outcome.TRAINED, Outcome.DIVERGED, Outcome.UNFINISHED]
    assert all(torch.equal(a, p) for a, p in zip(before, (p for m in MODELS for p in m.parameters()), strict=True))


def test_on_a_linear_network_the_largest_step_is_two_over_lambda(tmp_path):
    """One linear layer under squared loss is a quadratic: it trains exactly below 2 / lambda."""
    run = perform(
        StepSizeConfig(
            examples=60, depth=0, seeds=2, goal=0.6, steps=20000, resolution=1.02, dtype="float64", flow_steps=60
        ),
        tmp_path,
        threads=1,
    )
    for row in largest(run).to_dicts():
        assert row["largest"] <= row["by_start"] * 1.02
        assert row["failing"] >= row["by_start"] * 0.98
        assert row["by_flow"] == pytest.approx(row["by_start"], rel=2e-3)
        assert row["failing_outcome"] == "diverged"
    assert set(trials(run)["outcome"]) <= {"trained", "diverged", "unfinished"}
    assert summarise(run)["trained"] == 2


def test_a_flow_that_ends_early_predicts_nothing(tmp_path):
    """Its largest sharpness is that of the part that was followed, so that 2 / sharpness would be too large."""
    run = perform(tiny().replace(seeds=1, flow_steps=3, resolution=3.0), tmp_path, threads=1)
    row = largest(run).row(0, named=True)
    assert row["flow_reached"] is False and row["flow_sharpness"] > 0
    assert row["by_flow"] is None and summarise(run)["by_flow"] is None
    networks = next(
        item
        for section in pages.sections([run])
        for item in section.items
        if getattr(item, "name", "") == "stepsize-networks"
    )
    assert networks.data["2/max λ on the flow"].to_list() == [None]
    assert not any("flow" in finding for finding in run.findings)


def test_sharpest_on_flow_is_the_top_of_its_path():
    batches = [(DATA.train.inputs, DATA.train.labels)]
    goal = 0.5 * constant_loss("mse", DATA.train.labels)
    found = sharpest_on_flow(MODELS[0], LOSSES["mse"], batches, goal=goal, most_steps=2000)
    assert found.reached
    assert found.loss <= goal
    times = torch.linspace(0, found.end_time, 20).tolist()
    path = gradient_flow(MODELS[0], LOSSES["mse"], batches, times=times)
    assert found.sharpness == pytest.approx(max(path.sharpness), rel=2e-2)
    assert sharpest_on_flow(MODELS[0], LOSSES["mse"], batches, goal=goal, most_steps=20).reached is False
    assert sharpest_on_flow(MODELS[0], LOSSES["mse"], batches, goal=goal, most_steps=20, stop=lambda: True) is None


def test_stopped_trials_give_nothing():
    assert (
        descend(
            MODELS, LOSSES["mse"], DATA.train, [0.1] * 3, goal=0.0, steps=50, divergence_factor=1e3, stop=lambda: True
        )
        is None
    )


def test_together_only_while_small():
    small = Examples(torch.zeros(10, 2), torch.zeros(10, dtype=torch.int64))
    assert together(small, 8, 3) == 3
    assert together(small, BATCHED_UP_TO // 10 + 1, 3) == 1


def test_agreement_is_spearmans(tmp_path):
    a, b = pl.Series([1.0, 2.0, 2.0, 5.0, None, 3.0]), pl.Series([2.0, 1.0, 4.0, 6.0, 1.0, None])
    found = agreement(a, b)
    assert found.networks == 4
    assert found.correlation == pytest.approx(spearmanr([1, 2, 2, 5], [2, 1, 4, 6]).statistic)
    assert agreement(a[:2], b[:2]) is None
    assert math.isnan(agreement(pl.Series([1.0, 1, 1]), pl.Series([1.0, 2, 3])).correlation)


def test_pages_map_two_varied_keys(tmp_path):
    config = tiny().replace(seeds=1, flow_steps=0, resolution=3.0)
    runs = [
        perform(config.replace(activation=name, depth=depth), tmp_path, threads=1)
        for name in ("relu", "tanh")
        for depth in (1, 2)
    ]
    map_, prediction, _ = pages.sections(runs)
    names = [item.name for item in map_.items]
    assert names == ["stepsize-largest", "stepsize-over-by-start", "stepsize-architectures"]
    assert map_.items[0].data.height == 4
    assert prediction.items[0].data["networks"].to_list() == [4]


def test_constant_targets_are_reported(tmp_path):
    import numpy as np

    np.savez(tmp_path / "a.npz", x=np.ones((4, 2)), y=np.zeros(4, int))
    config = tiny().replace(data="arrays", path=str(tmp_path / "a.npz"), examples=4)
    with pytest.raises(Exception, match="nothing to learn"):
        perform(config, tmp_path / "runs", threads=1)
    with pytest.raises(ConfigError):
        tiny().replace(goal=1.0)
    assert isinstance(MODELS[0], nn.Module)
