"""The frame around the chapters: order, tables kept, reasons told, resumption; with two chapters made for the test."""

import json
from pathlib import Path

import polars as pl
import pytest

from netassay.cli import main
from netassay.errors import ConfigError, DataError, Interrupted, RunFailed
from netassay.formats.meme import read_meme
from netassay.interpreting import interpret, repetitions
from netassay.performing import perform, resume, summarise
from netassay.presenting import report
from netassay.reporting import Note, Section
from netassay.runs import Run, State, Store
from netassay.studies.aitac.config import tiny
from netassay.studies.aitac.interpret import assay, config, pages


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    config = tiny().replace(peaks=200, epochs=1)
    store = tmp_path_factory.mktemp("store")
    return [perform(config.replace(seed=seed), store, threads=1) for seed in (0, 1)]


@pytest.fixture
def made(monkeypatch):
    """Chapters first and second, which needs it, and broken; the calls are counted."""
    calls = []

    def first(subject, config):
        calls.append("first")
        return {"heights": pl.DataFrame({"mean": subject.heights.mean(1).tolist()})}

    def second(subject, config):
        calls.append("second")
        draw = subject.generator("second").initial_seed()
        return {"sum": pl.DataFrame({"sum": [subject.earlier("first", "heights")["mean"].sum() + draw % 7]})}

    def broken(subject, config):
        calls.append("broken")
        raise DataError("no peak is <b>good</b> enough")

    def section(tables, config):
        return Section("Made", "", (Note(f"sum {next(iter(tables.values()))[0, 0]}"),))

    for function in (first, second, broken):
        monkeypatch.setitem(assay.TABLES, function.__name__, function)
        monkeypatch.setitem(pages.SECTIONS, function.__name__, section)
    monkeypatch.setattr(config, "CHAPTERS", {"first": (), "broken": (), "second": ("first",)})
    return calls


def test_chapters_are_kept_and_a_broken_one_says_why(trained, made, tmp_path):
    run = interpret(trained[0], threads=1)
    assert run.state is State.FINISHED
    assert made == ["first", "broken", "second"]
    assert len(run.table("first_heights")) > 10
    assert run.verify() == []
    told = summarise(run)
    json.dumps(told)
    assert told["chapters"]["broken"] == "no peak is <b>good</b> enough"
    page = report([run], tmp_path / "page.html").read_text()
    assert "no peak is &lt;b&gt;good&lt;/b&gt; enough" in page
    interpret(trained[0], threads=1)
    assert len(made) == 3


def test_what_a_chapter_needs_is_made_with_it(trained, made):
    run = interpret(trained[0], only="second", threads=1)
    assert made == ["first", "second"]
    assert "broken_note" not in run.tables()


def test_a_stopped_interpretation_goes_on_to_the_same_numbers(trained, made):
    whole = interpret(trained[0], most_peaks=15, seed=1, threads=1)
    wanted = whole.table("second_sum")
    Store(whole.folder.parent).delete([whole.id])
    made.clear()

    def stop(step, values):
        if step == 1:
            raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, Interrupted)):
        interpret(trained[0], most_peaks=15, seed=1, threads=1, watch=stop)
    run = Run.open(whole.folder)
    assert run.state is State.INTERRUPTED
    again = resume(run.folder, threads=1)
    assert again.state is State.FINISHED
    assert made == ["first", "broken", "broken", "second"], "the first chapter is not made twice"
    assert again.table("second_sum").equals(wanted)


def test_peers_are_repetitions_in_the_same_store(trained, made, tmp_path):
    assert [run.id for run in repetitions(trained[0])] == [trained[1].id]
    run = interpret(trained[0], [trained[1]], only="first", threads=1)
    assert run.config["peers"] == trained[1].id
    with pytest.raises(ConfigError, match="is given twice"):
        interpret(trained[0], [trained[0]])
    other = perform(tiny().replace(peaks=210, epochs=1), tmp_path, threads=1)
    with pytest.raises(ConfigError, match="same store"):
        interpret(trained[0], [other])
    odd = perform(tiny().replace(peaks=210, epochs=1), trained[0].folder.parent, threads=1)
    with pytest.raises(DataError, match="another atlas"):
        interpret(trained[0], [odd])


def test_unknown_chapters_and_runs_are_refused(trained, made, capsys):
    with pytest.raises(ConfigError, match="there is no chapter 'secnd'; did you mean 'second'"):
        interpret(trained[0], only="secnd")
    store = ["--store", str(trained[0].folder.parent)]
    assert main(["interpret", trained[0].id[:9], "--only", "first", *store, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["interprets"] == trained[0].id
    assert main(["interpret", "nothing", *store]) == 2
    assert "no run 'nothing'" in capsys.readouterr().err


def test_motifs_are_written_as_a_meme_file(trained, tmp_path, capsys):
    words = ["interpret", trained[0].id, "--store", str(trained[0].folder.parent), "--threads", "1"]
    written = tmp_path / "filters.meme"
    assert main([*words, "--only", "motifs", "--motif-best", "20", "--meme", str(written)]) == 0
    assert len(read_meme(written)) == trained[0].config["n_filters"]
    assert main([*words, "--only", "second_layer", "--motif-best", "20", "--meme", str(written)]) == 2
    assert "not among those requested" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"chip": "nowhere.bed"}, "chip = 'nowhere.bed': cannot be read"),
        ({"motif_database": "jaspar-vertebrate"}, "give an existing file, or one of jaspar-vertebrates"),
        ({"motif_database": "."}, r"motif_database = '\.': cannot be read \(Is a directory\)"),
    ],
)
def test_files_that_are_not_there_are_refused_and_leave_nothing(trained, made, options, says):
    before = Store(trained[0].folder.parent).table(None)["id"].to_list()
    with pytest.raises(DataError, match=says):
        interpret(trained[0], threads=1, **options)
    assert Store(trained[0].folder.parent).table(None)["id"].to_list() == before
    assert made == []


