"""What every kind of run owes that can be performed: run on each of them, known by name alone."""

import hashlib
import json
import math
import shutil
import warnings
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
import torch
from every_kind import EXAMPLE, PERFORMED, STUDIES, installed, python, tiny, tracked, write_metadata

from netassay import study
from netassay.cli import main
from netassay.config import read
from netassay.errors import ConfigError, RunDamaged, RunFailed, RunWarning, StoreError
from netassay.performing import perform, resume, summarise
from netassay.presenting import report
from netassay.runs import Run, State, Store
from netassay.runs.ledger import canonical

every_kind = pytest.mark.parametrize("name", PERFORMED)
every_study = pytest.mark.parametrize("name", STUDIES)
every_page = pytest.mark.parametrize("name", [*PERFORMED, "edge-tracker"])


@pytest.fixture(scope="module", autouse=True)
def _the_example_is_installed(tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    write_metadata(site, EXAMPLE)
    with installed(site, EXAMPLE):
        yield


class Kinds:
    """The finished small run of each kind, made once, and stores that hold what another needs."""

    def __init__(self, folder):
        self.folder, self.runs = folder, {}

    def config(self, name):
        derived = name not in STUDIES
        return tiny(name, self.finished("aitac") if derived else None, self.folder)

    def finished(self, name):
        if name not in self.runs:
            make = tracked if name == "edge-tracker" else self._performed
            self.runs[name] = make(name, self.folder / "runs")
        return self.runs[name]

    def prepare(self, name, store):
        """Puts what a run is made from into a store; gives a file of its config, and how to open the run."""
        config = self.config(name)
        if name not in STUDIES:
            subject = self.finished("aitac")
            shutil.copytree(subject.folder, store / subject.id, dirs_exist_ok=True)
        file = store.parent / f"{name}.json"
        file.write_text(config.canonical)
        return file, lambda: Run.open(store / f"{name}-{config.digest[:12]}")

    def _performed(self, name, store):
        return perform(self.config(name), store, threads=1)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    return Kinds(tmp_path_factory.mktemp("kinds"))


@pytest.fixture
def store(tmp_path):
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


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


@every_kind
def test_config_survives_toml_and_json(name, kinds, tmp_path):
    config = kinds.config(name)
    (tmp_path / "config.json").write_text(config.canonical)
    lines = [f"{key} = {json.dumps(value)}" for key, value in config.mapping().items() if value is not None]
    (tmp_path / "config.toml").write_text("\n".join(lines))
    for path in tmp_path.glob("config.*"):
        again = study.configure(read(path))
        assert again == config
        assert again.digest == config.digest


@every_kind
def test_every_key_is_explained_and_has_a_default(name):
    config = study.find(name).config
    for row in config.explain():
        assert row.meaning, f"{row.key} has no docstring"
        assert row.allowed, row.key
    config()


@every_kind
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


@every_study
def test_study_command_and_its_help_exist(name, capsys):
    assert main(["--help"]) == 0
    assert name in capsys.readouterr().out
    assert main([name, "--help"]) == 0
    assert "Example: netassay" in " ".join(capsys.readouterr().out.split())


@every_kind
def test_a_small_run_is_whole(name, kinds):
    run = kinds.finished(name)
    assert run.state is State.FINISHED
    assert run.verify() == []
    assert run.metrics().height
    assert {"metrics"} < set(run.tables())
    json.dumps(summarise(run))


@every_kind
def test_every_metric_is_described(name, kinds):
    """The documentation's table of metrics is made of METRICS; what a config can ask for besides has its own."""
    if "-" in name or name not in study.builtin():
        pytest.skip("an experiment of a study, described in prose, or a study of another package")
    findings = study.find(name).findings
    for metric, part in kinds.finished(name).metrics().select("name", "part").unique().iter_rows():
        assert any(row.is_of(metric, part) for row in findings.METRICS), (metric, part)


KILLED = """
import os, signal, sys
from pathlib import Path
from netassay.performing import perform
from netassay.study import configure_from
def die(step, values):
    if step == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
perform(configure_from(Path(sys.argv[1])), sys.argv[2], threads=1, commit_seconds=0.05, watch=die)
"""


@every_kind
def test_killed_and_resumed_equals_uninterrupted(name, kinds, store, tmp_path):
    last = kinds.finished(name).metrics()["step"].max()
    file, run = kinds.prepare(name, store)
    died = python(KILLED, file, store, last * 2 // 3)
    assert died.returncode == -9, died.stderr
    assert run().state is State.KILLED
    assert run().id in page_of([run()], tmp_path)
    same_numbers(resume(run().folder), kinds.finished(name))


STOPPED = """
import os, signal, sys
from netassay.cli import main
import netassay.performing as p
done = []
original = p.perform
def stopping(config, store, **keywords):
    def watch(step, values):
        done.append(step)
        if len(done) == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGTERM)
    return original(config, store, **{**keywords, "watch": watch})
p.perform = stopping
sys.exit(main(sys.argv[2:]))
"""


@every_kind
def test_a_stop_signal_keeps_a_checkpoint_and_says_how_to_go_on(name, kinds, store):
    steps = kinds.finished(name).metrics()["step"].n_unique()
    file, run = kinds.prepare(name, store)
    words = [name, "--config", file, "--store", store]
    if name not in STUDIES:  # what is made from a run has a command that takes the run: it is planned and resumed here
        config = study.configure_from(file)
        planned = Run.create(store, study=name, config=config.mapping(), digest=config.digest)
        words = ["resume", planned.folder]
    stopped = python(STOPPED, min(3, steps - 1), *words, "--threads", "1")
    assert stopped.returncode == 143, stopped.stderr
    assert "netassay resume" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert run().state is State.INTERRUPTED
    assert run().checkpoint() is not None
    same_numbers(resume(run().folder), kinds.finished(name))


@every_kind
def test_a_finished_run_is_left_as_it_is(name, kinds):
    run = kinds.finished(name)
    before = contents(run)
    perform(kinds.config(name), run.folder.parent)
    assert before == contents(run)


def contents(run):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in run.folder.rglob("*") if path.is_file()}


@every_kind
def test_no_error_leaves_a_run_that_says_it_is_running(name, kinds, store):
    def fail(step, values):
        raise ZeroDivisionError("made for a test")

    _, run = kinds.prepare(name, store)
    with pytest.raises(RunFailed, match="made for a test"):
        perform(kinds.config(name), store, threads=1, watch=fail)
    assert run().state is State.FAILED
    assert "made for a test" in run().message


def half(run: Run, store, state: State | None) -> Run:
    """A run with the first half of another's numbers, ended as `state`, or left planned."""
    copy = Run.create(store, study=run.study, config=run.config, digest=run.digest, package=run.package)
    if state is None:
        return copy
    with copy.writer({}) as writer:
        middle = write_half(run, writer)
        if state is State.DIVERGED:
            writer.record(middle + 1, {"loss": math.nan})
        writer.finish(state, step=middle + 1, message="made for a test")
    return copy


def write_half(run, writer):
    metrics = run.metrics()
    middle = metrics["step"].max() // 2
    for (step,), rows in metrics.filter(pl.col("step") <= middle).group_by("step", maintain_order=True):
        writer.record(step, {(name, part): value for _, name, part, value in rows.iter_rows()})
    return middle


class Text(HTMLParser):
    def __init__(self):
        super().__init__()
        self.words = []

    def handle_data(self, data):
        self.words.append(data)


def page_of(runs, folder):
    page = Text()
    page.feed(report(runs, folder / "page.html").read_text())
    return "".join(page.words)


@every_page
def test_pages_are_drawn_for_no_runs(name):
    assert study.find(name, tracked=True).pages.sections([])


@every_page
@pytest.mark.parametrize("state", [None, State.INTERRUPTED, State.FAILED, State.DIVERGED, State.FINISHED])
def test_pages_are_drawn_for_a_run_in_any_state(name, kinds, tmp_path, state):
    whole = kinds.finished(name)
    run = whole if state is State.FINISHED else half(whole, tmp_path, state)
    assert run.id in page_of([run], tmp_path)
    json.dumps(summarise(run))


@every_page
def test_pages_are_drawn_while_a_run_is_written(name, kinds, store, tmp_path):
    whole = kinds.finished(name)
    run = half(whole, store, None)
    with run.writer({}) as writer:
        write_half(whole, writer)
        assert run.state is State.RUNNING
        assert run.id in page_of([run], tmp_path)
        json.dumps(summarise(run))


@every_page
def test_a_damaged_run_is_named_and_stops_no_page_of_others(name, kinds, tmp_path):
    whole = kinds.finished(name)
    files = sorted(path for path in whole.folder.rglob("*") if path.is_file() and path.stat().st_size > 64)
    assert any(path.name == "run.sqlite" for path in files)
    for number, path in enumerate(file for file in files if file.suffix != ".sha256" and file.name != "lock"):
        store = tmp_path / str(number)
        shutil.copytree(whole.folder, store / whole.id)
        sound = half(other(whole), store, State.FINISHED)
        damage(store / whole.id / path.relative_to(whole.folder))
        assert any(problem.run == whole.id for problem in Store(store).verify()), path
        runs = Store(store).runs()
        if len(runs) == 1:  # it does not even open, and is listed as damaged
            assert [row["state"] for row in Store(store).table().to_dicts()].count("damaged") == 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RunWarning)
            words = page_of(runs, tmp_path)
        assert all(run.id in words for run in [*runs, sound]), path
        for run in runs:
            try:
                json.dumps(summarise(run))
            except StoreError as refused:
                assert isinstance(refused, RunDamaged)
                assert whole.id in str(refused)


