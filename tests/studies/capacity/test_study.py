"""The study as its users meet it: runs, refusals, pages."""

import json
import math

import numpy as np
import polars as pl
import pytest

from netassay import training
from netassay.capacity.corpus_bounds import verdict
from netassay.capacity.theorems import experiment_parameters
from netassay.cli import main
from netassay.errors import DataError, RunFailed
from netassay.formats.documents import END_WORD
from netassay.performing import perform, resume, summarise
from netassay.reporting import Figure
from netassay.runs import State
from netassay.studies.capacity.assay import build
from netassay.studies.capacity.config import CapacityConfig
from netassay.studies.capacity.fewest_pages import distinct_format, fit_table
from netassay.studies.capacity.findings import attempt_table, corpus_of
from netassay.studies.capacity.material import material
from netassay.studies.capacity.pages import sections
from netassay.sweeps import shipped

SMALL = CapacityConfig(document="line", length=5, width=16, narrowest=8, try_steps=120, gap=0.3)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three searches with all trained and one grid of two widths, of corpora of different sizes."""
    store = tmp_path_factory.mktemp("runs")
    searches = [SMALL.replace(widths="bisection", documents=n, tries=2) for n in (30, 40, 50)]
    grid = [SMALL.replace(widths="doubling", documents=n) for n in (30, 50)]
    return [perform(config, store, threads=1) for config in (*searches, *grid)]


def test_a_run_says_what_it_found(runs):
    run = runs[0]
    answer = summarise(run)
    read = material(CapacityConfig.from_mapping(run.config))
    assert answer["contexts"] == read.contexts.n
    assert answer["bound"] == read.contexts.bound_nats
    assert answer["corpus_sha256"] == read.digest
    attempts = attempt_table(run)
    assert attempts.equals(run.table("attempts"))
    met = attempts.filter("met")
    assert answer["fewest_width"] == met["width"].min()
    assert answer["fewest_parameters"] == experiment_parameters(read.to.vocabulary, met["width"].min())
    assert (met["gap"] <= 0.3).all()
    assert (attempts.filter(~pl.col("met"))["gap"] > 0.3).all()
    # every recorded loss stays above the bound, up to float32 rounding of the training loss
    assert (run.metrics("loss")["value"] >= answer["bound"] * (1 - 1e-6)).all()
    bounds = run.table("bounds")
    assert {"Lemma 9", "Theorem 13", "Theorem 21"} <= set(bounds["source"])


def test_the_best_model_is_kept_and_gives_the_recorded_loss(runs):
    from netassay.corpus.target import exact_loss
    from netassay.nets.decoder import ExperimentDecoder
    from netassay.numerics.devices import generator

    run = runs[0]
    best = attempt_table(run).filter("met").sort("width").row(0, named=True)
    read = material(CapacityConfig.from_mapping(run.config))
    model = ExperimentDecoder(read.to.vocabulary, best["width"], generator=generator(0, "any"))
    kept = run.checkpoint().tensors
    model.load_state_dict({k.removeprefix("best/"): t for k, t in kept.items() if k.startswith("best/")})
    assert exact_loss(model, read.to) == best["loss"]


def test_pages_draw_the_gaps_the_lines_and_the_losses(runs):
    drawn = {item.name: item for section in sections(runs) for item in section.items if hasattr(item, "name")}
    assert {
        "capacity-nats-1",
        "capacity-gap-1",
        "capacity-losses",
        "capacity-fewest-contexts",
        "capacity-fits",
        "capacity-bounds",
        "capacity-verdicts",
        "capacity-runs",
    } <= drawn.keys()
    cells = drawn["capacity-gap-1"].data
    assert cells.height == 4
    assert set(cells["width"]) == {8, 16}
    assert isinstance(drawn["capacity-losses"], Figure)
    curves = drawn["capacity-losses"].data
    assert (curves["ratio"] > 0.999).all()
    # two widths of each grid, and every first try of the search that has no grid beside it
    first = curves.filter(pl.col("step") == 0)
    by_panel = {name: held["width"].to_list() for (name,), held in first.group_by("panel", maintain_order=True)}
    searched = attempt_table(runs[1]).filter(pl.col("try") == 0)["width"].sort().to_list()
    assert list(by_panel.values()) == [[8, 16], searched, [8, 16]]
    fewest = drawn["capacity-fewest"].data
    assert fewest["contexts"].to_list() == sorted(corpus_of(run.metrics())["contexts"] for run in runs[:3])
    for row in fewest.to_dicts():
        assert row["fixed"] == 16 * row["vocabulary"] + 1088
        assert row["parameters"] == row["fixed"] + row["vocabulary"] * (row["neurons"] + 1) + 17 * row["neurons"]


def test_the_page_says_what_each_corpus_and_each_model_allow(runs):
    section = next(s for s in sections(runs) if s.title == "Bounds side by side")
    for run in runs[:3]:
        found = material(CapacityConfig.from_mapping(run.config)).contexts
        assert f"{100 * found.share_certain:.3g} % of the {found.n:,} contexts" in section.text
        assert summarise(run)["share_certain"] == found.share_certain
        assert summarise(run)["degrees_of_freedom_unequal"] == found.degrees_of_freedom_unequal
    assert "nine in ten" not in section.text
    table = next(item for item in section.items if item.name == "capacity-verdicts").data
    for row in table.to_dicts():
        run = next(r for r in runs if corpus_of(r.metrics())["contexts"] == row["contexts"])
        judged = verdict(
            material(CapacityConfig.from_mapping(run.config)).contexts,
            row["trained parameters"],
            width=row["neurons"],
        )
        assert (row["verdict"], row["worst case"]) == (judged.answer, judged.worst_case)
        assert row["not for almost all frequencies"] == judged.not_for_almost_all_frequencies
        assert row["unequal"] == judged.degrees_of_freedom_unequal
    bounds = next(item for item in section.items if item.name == "capacity-bounds").data
    assert bounds.filter(pl.col("says") == "expected")["leaves_out"].unique().to_list() == [
        "the fixed cost of embedding and attention"
    ]
    assert summarise(runs[0])["fewest_parameters_fixed"] == 16 * summarise(runs[0])["vocabulary"] + 1088


@pytest.mark.parametrize("single", [20, 60])
def test_one_width_and_one_search_lose_neither_curve_nor_cell(runs, single, tmp_path):
    one = perform(SMALL.replace(documents=single, width=8), tmp_path, threads=1)
    for order in ([one, runs[0]], [runs[0], one]):
        drawn = {item.name: item for s in sections(order) for item in s.items if hasattr(item, "name")}
        curves = drawn["capacity-losses"].data.filter(pl.col("step") == 0)
        tried = {(corpus_of(r.metrics())["contexts"], w) for r in order for w in attempt_table(r)["width"]}
        assert curves.height == len(tried) > 1
        cells = drawn["capacity-gap-1"].data
        assert {(n, w) for n, w in cells.select("contexts", "width").iter_rows()} == tried


@pytest.mark.parametrize("gap", [0.009996, 0.00999999, 0.0100004, 0.01])
def test_a_gap_beside_its_criterion_shows_on_which_side_it_is(gap):
    table = pl.DataFrame({"gap": [gap, None, 0.5], "criterion": [0.01, 0.01, None]})
    spec = distinct_format(table, "gap", "criterion")
    assert (f"{gap:{spec}}" == f"{0.01:{spec}}") == (gap == 0.01)
    assert distinct_format(pl.DataFrame({"gap": [0.2], "criterion": [0.01]}), "gap", "criterion") == ".3g"


def test_slope_ratios_come_with_both_kinds_of_training():
    rows = [
        {
            "trained": trained,
            "contexts": n,
            "degrees_of_freedom": n,
            "information_bits": float(n),
            "vocabulary": n,
            "parameters": slope * n + 7 + n % 3,
        }
        for trained, slope in (("all parameters", 10), ("feed-forward part", 50))
        for n in (100, 200, 300, 400)
    ]
    ratios = fit_table(pl.DataFrame(rows)).filter(pl.col("trained") == "ratio of slopes")
    assert ratios.height == 4
    assert ratios["slope"].to_list() == pytest.approx([5.0] * 4, rel=1e-2)


def test_output_layer_alone_is_trained_by_newtons_method(tmp_path):
    run = perform(
        SMALL.replace(trained="output", documents=30, width=64, gap=0.05, try_steps=None), tmp_path, threads=1
    )
    assert attempt_table(run)["met"].to_list() == [True]
    assert run.step < 60


def test_a_changed_corpus_is_refused_on_resuming(tmp_path):
    corpus = tmp_path / "corpus.txt"
    lines = [f"the {i % 3} and the {i % 5} of {i % 2}" for i in range(20)]
    corpus.write_text("\n".join(lines))
    config = CapacityConfig(corpus=str(corpus), document="line", width=4, try_steps=40, gap=1e-4)

    def fail(step, values):
        if step == 20:
            raise ZeroDivisionError

    with pytest.raises(RunFailed):
        perform(config, tmp_path / "runs", threads=1, commit_seconds=0.0, watch=fail)
    (folder,) = (tmp_path / "runs").glob("capacity-*")
    corpus.write_text("\n".join(reversed(lines)))
    with pytest.raises(RunFailed, match="not the one this run began with"):
        resume(folder, threads=1)
    corpus.write_text("\n".join(lines))
    assert resume(folder, threads=1).state is State.FINISHED


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--corpus", "nowhere.txt"], "nowhere.txt"),
        (["--documents", "2000"], "holds 79"),
        (["--tokenizer", "wordpuct"], "allowed are wordpunct"),
        (["--documents", "2", "--length", "2"], "bound of the first 2 tokens"),
        (["--widths", "bisection", "--narrowest", "9", "--width", "8"], "narrowest = 9"),
        (["--trained", "al"], "al"),
    ],
)
def test_bad_input_is_reported_and_leaves_nothing(flags, words, tmp_path, capsys):
    assert main(["capacity", *flags, "--store", str(tmp_path / "runs")]) == 2
    told = capsys.readouterr()
    assert words in told.err
    assert "Traceback" not in told.err
    assert not list((tmp_path / "runs").glob("capacity-*"))


def test_the_command_line_gives_json(tmp_path, capsys):
    flags = ["--document", "line", "--documents", "20", "--length", "4", "--width", "8", "--try-steps", "30"]
    assert main(["capacity", *flags, "--store", str(tmp_path), "--format", "json", "--threads", "1"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["status"] == "finished"
    assert answer["attempts"] == 1


def test_shipped_plans_are_plans_of_this_study():
    for name in ("demo", "grid", "fewest", "paper"):
        assert "capacity" in [plan.study for plan in shipped(name)]


def test_too_few_documents_are_refused():
    with pytest.raises(DataError, match="holds 79; ask for that many or fewer"):
        material(CapacityConfig(documents=80))


class Counting:
    """A trainee that is over after four steps."""

    def __init__(self):
        self.count = 0

    def measure(self, step):
        return {"loss": 1.0}

    def advance(self):
        self.count += 1

    def state(self):
        return {}, {"count": self.count}

    def load(self, tensors, facts):
        self.count = facts["count"]


class Kept:
    def __init__(self):
        self.checkpoints, self.steps = [], []

    def latest(self):
        return self.checkpoints[-1] if self.checkpoints else None

    def record(self, step, values):
        self.steps.append(step)

    def commit(self, checkpoint):
        self.checkpoints.append(checkpoint)

    def stop_requested(self):
        return False


def test_a_run_may_be_over_before_its_steps_are_done():
    kept = Kept()
    for _ in range(2):  # the second time nothing is left to do
        trainee = Counting()
        result = training.train(trainee, kept, steps=100, over=lambda trainee=trainee: trainee.count == 4)
        assert result == training.Result(training.Outcome.FINISHED, 4)
        assert kept.checkpoints[-1].step == 4
    assert kept.steps == [0, 1, 2, 3]


def test_a_width_too_narrow_for_its_output_layer_is_proved_unable(tmp_path):
    run = perform(SMALL.replace(trained="output", documents=30, width=3, gap=0.05, try_steps=None), tmp_path, threads=1)
    (attempt,) = attempt_table(run).to_dicts()
    assert attempt["proved"]
    assert not attempt["met"]
    assert attempt["steps"] < 100


def test_old_configs_keep_their_digests():
    """Configs of runs from before the keys of token ids, exact length and end tokens."""
    assert CapacityConfig().digest == "9be86be6c40341bc83862c01ebcb54abdf86624c6412b6897629d9bb798a0076"
    assert (
        CapacityConfig(corpus="a.jsonl", column="body", documents=100, length=7, width=32).digest
        == "664cee1bfbed273909e9ea1ae385b55266663d5c991ad2399034dd8a131125be"
    )
    assert CapacityConfig(exact_length=True).digest != CapacityConfig().digest


def test_a_corpus_of_token_ids_and_its_words(tmp_path):
    ids = [5, 1, 2, 9, 5, 1, 3, 9, 5, 4, 9, 9]
    (tmp_path / "ids.bin").write_bytes(np.array(ids, "<u2").tobytes())
    given = {"corpus": str(tmp_path / "ids.bin"), "dtype": "uint16", "length": 4}
    read = material(CapacityConfig(**given, end=9))
    assert (read.contexts.documents, read.words) == (4, None)
    assert read.contexts.bound_nats == pytest.approx(3 * math.log(3))
    exact = material(CapacityConfig(**given, end=9, exact_length=True))
    assert (exact.contexts.documents, exact.contexts.bound_nats) == (2, pytest.approx(2 * math.log(2)))
    with pytest.raises(DataError, match="the end token does not occur"):
        material(CapacityConfig(**given, end=999))
    with pytest.raises(DataError, match="of token ids state the end that closes each"):
        material(CapacityConfig(**given))
    with pytest.raises(DataError, match="to which these do not apply: end"):
        build(CapacityConfig(end=3))
    with pytest.raises(DataError, match="all documents are shorter than 9"):
        material(CapacityConfig(**{**given, "length": 9}, end=9, exact_length=True))


def test_a_run_keeps_the_words_of_its_tokens(tmp_path):
    (tmp_path / "a.txt").write_text("the cat sat\nthe dog sat\nthe cat\n")
    config = CapacityConfig(corpus=str(tmp_path / "a.txt"), add_end=True, width=2, try_steps=2)
    run = perform(config, tmp_path / "runs", threads=1)
    assert run.checkpoint().facts["trainee"]["words"] == ["the", "cat", "sat", END_WORD, "dog"]
