import csv
import inspect
import io
import json
import math
from dataclasses import fields

import numpy as np
import pytest
from cyclopts import App

from netassay import processes
from netassay.cli import corpus, main
from netassay.commands import corpus as questions
from netassay.corpus import context
from netassay.errors import ConfigError, DataError
from netassay.formats.corpus import Reading, read_corpus, read_in_parts
from netassay.studies.capacity.config import CapacityConfig


@pytest.fixture
def command(capsys):
    app = App(result_action="return_value")
    for command in corpus.COMMANDS[:2]:
        app.command(command.build())

    def run(*words):
        assert app(list(map(str, words)), exit_on_error=False, print_error=False) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def stories(tmp_path):
    path = tmp_path / "stories.txt"
    path.write_text("one two four\none two five six\none three four\n\none\n")
    return path


def test_entropy(command, stories):
    found = json.loads(command("entropy", stories, "--length", "3", "--format", "json"))
    promised = (
        "documents tokens vocabulary contexts contexts_with_empty bound_nats bound_nats_with_empty "
        "bound_bits_per_token seconds peak_bytes"
    )
    assert set(promised.split()) <= set(found)
    assert (found["documents"], found["tokens"], found["vocabulary"]) == (4, 10, 5)
    assert (found["contexts"], found["contexts_with_empty"]) == (3, 4)
    assert found["bound_nats"] == found["bound_nats_with_empty"] == pytest.approx(3 * math.log(3))
    assert found["bound_bits_per_token"] == pytest.approx(3 * math.log2(3) / 6)
    assert (found["documents_cut"], found["documents_dropped"], found["skipped"]) == (1, 0, {"blank line": 1})
    assert found["peak_bytes"] > 10**6


def test_short_documents_are_kept_or_dropped(command, stories):
    words = ("entropy", stories, "--length", "3", "--exact-length", "--format", "json")
    found = json.loads(command(*words))
    assert (found["documents"], found["documents_dropped"]) == (3, 1)


def test_every_form_says_the_same(command, stories):
    words = ("entropy", stories, "--tokenizer", "characters", "--window", "2")
    held = json.loads(command(*words, "--by-length", "--format", "json"))
    rows = {row["key"]: row["value"] for row in csv.DictReader(io.StringIO(command(*words, "--format", "csv")))}
    assert float(rows["bound_nats"]) == held["bound_nats"]
    assert sum(row["nats"] for row in held["by_length"]) == pytest.approx(held["bound_nats_with_empty"])
    assert "bound_nats" in command(*words)


def test_bounds(command, stories):
    found = json.loads(command("bounds", "--parameters", 35442, "--vocabulary", 690, "--width", 32, "--format", "json"))
    assert found["upper_general"] == pytest.approx(35442 / 689)
    assert found["upper_empirical"] == pytest.approx((2 + 1 / 689) * 35442 / 689 + 2)
    assert found["upper_empirical_tight"] == pytest.approx(found["upper_empirical"] - 1)
    assert found["lower_construct"] == 32


def test_bounds_judge_a_corpus(command, stories):
    words = ("bounds", stories, "--length", 3, "--parameters", 100, "--format", "json")
    found = json.loads(command(*words))
    assert (found["vocabulary"], found["contexts"], found["verdict"]) == (5, 3, "may")
    assert json.loads(command(*words, "--width", 3))["verdict"] == "can"
    assert json.loads(command(*words, "--vocabulary", 9))["vocabulary"] == 9


def test_what_holds_for_almost_all_frequencies_has_a_key_in_every_form(command, tmp_path):
    path = tmp_path / "branches.txt"
    path.write_text("a b\na b\na c\nd b\nd c\n")  # 2 : 1 and 1 : 1
    words = ("bounds", path, "--tokenizer", "whitespace", "--parameters", 1)
    held = json.loads(command(*words, "--format", "json"))
    assert held["verdict"] == "not for almost all frequencies"
    assert held["not_for_almost_all_frequencies"] is True
    assert (held["degrees_of_freedom"], held["degrees_of_freedom_unequal"]) == (2, 1)
    text = csv.DictReader(io.StringIO(command(*words, "--format", "csv")))
    rows = {row["key"]: row["value"] for row in text}
    assert rows["not_for_almost_all_frequencies"] == "true"
    assert rows["degrees_of_freedom_unequal"] == "1"
    table = command(*words)
    assert "not_for_almost_all_frequencies" in table
    assert "degrees_of_freedom_unequal" in table
    more = json.loads(command("bounds", path, "--tokenizer", "whitespace", "--parameters", 2, "--format", "json"))
    assert (more["verdict"], more["not_for_almost_all_frequencies"]) == ("may", False)


def test_bad_input_is_named(command, stories, tmp_path):
    empty = tmp_path / "empty.txt"
    empty.touch()
    for words, kind, message in [
        (("entropy", empty), DataError, "the file is empty"),
        (("entropy", tmp_path / "none.txt"), DataError, "No such file"),
        (("entropy", stories, "--length", 0), ConfigError, "length is 0"),
        (("entropy", stories, "--exact-length"), ConfigError, "needs a length"),
        (("entropy", stories, "--tokenizer", "word"), DataError, "allowed are wordpunct"),
        (("bounds", "--parameters", 5), ConfigError, "--vocabulary"),
        (("bounds", stories, "--parameters", 5, "--vocabulary", 2), ConfigError, "holds 6 different tokens"),
        (("bounds", "--vocabulary", 5), ConfigError, "give --parameters"),
        (
            ("bounds", "--parameters", 5, "--vocabulary", 9, "--width", 3),
            ConfigError,
            "correct one of the three",
        ),
        (
            ("entropy", stories, "--length", 30, "--exact-length"),
            DataError,
            "all 4 documents are shorter than 30",
        ),
        (("entropy", stories, "--memory", "2 cups"), ConfigError, "not a size; write it as 500MB"),
        (("entropy", stories, "--memory", "5MB"), ConfigError, "give at least"),
        (("bounds", "--config", tmp_path / "none.toml"), ConfigError, "cannot be read"),
        (("bounds", "--config", "c.toml", "--width", 3), ConfigError, "leave the other arguments out"),
    ]:
        with pytest.raises(kind, match=message):
            command(*words)


