"""What every registered study owes: run on each of them, known by name alone."""

import json
import math
import subprocess
import sys
import time
from html.parser import HTMLParser

import polars as pl
import pytest
import torch

from netassay import study
from netassay.config import read
from netassay.errors import ConfigError
from netassay.performing import perform, resume, summarise
from netassay.presenting import report
from netassay.runs import Run, State

pytestmark = pytest.mark.parametrize("name", study.names())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The finished tiny run of a study, made once."""
    made = {}

    def make(name):
        if name not in made:
            made[name] = perform(study.find(name).tiny(), tmp_path_factory.mktemp(name), threads=1)
        return made[name]

    return make


def same_numbers(one: Run, other: Run) -> None:
    assert one.metrics().equals(other.metrics(), null_equal=True)
    a, b = one.checkpoint(), other.checkpoint()
    assert a.step == b.step
    assert a.facts == b.facts
    assert a.tensors.keys() == b.tensors.keys()
    for key in a.tensors:
        assert torch.equal(a.tensors[key], b.tensors[key]), key
    for table in one.tables():
        assert one.table(table).equals(other.table(table), null_equal=True), table


def test_config_survives_toml_and_json(name, tmp_path):
    config = study.find(name).tiny()
    (tmp_path / "config.json").write_text(config.canonical)
    lines = [f"{key} = {json.dumps(value)}" for key, value in config.mapping().items() if value is not None]
    (tmp_path / "config.toml").write_text("\n".join(lines))
    for path in tmp_path.iterdir():
        again = study.configure(read(path))
        assert again == config
        assert again.digest == config.digest


def test_every_key_is_explained_and_has_a_default(name):
    config = study.find(name).config
    for row in config.explain():
        assert row.meaning, f"{row.key} has no docstring"
        assert row.allowed, row.key
    config()


def test_values_out_of_range_are_refused_by_key(name):
    config = study.find(name).config
    bounded = 0
    for key, field in config.model_fields.items():
        wrong = [object()]
        for rule in field.metadata:
            for bound, step in (("ge", -1), ("le", 1), ("gt", 0), ("lt", 0)):
                if (limit := getattr(rule, bound, None)) is not None:
                    wrong.append(type(limit)(limit + step))
        bounded += len(wrong) > 1
        for value in wrong:
            with pytest.raises(ConfigError, match=key):
                config(**{key: value})
    assert bounded, "no key of this study has a range"
    with pytest.raises(ConfigError, match="did you mean"):
        config(**{key + "x": 1})


def test_tiny_takes_seconds_and_leaves_a_whole_run(name, finished):
    begun = time.process_time()
    run = finished(name)
    assert time.process_time() - begun < 10
    assert run.state is State.FINISHED
    assert run.verify() == []
    assert run.metrics().height
    assert {"metrics"} < set(run.tables())
    json.dumps(summarise(run))


def test_every_metric_is_described(name, finished):
    """The documentation's table of metrics is made of METRICS; what a config can ask for besides has its own."""
    if "-" in name:
        pytest.skip("an experiment of a study, described in prose")
    findings = study.find(name).findings
    for metric, part in finished(name).metrics().select("name", "part").unique().iter_rows():
        assert any(row.is_of(metric, part) for row in findings.METRICS), (metric, part)


def test_killed_and_resumed_equals_uninterrupted(name, finished, tmp_path):
    last = finished(name).metrics()["step"].max()
    code = """
import os, signal, sys
from netassay import study
from netassay.performing import perform
last = int(sys.argv[3])
def die(step, values):
    if step == last * 2 // 3:
        os.kill(os.getpid(), signal.SIGKILL)
perform(study.find(sys.argv[1]).tiny(), sys.argv[2], threads=1, commit_seconds=0.05, watch=die)
"""
    died = subprocess.run([sys.executable, "-c", code, name, str(tmp_path), str(last)], capture_output=True)
    assert died.returncode == -9, died.stderr.decode()
    config = study.find(name).tiny()
    run = Run.create(tmp_path, study=name, config=config.mapping(), digest=config.digest)
    assert run.state is State.KILLED
    same_numbers(resume(run.folder), finished(name))


def test_a_stop_signal_keeps_a_checkpoint_and_says_how_to_go_on(name, finished, tmp_path):
    code = """
import os, signal, sys
from netassay.cli import main
from netassay import study
import netassay.performing as p
done = []
original = p.perform
def stopping(config, store, **keywords):
    def watch(step, values):
        done.append(step)
        if len(done) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
    return original(config, store, **{**keywords, "watch": watch})
p.perform = stopping
open("c.json", "w").write(study.find(sys.argv[1]).tiny().canonical)
sys.exit(main([sys.argv[1], "--config", "c.json", "--store", sys.argv[2], "--threads", "1"]))
"""
    stopped = subprocess.run(
        [sys.executable, "-c", code, name, str(tmp_path)], capture_output=True, text=True
    )
    assert stopped.returncode == 143, stopped.stderr
    assert "netassay resume" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    config = study.find(name).tiny()
    run = Run.create(tmp_path, study=name, config=config.mapping(), digest=config.digest)
    assert run.state is State.INTERRUPTED
    assert run.checkpoint() is not None
    same_numbers(resume(run.folder), finished(name))


def test_a_finished_run_is_left_as_it_is(name, finished):
    run = finished(name)
    before = {
        path: (path.stat().st_mtime_ns, path.read_bytes()) for path in run.folder.rglob("*") if path.is_file()
    }
    perform(study.find(name).tiny(), run.folder.parent)
    assert before == {
        path: (path.stat().st_mtime_ns, path.read_bytes()) for path in run.folder.rglob("*") if path.is_file()
    }


def half(run: Run, store, state: State | None) -> Run:
    """A copy of the first half of a run's numbers, ended as `state`, or left planned."""
    copy = Run.create(store, study=run.study, config=run.config, digest=run.digest)
    if state is None:
        return copy
    metrics = run.metrics()
    middle = metrics["step"].max() // 2
    with copy.writer({}) as writer:
        for (step,), rows in metrics.filter(pl.col("step") <= middle).group_by("step", maintain_order=True):
            values = {(name, part): value for _, name, part, value in rows.iter_rows()}
            writer.record(step, values)
        if state is State.DIVERGED:
            writer.record(middle + 1, {"loss": math.nan})
        writer.finish(state, step=middle + 1, message="made for a test")
    return copy


class Text(HTMLParser):
    def __init__(self):
        super().__init__()
        self.words = []

    def handle_data(self, data):
        self.words.append(data)


def test_pages_are_drawn_for_no_runs(name):
    assert study.find(name).pages.sections([])


@pytest.mark.parametrize("state", [None, State.INTERRUPTED, State.FAILED, State.DIVERGED, State.FINISHED])
def test_pages_are_drawn_for_a_run_in_any_state(name, finished, tmp_path, state):
    run = finished(name) if state is State.FINISHED else half(finished(name), tmp_path, state)
    page = Text()
    page.feed(report([run], tmp_path / "page.html").read_text())
    assert run.id in "".join(page.words)
    json.dumps(summarise(run))


def test_no_error_leaves_a_run_that_says_it_is_running(name, tmp_path):
    def fail(step, values):
        raise ZeroDivisionError("made for a test")

    from netassay.errors import RunFailed

    with pytest.raises(RunFailed, match="made for a test"):
        perform(study.find(name).tiny(), tmp_path, threads=1, watch=fail)
    (folder,) = (path for path in tmp_path.iterdir() if path.name.startswith(name))
    assert Run.open(folder).state is State.FAILED
    assert "made for a test" in Run.open(folder).message
