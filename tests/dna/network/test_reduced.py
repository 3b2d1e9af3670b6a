"""Reduced networks: what is copied, what is frozen, and runs that begin with a trained network."""

import json
import shutil

import polars as pl
import pytest
import torch
from easy_atlas import SMALL, easy_atlas

from netassay.cli import main
from netassay.dna.network.reduced import reduced_network
from netassay.errors import ConfigError, DataError, ModelError, RunFailed
from netassay.nets import AITAC
from netassay.performing import perform, resume, summarise
from netassay.presenting import report
from netassay.runs import Run, State, Store
from netassay.studies.aitac.assay import trained
from netassay.studies.aitac.config import AitacConfig
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.start import reduced_config
from netassay.studies.edge import config as edge
from netassay.sweeps import Plan
from netassay.training import group_of


def used(length=60, filters=12, **options):
    """A network whose every tensor, statistics of batch norm included, is drawn."""
    g = torch.Generator().manual_seed(3)
    model = AITAC(4, length=length, n_filters=filters, n_channels=8, n_hidden=16, generator=g, **options)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(0.3 * torch.randn(tensor.shape, generator=g).abs() + 0.1)
    return model.eval()


def sequences(n=20, length=60):
    g = torch.Generator().manual_seed(4)
    return torch.nn.functional.one_hot(torch.randint(0, 4, (n, length), generator=g), 4).mT.float()


@pytest.mark.parametrize("options", [{}, {"first_activation": "exponential"}, {"reverse_complement": True}])
def test_with_all_filters_in_any_order_nothing_changes(options):
    model, x = used(**options), sequences()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0)).tolist()
    for filters in (range(12), order):
        again = reduced_network(model, filters)
        torch.testing.assert_close(again(x), model(x), rtol=1e-5, atol=1e-5)
        assert not again.training