def test_topics_need_no_file(command):
    found = json.loads(command("entropy", "topics", "--document", "paragraph", "--length", 5, "--format", "json"))
    assert found["documents"] > 2000
    assert found["counted_on_disk"] is False


def test_little_memory_gives_the_same_numbers(command, tmp_path, monkeypatch):
    path = tmp_path / "ids.npy"
    r = np.random.default_rng(0)
    np.save(path, r.zipf(1.2, (5_000, 6)) % 100)
    monkeypatch.setattr(context, "LEAST_ROOM", 0)
    monkeypatch.setattr(processes, "peak_bytes", lambda: 10_000_000)
    words = ("entropy", path, "--format", "json", "--memory")
    little, much = (json.loads(command(*words, size)) for size in ("10.1MB", "1GiB"))
    assert (little.pop("counted_on_disk"), much.pop("counted_on_disk")) == (True, False)
    for name in ("bound_nats", "bound_nats_with_empty"):
        assert little[name] == pytest.approx(much[name], rel=1e-12)
    for name in ("documents", "tokens", "vocabulary", "contexts", "degrees_of_freedom", "largest_support"):
        assert little[name] == much[name]


@pytest.mark.parametrize(
    ("size", "expected"), [("2GB", 2e9), ("1.5GiB", 1.5 * 2**30), ("500 mb", 5e8), ("64K", 64e3), ("7", 7)]
)
def test_sizes(size, expected):
    assert processes.size_in_bytes(size) == expected


def test_bounds_of_a_config(command, tmp_path):
    (tmp_path / "c.toml").write_text('corpus = "topics"\ndocument = "paragraph"\ndocuments = 200\nwidth = 8\n')
    found = json.loads(command("bounds", "--config", "c.toml", "--format", "json"))
    zeta = found["vocabulary"]
    assert found["parameters"] == 8 * zeta + 17 * (zeta + 8) + 1088
    assert (found["width"], found["verdict"]) == (8, "may")
    (tmp_path / "edge.toml").write_text('study = "edge"\n')
    with pytest.raises(ConfigError, match="config of study 'edge'"):
        command("bounds", "--config", "edge.toml")


@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("35442", 35442),
        ("1e6", 10**6),
        ("124M", 124 * 10**6),
        ("1.5B", 15 * 10**8),
        ("50k", 50_000),
        ("1_000", 1000),
    ],
)
def test_counts_of_parameters(command, word, number):
    found = json.loads(command("bounds", "--parameters", word, "--vocabulary", 690, "--format", "json"))
    assert found["parameters"] == number


@pytest.mark.parametrize("word", ["1e400", "1.5", "many", "1e-3", "12Q", ""])
def test_counts_that_are_none(word, capsys):
    assert main(["bounds", f"--parameters={word}", "--vocabulary", "690"]) == 2
    told = capsys.readouterr().err
    assert "--parameters" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    "words",
    [
        ("--window", "1" + "0" * 30),
        ("--length", "1" + "0" * 30),
        ("--memory", "1e400"),
        ("--memory", "9" * 400),
    ],
)
def test_sizes_beyond_all_measure(words, stories, capsys):
    assert main(["entropy", str(stories), *words]) == 2
    told = capsys.readouterr().err
    assert words[0].removeprefix("--") in told
    assert "Traceback" not in told


def test_one_set_of_keys_describes_a_corpus():
    keys = {field.name: field.default for field in fields(Reading)}
    assert keys.items() <= questions.CORPUS_DEFAULTS.items()
    assert questions.CORPUS_DEFAULTS.keys() == questions.CorpusArguments.__annotations__.keys()
    config = {name: field.default for name, field in CapacityConfig.model_fields.items()}
    assert keys.items() <= config.items()
    for function in (read_corpus, read_in_parts):
        given = {name: word.default for name, word in inspect.signature(function).parameters.items()}
        assert keys.items() <= given.items()


def test_several_files_are_one_corpus(command, stories, tmp_path):
    lines = stories.read_text().splitlines(keepends=True)
    (tmp_path / "1.txt").write_text("".join(lines[:2]))
    (tmp_path / "2.txt").write_text("".join(lines[2:]))
    words = ("--length", 3, "--format", "json")
    whole, parts = (json.loads(command("entropy", *files, *words)) for files in ([stories], ["1.txt", "2.txt"]))
    assert {**parts, "seconds": 0, "peak_bytes": 0} == {**whole, "seconds": 0, "peak_bytes": 0}
    assert json.loads(command("bounds", "1.txt", "2.txt", "--parameters", 100, *words))["contexts"] == 3


def test_a_file_of_ids_without_an_end_is_no_corpus(command, tmp_path):
    np.save(tmp_path / "ids.npy", np.array([1, 2, 3, 1, 2, 4]))
    with pytest.raises(DataError, match="nothing ends a document in it"):
        command("entropy", "ids.npy")
    assert json.loads(command("entropy", "ids.npy", "--window", 2, "--format", "json"))["bound_nats"] > 0
    assert json.loads(command("entropy", "ids.npy", "--end", 3, "--format", "json"))["documents"] == 2
