"""Training against a plain loop, its nulls, its way of choosing an epoch, and what is told of it."""

import json
import tomllib
from importlib.resources import files

import polars as pl
import pytest
import torch
from easy_atlas import SMALL, easy_atlas
from memory import Memory

from netassay import training
from netassay.dna.network.network import pearson_loss, pearson_rows, predict
from netassay.errors import ConfigError, DataError
from netassay.nets import AITAC
from netassay.performing import perform, summarise
from netassay.presenting import report
from netassay.runs import Store
from netassay.studies.aitac.assay import assay, trained
from netassay.studies.aitac.config import AitacConfig
from netassay.studies.aitac.fit import Fit, material


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    return str(easy_atlas().save(tmp_path_factory.mktemp("atlas") / "easy"))


def run_in_memory(config):
    memory = Memory()
    assert assay(config, memory).outcome is training.Outcome.FINISHED
    return memory


def test_training_is_adam_on_batches_in_the_order_of_the_seed(atlas):
    config = AitacConfig(atlas=atlas, **SMALL)
    memory, data = run_in_memory(config), material(config)
    fit = Fit(config, data)
    model = AITAC(4, length=60, n_filters=12, n_channels=8, n_hidden=16, dropout=0.0)
    model.load_state_dict(fit.model.state_dict())
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    assert fit.steps == 2 * -(-len(data.split.train) // 25)
    seen = []
    for step in range(fit.steps):
        rows = fit._batch(step)
        seen.append(rows)
        loss = pearson_loss(model.train()(data.atlas.sequences(rows)), data.atlas.heights[rows])
        assert memory.steps[step]["loss"] == pytest.approx(loss.item(), rel=1e-4)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    half = fit.per_epoch
    for epoch in (seen[:half], seen[half:]):
        assert torch.equal(torch.cat(epoch).sort().values, data.split.train)
    assert not torch.equal(torch.cat(seen[:half]), torch.cat(seen[half:]))


def test_a_last_batch_of_one_and_the_mode_after_an_evaluation(atlas):
    data = material(AitacConfig(atlas=atlas))
    config = AitacConfig(atlas=atlas, **{**SMALL, "batch_size": len(data.split.train) - 1})
    fit = Fit(config, data)
    assert fit.per_epoch == 2
    modes = []
    fit.model.register_forward_pre_hook(lambda module, given: modes.append((module.training, len(given[0]))))
    for step in range(3):
        fit.measure(step)
        fit.advance()
        assert fit.model.training  # also after the evaluation at the end of the epoch
    assert fit.best_epoch == 1
    whole = len(data.split.train) - 1
    assert modes == [(True, whole), (True, 1), (True, whole)]


def test_an_epoch_is_scored_in_evaluation_mode(atlas):
    """Predictions go past the module's own forward: what it gives in evaluation mode is what must be scored."""
    config = AitacConfig(atlas=atlas, **{**SMALL, "dropout": 0.5, "epochs": 1, "learning_rate": 0.01})
    data = material(config)
    fit = Fit(config, data)
    for step in range(fit.steps):
        fit.measure(step)
        fit.advance()
    found = fit.measure(fit.steps)
    plain = AITAC(4, length=60, n_filters=12, n_channels=8, n_hidden=16, dropout=0.5)
    plain.load_state_dict(fit.best)
    torch.manual_seed(0)  # of dropout, in training mode
    for rows, key in (
        (data.split.validation, ("validation_loss", "")),
        (data.split.test, ("test_loss", "")),
    ):
        x, heights = data.atlas.sequences(rows), data.heights[rows]
        with torch.no_grad():
            right = pearson_loss(plain.eval()(x), heights).item()
            wrong = pearson_loss(plain.train()(x), heights).item()
        assert found[key] == pytest.approx(right, rel=1e-5)
        assert abs(wrong - right) > 1e-2 * right
        plain.load_state_dict(fit.best)  # training mode moved the statistics


def test_any_module_predicts_in_evaluation_mode_and_is_left_as_it_was():
    class Probe(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.frozen = torch.nn.BatchNorm1d(4).eval()
            self.weight = torch.nn.Parameter(torch.ones(1))
            self.modes = []

        def forward(self, x):
            self.modes.append((self.training, self.frozen.training))
            return self.weight * x.sum(2)

    probe = Probe().train()
    probe.frozen.eval()
    predict(probe, torch.zeros(5, 30, dtype=torch.uint8), both_strands=True, batch=3)
    assert probe.modes == [(False, False)] * 4
    assert (probe.training, probe.frozen.training) == (True, False)


def test_the_epoch_is_chosen_on_validation_and_scored_on_test(atlas):
    config = AitacConfig(atlas=atlas, **{**SMALL, "epochs": 4, "learning_rate": 0.02})
    memory, data = run_in_memory(config), material(config)
    losses = [values[("validation_loss", "")] for values in memory.steps.values() if ("validation_loss", "") in values]
    assert len(losses) == 4
    last = memory.steps[max(memory.steps)]
    best = losses.index(min(losses)) + 1
    assert last[("best_epoch", "")] == best
    model = AITAC(4, length=60, n_filters=12, n_channels=8, n_hidden=16)
    tensors = memory.checkpoint.tensors
    model.load_state_dict({key.removeprefix("best/"): t for key, t in tensors.items() if key.startswith("best/")})
    rows = data.split.validation
    assert pearson_loss(predict(model, data.codes[rows]), data.heights[rows]).item() == pytest.approx(
        min(losses), rel=1e-5
    )
    r = pearson_rows(predict(model, data.codes[data.split.test]), data.heights[data.split.test])
    assert last[("r_mean", "test")] == pytest.approx(r.nanmean().item(), abs=1e-6)
    assert last[("r_undefined", "test")] == r.isnan().sum() == 1
    means = data.heights[data.split.train].mean(0).expand(len(r), 4)
    baseline = pearson_rows(means, data.heights[data.split.test]).nanmean().item()
    assert last[("r_mean", "baseline")] == pytest.approx(baseline, abs=1e-6)


def test_patience_ends_training_early(atlas):
    config = AitacConfig(atlas=atlas, **{**SMALL, "epochs": 60, "patience": 2, "learning_rate": 0.05})
    memory = run_in_memory(config)
    losses = [values[("validation_loss", "")] for values in memory.steps.values() if ("validation_loss", "") in values]
    assert len(losses) < 60
    assert losses.index(min(losses)) == len(losses) - 3
    assert ("r_mean", "test") in memory.steps[max(memory.steps)]


def test_augmentation_turns_and_moves_whole_sequences(atlas):
    config = AitacConfig(atlas=atlas, **SMALL, strands="augmented", shift=4)
    fit = Fit(config, material(config))
    rows = fit._batch(0)
    found, given = fit._augment(rows, 0), fit.data.codes[rows]
    other = torch.tensor([3, 2, 1, 0, 4], dtype=torch.uint8)[given.flip(1).int()]
    ways = set()
    for now, before, turned in zip(found, given, other, strict=True):
        fits = [
            (strand, shift)
            for strand, source in enumerate((before, turned))
            for shift in range(-4, 5)
            if torch.equal(now[max(shift, 0) : 60 + min(shift, 0)], source[max(-shift, 0) : 60 - max(shift, 0)])
            and (now == 4).sum() == abs(shift)
        ]
        assert len(fits) == 1
        ways.add(fits[0])
    assert {strand for strand, _ in ways} == {0, 1}
    assert len({shift for _, shift in ways}) > 4
    assert not torch.equal(found, fit._augment(rows, 1))


def test_nulls_change_what_they_say_and_never_the_test_heights(atlas):
    real = material(AitacConfig(atlas=atlas))
    for null in ("rows", "cells", "mononucleotide", "dinucleotide"):
        data = material(AitacConfig(atlas=atlas, null=null))
        test = data.split.test
        assert torch.equal(data.heights[test], real.heights[test])
        assert torch.equal(data.codes, real.codes) == (null in ("rows", "cells"))
        assert torch.equal(data.heights, real.heights) == (null not in ("rows", "cells"))


def test_a_model_beats_its_nulls_and_the_page_says_so(atlas, tmp_path):
    config = AitacConfig(
        atlas=atlas, **{**SMALL, "n_filters": 24, "n_channels": 16, "epochs": 14, "learning_rate": 5e-3}
    )
    assert summarise(perform(config, tmp_path, threads=1))["null"] is None
    nulls = {null: perform(config.replace(null=null), tmp_path, threads=1) for null in ("rows", "dinucleotide")}
    told = summarise(perform(config, tmp_path))
    json.dumps(told)
    assert told["test"]["r_mean"] > 0.5  # 0.58 on one processor, above 0.6 on others
    assert abs(told["null"]["rows"]["r_mean"]) < 0.15
    # composition alone tells these motifs in part
    assert told["null"]["dinucleotide"]["r_mean"] < told["test"]["r_mean"] - 0.1
    assert abs(told["baseline"]["r_mean"]) < 0.15
    run = next(run for run in Store(tmp_path).runs() if run.id == told["run"])
    peaks = run.table("peaks")
    assert peaks["r"].mean() == pytest.approx(told["test"]["r_mean"], abs=1e-9)
    assert peaks["r"].null_count() == 1
    assert run.table("classes")["peaks"].sum() == len(peaks) - 1
    assert torch.equal(trained(run).output.bias, run.checkpoint().tensors["best/output.bias"])
    page = report([run, *nulls.values()], tmp_path / "page.html").read_text()
    for words in ("SIMULATED", "null: rows", "null: dinucleotide", "baseline: column means"):
        assert words in page


def test_the_shipped_cross_validation_parts_no_chromosome():
    plan = tomllib.loads((files("netassay.studies.aitac") / "plans" / "cross_validation.toml").read_text())
    assert plan["base"]["split"] == "chromosome-folds" and len(plan["axes"]["fold"]) == 10


def test_a_cross_validation_is_a_plan_and_read_as_one(atlas, tmp_path):
    from netassay.studies.aitac.cross_validation import peak_means
    from netassay.sweeps import Plan, sweep

    base = {**SMALL, "atlas": atlas, "split": "folds", "folds": 3, "epochs": 1, "batch_size": 200}
    plan = Plan(study="aitac", base=base, axes={"repeat": [0, 1], "fold": [0, 1, 2]})
    laid = sweep(plan, tmp_path, execute=lambda folders, begun, ended: [_alone(f, begun, ended) for f in folders])
    runs = list(laid.runs)
    means = peak_means(runs)
    assert len(means) == 600
    constant = means.filter(pl.col("name") == "p3")
    assert constant["times"].item() == 0
    assert means.filter(pl.col("name") != "p3")["times"].unique().to_list() == [2]
    one = [run.table("peaks").filter(pl.col("name") == "p7")["r"] for run in runs]
    both = [r.item() for r in one if len(r)]
    assert means.filter(pl.col("name") == "p7")["r"].item() == pytest.approx(sum(both) / 2)
    assert "6 folds over 2 repetitions" in report(runs, tmp_path / "page.html").read_text()


def _alone(folder, begun, ended):
    from netassay.performing import resume

    begun(folder)
    resume(folder, threads=1)
    ended(folder, "")


def test_an_atlas_that_changed_is_refused_on_the_way_on(tmp_path):
    folder = easy_atlas().save(tmp_path / "atlas")
    config = AitacConfig(atlas=str(folder), **SMALL)
    memory = Memory()
    memory.stop = lambda: len(memory.steps) >= 3
    assert assay(config, memory).outcome is training.Outcome.INTERRUPTED
    folder.rename(tmp_path / "old")
    easy_atlas(seed=1).save(tmp_path / "atlas")
    memory.stop = lambda: False
    with pytest.raises(DataError, match="no longer what this run began with"):
        assay(config, memory)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"loss": "cross_entropy"}, "cross_entropy"),
        ({"loss": "poisson"}, "below 0"),
        ({"atlas": "nowhere"}, "nowhere"),
        ({"test_chromosomes": "chr9"}, "chr9"),
        ({"peaks": 601}, "600"),
        ({"split": "folds", "fold": 10}, "fold = 10"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_run_is_begun(atlas, tmp_path, change, words):
    with pytest.raises((DataError, ConfigError), match=words):
        perform(AitacConfig(**{"atlas": atlas, **SMALL, **change}), tmp_path / "runs")
    assert not Store(tmp_path / "runs").runs()


def test_fewer_peaks_are_the_same_for_every_seed(atlas):
    some = [material(AitacConfig(atlas=atlas, peaks=100, seed=seed, split="random")) for seed in (0, 1)]
    assert len(some[0].atlas) == 100
    assert some[0].atlas.digest == some[1].atlas.digest
    assert torch.equal(some[0].split.test, some[1].split.test)