def test_without_some_filters_it_is_the_network_whose_second_layer_does_not_see_them():
    model, x = used(), sequences()
    kept = [7, 2, 9]
    blind = used()
    with torch.no_grad():
        for f in set(range(12)) - set(kept):
            blind.convolution2.weight[:, f] = 0
    smaller = reduced_network(model, kept)
    torch.testing.assert_close(smaller(x), blind(x), rtol=1e-5, atol=1e-5)
    assert (smaller(x) - model(x)).abs().max() > 1e-3
    assert torch.equal(smaller.convolution1.weight[1], model.convolution1.weight[2])
    assert torch.equal(smaller.norm1.running_var, model.norm1.running_var[kept])
    wanting = {name for name, p in smaller.named_parameters() if not p.requires_grad}
    assert wanting == {"convolution1.weight", "convolution1.bias", "norm1.weight", "norm1.bias"}
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ("filters", "words"),
    [([12], "filters 0 to 11"), ([-1], "does not exist"), ([1, 1], "twice"), ([], "at least one")],
)
def test_wrong_filters_are_refused(filters, words):
    with pytest.raises(ModelError, match=words):
        reduced_network(used(), filters)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A finished run on the easy atlas."""
    folder = tmp_path_factory.mktemp("reduced")
    atlas = easy_atlas().save(folder / "easy")
    config = AitacConfig(atlas=str(atlas), **{**SMALL, "weight_decay": 0.1, "learning_rate": 0.01})
    return perform(config, folder / "runs", threads=1)


def test_the_frozen_layer_does_not_move_and_the_rest_does(begun):
    config = reduced_config(begun, "1,5,9", epochs=2, learning_rate=1e-2).replace(weight_average=0.9)
    assert (config.atlas, config.n_filters, config.schedule) == (begun.config["atlas"], 12, "constant")
    run = perform(config, begun.folder.parent, threads=1)
    start, checkpoint = reduced_network(trained(begun), [1, 5, 9]).state_dict(), run.checkpoint()
    for group in ("model", "average", "best"):
        for name, tensor in group_of(checkpoint.tensors, group).items():
            still = name.startswith(("convolution1.", "norm1."))
            assert torch.equal(tensor, start[name]) == still, (group, name)
    table = run.table("reduction")
    assert table["filters"].to_list() == [12, 3, 3]
    assert table["r_mean"][0] == pytest.approx(summarise(begun)["test"]["r_mean"], abs=1e-6)
    assert table["r_mean"][2] == pytest.approx(summarise(run)["test"]["r_mean"], abs=1e-6)
    assert table["run"].to_list() == [begun.id, begun.id, None]
    model = trained(run)
    assert len(model.norm1.weight) == 3
    page = report([begun, run], begun.folder.parent / "page.html").read_text()
    assert "before training on" in page


def test_a_killed_reduced_run_goes_on_to_the_same_numbers(begun, tmp_path):
    config = reduced_config(begun, "random:4", epochs=2, seed=5)
    whole = perform(config, tmp_path / "whole", threads=1)

    def stop(step, values):
        if step == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        perform(config, tmp_path / "killed", threads=1, commit_seconds=0, watch=stop)
    again = resume(tmp_path / "killed" / whole.id, threads=1)
    assert again.metrics().equals(whole.metrics(), null_equal=True)


def test_a_start_that_has_changed_is_noticed(begun, tmp_path):
    store = tmp_path / "runs"
    shutil.copytree(begun.folder, store / begun.id)
    config = reduced_config(Run.open(store / begun.id), "0,1", epochs=2)

    def stop(step, values):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        perform(config, store, threads=1, watch=stop)
    shutil.rmtree(store / begun.id)
    other = perform(AitacConfig.from_mapping({**begun.config, "seed": 1}), tmp_path / "other", threads=1)
    shutil.copytree(other.folder, store / begun.id)
    (unfinished,) = [run for run in Store(store).runs() if run.state is not State.FINISHED]
    with pytest.raises(RunFailed, match="no longer what this run began with"):
        resume(unfinished.folder, threads=1)


def interpretation(store, run, rows):
    """An interpretation of `run` that holds no more than which filters are reproducible."""
    config = InterpretConfig(run=run, seed=len(Store(store).runs()))
    made = Run.create(store, study="aitac-interpret", config=config.mapping(), digest=config.digest)
    with made.writer({}) as writer:
        writer.write_table(
            "reproducible_filters",
            pl.DataFrame(rows, orient="row", schema={"run": pl.String, "filter": pl.Int64, "reproducible": pl.Boolean}),
        )
    return made


def test_reproducible_filters_come_from_an_interpretation(begun, tmp_path, capsys):
    store = tmp_path / "runs"
    shutil.copytree(begun.folder, store / begun.id)
    words = ["reduce", begun.id, "--epochs", "1", "--store", str(store), "--threads", "1", "--format", "json"]
    assert main(words) == 2
    assert "netassay interpret" in capsys.readouterr().err
    rows = [(begun.id, 4, True), (begun.id, 2, True), (begun.id, 3, False), ("aitac-other", 5, True)]
    interpretation(store, begun.id, rows)
    assert main(words) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["reduction"][2]["filters"] == 2
    assert len(trained(Run.open(answer["folder"])).norm1.weight) == 2
    interpretation(store, begun.id, [(begun.id, 4, True)])
    with pytest.raises(DataError, match="name different"):
        perform(reduced_config(Run.open(store / begun.id), epochs=3), store, threads=1)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"filters": "1,12"}, ModelError, "filters 0 to 11"),
        ({"filters": "random:13"}, ConfigError, "has 12 filters"),
        ({"n_filters": 300}, ModelError, "n_filters = 300, there 12"),
        ({"strands": "averaged"}, ModelError, "strands"),
        ({"start_from": "", "filters": "1"}, ConfigError, "give its run"),
        ({"start_from": "nowhere"}, DataError, "nowhere"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_no_run(begun, tmp_path, changes, error, words):
    config = reduced_config(begun, "1").replace(**changes)
    with pytest.raises(error, match=words):
        perform(config, tmp_path, threads=1)
    assert Store(tmp_path).runs() == []


def test_younger_keys_leave_the_digests_of_older_configs_alone():
    config = AitacConfig()
    assert "start_from" not in config.mapping()
    # of the keys that there were before these
    assert config.digest.startswith("47e896354858")
    moved = config.replace(filters="1")
    assert moved.mapping()["filters"] == "1"
    assert AitacConfig.from_mapping(moved.mapping()) == moved
    assert AitacConfig.from_mapping(config.mapping()) == config
    plan = Plan(study="aitac", axes={"filters": ["all", "1"]})
    assert [plan.values(c)["filters"] for c in plan.configs()] == ["all", "1"]


def test_a_run_of_another_study_is_refused(tmp_path, capsys):
    run = perform(edge.tiny().replace(steps=2), tmp_path, threads=1)
    assert main(["reduce", run.id, "--filters", "1,2", "--store", str(tmp_path)]) == 2
    assert f"run {run.id} is of study edge; networks of study aitac can be reduced" in capsys.readouterr().err