def test_a_file_that_changed_is_read_again_and_old_reasons_go(trained, made, tmp_path, monkeypatch):
    def first(subject, config):
        text = Path(config.chip).read_text()
        if not text:
            raise DataError("there is nothing in it")
        return {"heights": pl.DataFrame({"mean": [float(text)]})}

    monkeypatch.setitem(assay.TABLES, "first", first)
    file = tmp_path / "bound.bed"
    file.write_text("")
    words = {"only": "first", "chip": str(file), "threads": 1}
    with pytest.raises(RunFailed, match="first: there is nothing in it"):
        interpret(trained[0], **words)
    file.write_text("1.5")
    run = interpret(trained[0], **words)
    assert run.table("first_heights")["mean"].to_list() == [1.5]
    assert "first_note" not in run.tables()
    assert run.verify() == []
    file.write_text("")
    with pytest.raises(RunFailed, match="first: there is nothing in it"):
        interpret(trained[0], **words)
    assert "first_heights" not in run.tables()


def test_an_interpretation_without_any_chapter_has_failed_and_is_made_when_its_reason_is_gone(
    trained, made, monkeypatch
):
    reasons = ["the extra is not installed"]

    def first(subject, config):
        made.append("first")
        if reasons:
            raise DataError(reasons[0])
        return {"heights": pl.DataFrame({"mean": [1.0]})}

    monkeypatch.setitem(assay.TABLES, "first", first)
    words = {"only": "first,broken", "chip_word": 9, "threads": 1}
    says = r"no chapter could be made .first: the extra.*; broken: no peak"
    with pytest.raises(RunFailed, match=says):
        interpret(trained[0], **words)
    run = next(run for run in Store(trained[0].folder.parent).runs() if run.config.get("chip_word") == 9)
    with pytest.raises(RunFailed, match=says):
        resume(run.folder, threads=1)
    assert run.state is State.FAILED
    assert "the extra is not installed" in run.message
    assert made == ["first", "broken"] * 2
    reasons.clear()
    done = resume(run.folder, threads=1)
    assert done.state is State.FINISHED
    assert summarise(done)["chapters"] == {"first": {"heights": 1}, "broken": "no peak is <b>good</b> enough"}
    assert done.verify() == []


def test_what_was_made_for_a_chapter_that_fails_is_kept(trained, made, monkeypatch):
    monkeypatch.setattr(config, "CHAPTERS", {"first": (), "broken": ("first",)})
    words = {"only": "broken", "chip_word": 8, "threads": 1}
    for _ in range(2):
        with pytest.raises(RunFailed, match=r"no chapter could be made .broken: no peak"):
            interpret(trained[0], **words)
    assert made == ["first", "broken", "broken"]


def test_an_interrupted_interpretation_whose_file_changed_asks_to_begin_again(trained, made, tmp_path):
    file = tmp_path / "bound.bed"
    file.write_text("1")

    def stop(step, values):
        raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, Interrupted)):
        interpret(trained[0], chip=str(file), threads=1, watch=stop)
    run = next(run for run in Store(trained[0].folder.parent).runs() if run.config.get("chip") == str(file))
    file.write_text("2")
    with pytest.raises(RunFailed, match=r"bound\.bed changed since .*--from-step 0"):
        resume(run.folder, threads=1)
    assert resume(run.folder, threads=1, from_step=0).state is State.FINISHED


def test_commas_alone_are_no_chapters(trained, made):
    with pytest.raises(ConfigError, match="only = ' , ' is not allowed: text such as motifs,influence"):
        interpret(trained[0], only=" , ")


def test_a_null_model_is_named_so_and_is_no_repetition(trained, made, tmp_path):
    store = trained[0].folder.parent
    null = perform(tiny().replace(peaks=200, epochs=1, null="cells"), store, threads=1)
    page = report([interpret(null, only="first", threads=1)], tmp_path / "page.html").read_text()
    assert "This is a NULL MODEL: it was trained on heights permuted within each peak." in page
    plain = report([interpret(trained[0], only="first", threads=1)], tmp_path / "plain.html").read_text()
    assert "NULL MODEL" not in plain
    with pytest.raises(DataError, match=f"run {null.id} has null 'cells' and run {trained[0].id} 'none'"):
        interpret(trained[0], [null], threads=1)


def test_too_many_best_peaks_name_the_key(trained, capsys):
    words = ["interpret", trained[0].id, "--store", str(trained[0].folder.parent), "--threads", "1"]
    assert main([*words, "--only", "motifs", "--motif-best", "100000", "--format", "json"]) == 1
    told = capsys.readouterr().err
    assert "motifs: motif_best = 100000: " in told and "give at most" in told and "Traceback" not in told
