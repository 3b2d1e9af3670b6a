"""Runs of the memorisation study: what they record, what their pages say, and that a changed corpus is refused."""

import json
import math

import numpy as np
import polars as pl
import pytest

import netassay
from netassay.cli import main
from netassay.errors import ConfigError, RunFailed
from netassay.studies.memorisation.config import MemorisationConfig, tiny
from netassay.studies.memorisation.findings import length_bins, summary, tables
from netassay.studies.memorisation.rules import findings

HOW = {
    "tokenizer": "bytes",
    "document": "line",
    "documents": 80,
    "length": 40,
    "prefix": 4,
    "suffix": 4,
    "listed": 5,
    "resamples": 50,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return netassay.perform(tiny(), tmp_path_factory.mktemp("store"), threads=1)


def test_a_run_finds_what_the_function_gives(run):
    found = netassay.memorisation("untrained", "topics", **HOW)
    told = summary(run)
    assert math.isclose(told["loss_nats"], found.loss_nats, rel_tol=1e-6)
    assert told["bound_nats"] == found.bound_nats
    assert told["contexts"] == found.contexts
    assert math.isclose(told["gap_bits"], found.gap_bits, rel_tol=1e-6)
    assert math.isclose(told["bits_over_uniform"], found.bits[0].bits, rel_tol=1e-3)
    assert told["skipped"] == found.skipped
    lengths = tables(run)["lengths"]
    assert lengths["contexts"].to_list() == [group.contexts for group in found.by_length]
    bins = length_bins(lengths)
    assert bins["predictions"].sum() == found.predictions
    assert (bins["low"][1:] > bins["high"][:-1]).all()
    assert len(tables(run)["sequences"]) == 5


def test_its_page_has_gap_occurrences_bits_texts_methods_and_references(run, tmp_path):
    page = netassay.report([run], tmp_path / "page.html", store=run.folder.parent).read_text()
    for words in (
        "Loss and bound by length",
        "against occurrences",
        "Bits per parameter",
        "3.6",
        "Methods",
        "2505.24832",
        "largest gaps",
        "most likely to be reproduced",
        run.id,
    ):
        assert words in page, words


def test_several_runs_and_a_reference_share_a_page(run, tmp_path):
    config = tiny().replace(reference="untrained", seed=1, prefix=90)
    other = netassay.perform(config, tmp_path / "store", threads=1)
    assert summary(other)["bits_over_model"] == 0
    assert summary(other)["extraction_sequences"] == 0
    page = netassay.report([run, other], tmp_path / "page.html").read_text()
    assert "seed 1" in page and "give a shorter prefix" in page


def test_a_corpus_that_changed_is_refused(tmp_path):
    text = tmp_path / "stories.txt"
    text.write_text("the cat sat on the mat\n" * 40)
    words = [
        "memorisation",
        "untrained",
        str(text),
        "--tokens-at-once",
        "20",
        "--store",
        str(tmp_path / "runs"),
    ]
    config = netassay.MemorisationConfig(model="untrained", corpus=str(text), tokens_at_once=20)

    def stop(step, values):
        if step == 4:
            raise ZeroDivisionError

    with pytest.raises(RunFailed):
        netassay.perform(config, tmp_path / "runs", threads=1, commit_seconds=0, watch=stop)
    text.write_text("the cat sat on on mat\n" * 40)
    with pytest.raises(RunFailed, match="corpus is not the one"):
        netassay.perform(config, tmp_path / "runs", threads=1)
    text.write_text("the cat sat on the mat\n" * 40)
    assert main(words) == 0


def test_ids_are_shown_in_the_words_of_a_tokenizer(tmp_path, capsys):
    np.save(tmp_path / "ids.npy", np.frombuffer(b"once upon a time", np.uint8).astype(np.int64)[None].repeat(2, 0))
    words = [
        "memorisation",
        "untrained",
        str(tmp_path / "ids.npy"),
        "--tokenizer",
        "bytes",
        "--format",
        "json",
    ]
    assert main([*words, "--store", str(tmp_path / "runs")]) == 0
    told = json.loads(capsys.readouterr().out)
    largest = tables(netassay.Run.open(told["folder"]))["largest"]
    assert "once upo".startswith(largest.sort("text")["text"][0])


def test_no_number_stays_apart_from_what_is_missing(tmp_path, capsys):
    """Without an interval and without a sequence: in the store, tables, page and JSON."""
    run = netassay.perform(tiny().replace(resamples=0, prefix=90), tmp_path / "store", threads=1)
    facts = run.facts()["trainee"]
    assert math.isnan(facts["bits"][0]["low"]) and math.isnan(facts["extraction"]["tries"][0]["expected"])
    for table, column in (("bits", "low"), ("tries", "expected"), ("tries", "p0.5")):
        values = pl.read_parquet(run.table_path(table))[column]
        assert values.is_nan().all() and values.null_count() == 0
    assert main(["show", run.id, "--store", str(tmp_path / "store"), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["bits_over_uniform_interval"] == ["NaN", "NaN"]
    page = netassay.report([run], tmp_path / "page.html", store=run.folder.parent).read_text()
    assert "NaN" in page
    assert findings([run]) == []


def test_ids_have_no_words_in_a_tokenizer_that_makes_them(tmp_path, capsys):
    np.save(tmp_path / "ids.npy", np.arange(12).reshape(3, 4))
    assert main(["memorisation", "--corpus", "ids.npy", "--tokenizer", "whitespace", "--threads", "1"]) == 2
    assert "tokenizer = 'whitespace' numbers words as they come up" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["documents", "length", "blocks", "stride", "prefix", "suffix", "tokens_at_once"])
def test_more_tokens_than_any_document_has_are_refused(key):
    with pytest.raises(
        ConfigError, match=f"{key} = 9223372036854775807 is not allowed: whole number .* to 1099511627776"
    ):
        MemorisationConfig.from_mapping({"corpus": "topics", key: 2**63 - 1}, where="options")
