"""NaN, infinity, zero gradients, constant data, one of anything: a status with words, a page and JSON."""

import json
import math
import re
import warnings

import polars as pl
import pytest
from broken_numbers import CASES
from hand_made_runs import hand_made

from netassay.cli import main
from netassay.errors import ConfigError, DataError, ModelError, RunFailed, RunWarning
from netassay.performing import perform
from netassay.presenting import report
from netassay.runs import Store
from netassay.sweeps import Plan, sweep
from netassay.sweeps.local import LocalProcesses

REFUSED, FINISHED, DIVERGED, FAILED = "refused", "finished", "diverged", "failed"
NOTHING_TO_LEARN = (REFUSED, "every training example has the same target")
NOTHING_UNCERTAIN = (REFUSED, "no context has two continuations")
EXPECTED = {
    ("edge", "infinite step"): (DIVERGED, "diverged at step 1: the loss is inf"),
    ("edge", "diverging"): (DIVERGED, r"diverged at step \d+: the loss is .*1000 times the first"),
    ("edge", "constant data"): (FINISHED, "^$"),
    ("edge", "zero gradients"): (FINISHED, "^$"),
    ("edge", "one example"): (FINISHED, "^$"),
    ("edge", "one class"): (FINISHED, "^$"),
    ("edge", "one output"): (FINISHED, "^$"),
    ("edge", "NaN in data"): (REFUSED, r"data\.npz: x holds NaN or infinity, first in example \d"),
    ("edge", "infinity in data"): (REFUSED, r"data\.npz: x holds NaN or infinity, first in example \d"),
    ("edge", "numbers beyond float32"): (REFUSED, "x holds numbers too large for float32; scale them"),
    ("edge-stepsize", "constant data"): (FINISHED, "^$"),
    ("edge-stepsize", "zero gradients"): (FINISHED, "^$"),
    ("edge-stepsize", "one example"): NOTHING_TO_LEARN,
    ("edge-stepsize", "one class"): NOTHING_TO_LEARN,
    ("edge-stepsize", "NaN in data"): (REFUSED, "x holds NaN or infinity"),
    ("capacity", "one document"): NOTHING_UNCERTAIN,
    ("capacity", "one token"): NOTHING_UNCERTAIN,
    ("capacity", "nothing uncertain"): NOTHING_UNCERTAIN,
    ("capacity", "single tokens"): NOTHING_UNCERTAIN,
    ("capacity", "infinite step"): (FINISHED, "^$"),
    ("capacity", "diverging"): (FINISHED, "^$"),
    ("memorisation", "one document"): (FINISHED, "^$"),
    ("memorisation", "one token"): (FINISHED, "^$"),
    ("memorisation", "single tokens"): (REFUSED, "no row has two tokens, so there is nothing to predict"),
    ("aitac", "constant heights"): (FINISHED, "^$"),
    ("aitac", "zero heights"): (FINISHED, "^$"),
    ("aitac", "one cell type"): (REFUSED, "has 1 cell types, and a correlation across them needs three"),
    ("aitac", "NaN in heights"): (REFUSED, r"of its heights are NaN or infinite, the first that of peak 'p\d+'"),
    ("aitac", "infinite heights"): (REFUSED, r"of its heights are NaN or infinite, the first that of peak 'p\d+'"),
    ("aitac", "infinite step"): (DIVERGED, r"diverged at step \d+: the loss is nan"),
    ("aitac", "huge heights"): (FINISHED, "^$"),
}


def no_constant(word):
    raise AssertionError(f"{word} is no JSON")


def strict(text):
    return json.loads(text, parse_constant=no_constant)


def outcome(config, store):
    """How a run ends, and what is said of it."""
    try:
        run = perform(config, store, threads=1)
    except (ConfigError, DataError, ModelError) as refused:
        return REFUSED, str(refused)
    except RunFailed as failed:
        return FAILED, str(failed)
    return str(run.state), run.message


@pytest.mark.parametrize(("study", "name"), [(study, name) for study, cases in CASES.items() for name in cases])
def test_status_and_words(tmp_path, capsys, study, name):
    config = CASES[study][name](tmp_path)
    end, words = outcome(config, tmp_path / "store")
    expected, pattern = EXPECTED[study, name]
    assert (end, bool(re.search(pattern, words))) == (expected, True), (end, words)
    assert len(words) < 500
    assert "Error:" not in words
    if end == REFUSED:
        assert Store(tmp_path / "store").runs() == []  # nothing is left of it
        return
    (run,) = Store(tmp_path / "store").runs()
    assert all(len(sentence) < 500 for sentence in run.findings)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RunWarning)  # of a run that cannot be drawn
        report([run], tmp_path / "page.html")
    store = ["--store", str(tmp_path / "store")]
    for words in (
        ["show", run.id],
        ["show", run.id, "--what", "metrics"],
        ["show", run.id, "--what", "tables"],
        ["runs"],
    ):
        assert main([*words, *store, "--format", "json"]) == 0
        strict(capsys.readouterr().out)
    assert main(["export", str(tmp_path / "all.json"), *store]) == 0
    strict((tmp_path / "all.json").read_text())


def test_a_sweep_goes_on_past_numbers_that_break(tmp_path):
    config = CASES["edge"]["one class"](tmp_path)
    base = {key: value for key, value in config.mapping().items() if key not in ("study", "step_size")}
    plan = Plan(study="edge", base=base, axes={"step_size": [1e300, 0.2, 0.1]})
    done = sweep(plan, tmp_path / "store", execute=LocalProcesses(1, 1))
    assert not done.failed
    assert [str(run.state) for run in done.runs] == [DIVERGED, FINISHED, FINISHED]


def test_a_trial_that_diverged_says_so(tmp_path):
    run = perform(CASES["capacity"]["infinite step"](tmp_path), tmp_path / "store", threads=1)
    assert "There the loss became NaN or infinite: a smaller --step-size might." in run.findings[0]


def test_nan_is_another_thing_than_missing_wherever_it_is_shown(tmp_path, capsys):
    rows = [(0, "loss", "", 1.0), (1, "loss", "", math.nan), (1, "gap", "", math.inf), (2, "gap", "", -math.inf)]
    table = pl.DataFrame({"name": ["a", "b"], "value": [math.nan, None]})
    run = hand_made(tmp_path / "store", "edge", rows, {"numbers": table})
    numbers = {(step, name): value for step, name, _, value in run.metrics().iter_rows()}
    assert len(numbers) == 4  # (2, loss) is missing
    assert math.isnan(numbers[1, "loss"])
    assert math.isnan(run.last_values()["loss", ""])
    assert run.table("numbers").equals(table, null_equal=True)
    assert run.table("numbers")["value"].is_null().to_list() == [False, True]

    def printed(*words):
        assert main(["show", run.id, "--store", str(tmp_path / "store"), "--what", *words]) == 0
        return capsys.readouterr().out

    values = [row["value"] for row in strict(printed("metrics", "--format", "json"))]
    assert set(values) == {1.0, "NaN", "Infinity", "-Infinity"}
    shown = strict(printed("tables", "--name", "numbers", "--format", "json"))
    assert [row["value"] for row in shown] == ["NaN", None]
    assert printed("tables", "--name", "numbers", "--format", "csv").splitlines()[1:] == ["a,NaN", "b,"]
    assert "NaN" in printed("tables", "--name", "numbers")
    assert main(["export", str(tmp_path / "all.json"), "--store", str(tmp_path / "store")]) == 0
    exported = strict((tmp_path / "all.json").read_text())
    assert {row["value"] for row in exported} == {1.0, "NaN", "Infinity", "-Infinity"}