def other(run):
    """The same numbers under another config."""
    config = run.config | {"seed": 7}
    return replace(run, config=config, digest=hashlib.sha256(canonical(config).encode()).hexdigest())


def damage(path):
    """Other bytes in the middle of a file, as many as a disk writes at once."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    size = min(4096, middle // 2)
    content[middle - size : middle + size] = bytes(255 - byte for byte in content[middle - size : middle + size])
    path.write_bytes(content)


KILLED_LOOP = """
import os, sys
sys.path.insert(0, sys.argv[1])
from every_kind import tracked
tracked("edge-tracker", sys.argv[2], lambda run: os.kill(os.getpid(), 9))
"""


def test_a_tracked_run_whose_loop_fails_or_is_killed_has_pages(tmp_path):
    def fail(run):
        raise ZeroDivisionError("the loop's own")

    with pytest.raises(ZeroDivisionError):
        tracked("edge-tracker", tmp_path / "failed", fail)
    (failed,) = Store(tmp_path / "failed").runs()
    assert failed.state is State.INTERRUPTED
    drawn = []
    tracked("edge-tracker", tmp_path / "running", lambda run: drawn.append((run.state, page_of([run], tmp_path))))
    ((state, words),) = drawn
    assert state is State.RUNNING
    assert Store(tmp_path / "running").runs()[0].id in words

    died = python(KILLED_LOOP, Path(__file__).parents[1], tmp_path / "killed")
    assert died.returncode == -9, died.stderr
    (killed,) = Store(tmp_path / "killed").runs()
    assert killed.state is State.KILLED
    for run in (failed, killed):
        assert run.id in page_of([run], tmp_path)
        json.dumps(summarise(run))


@pytest.mark.parametrize("name", sorted({*study.drawable()} - {*study.plugins().usable}))
def test_every_study_has_a_question_a_reading_and_references(name):
    rules = study.find(name, tracked=True).rules
    assert rules.QUESTION.endswith("?") and rules.READING.endswith(".") and rules.REFERENCES
