"""What a user of a notebook types first, on runs of every study."""

import sys

import polars as pl
import pytest
import torch
from every_kind import STUDIES
from hand_made_runs import hand_made

import netassay
from netassay import study
from netassay.errors import ExtraMissing, StoreError

WITH_MODEL = ("capacity", "edge", "aitac")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    store = tmp_path_factory.mktemp("notebook") / "runs"
    return {name: netassay.perform(study.find(name).tiny(), store, threads=1) for name in study.builtin()}


@pytest.mark.parametrize("name", study.builtin())
def test_a_run_shows_itself_shortly_and_gives_its_charts(runs, name):
    run = runs[name]
    assert repr(run) == f"Run({run.id}, finished, step {run.step})" and len(repr(run)) < 120
    assert run.id in run._repr_html_() and "<script" not in run._repr_html_()
    assert name == "edge-stepsize" or run.chart(run.charts[0]).to_dict()["$schema"]
    with pytest.raises(StoreError, match="no chart 'none-such'; it has: "):
        run.chart("none-such")


def test_the_latest_run_is_the_one_created_last(runs):
    store = next(iter(runs.values())).folder.parent
    latest = max(runs.values(), key=lambda run: (run.created, run.id))
    assert netassay.open_run(store=store).id == latest.id
    with pytest.raises(StoreError, match="there is no latest one"):
        netassay.open_run(store=store / "empty")


def test_the_model_of_an_edge_run_has_the_loss_that_was_recorded_last(runs):
    from netassay.studies.edge.assay import build
    from netassay.studies.edge.config import EdgeConfig
    from netassay.studies.edge.networks import LOSSES

    run = runs["edge"]
    model, config = run.model(), EdgeConfig.from_mapping(run.config)
    data = build(config).data.train
    loss = LOSSES[config.loss](model(data.inputs), data.labels).item()
    assert loss == pytest.approx(run.last_values()["loss", ""], rel=1e-6) and not model.training


def test_the_model_of_a_capacity_run_has_the_least_gap(runs):
    from netassay.corpus.target import exact_loss
    from netassay.studies.capacity.config import CapacityConfig
    from netassay.studies.capacity.material import material

    run = runs["capacity"]
    read = material(CapacityConfig.from_mapping(run.config))
    gap = exact_loss(run.model(), read.to) / read.contexts.bound_nats - 1
    attempts = run.table("attempts")
    expected = attempts.filter("met").sort("width")["gap"] if attempts["met"].any() else attempts.sort("gap")["gap"]
    assert gap == pytest.approx(expected[0], rel=1e-6)


def test_the_model_of_an_aitac_run_gives_its_predictions(runs):
    run = runs["aitac"]
    model = run.model()
    assert isinstance(model, torch.nn.Module) and not model.training
    assert netassay.load_model(run.folder).state_dict().keys() == model.state_dict().keys()


@pytest.mark.parametrize("name", [name for name in STUDIES if name not in (*WITH_MODEL, "double-descent")])
def test_a_study_without_one_network_says_so(runs, name):
    with pytest.raises(StoreError, match="has no single trained network"):
        runs[name].model()


def test_tables_become_pandas_frames_or_say_what_is_missing(tmp_path, monkeypatch):
    run = hand_made(tmp_path, "edge", [(1, "loss", "", 0.5)], {"t": pl.DataFrame({"a": [1, 2], "b": ["x", None]})})
    pytest.importorskip("pyarrow")
    assert run.to_pandas("t")["a"].tolist() == [1, 2]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ExtraMissing, match=r"a pandas data frame needs the package pandas; install netassay\[pandas\]"):
        run.to_pandas("t")
