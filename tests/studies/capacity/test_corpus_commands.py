import csv
import io
import json
import math

import pytest
from cyclopts import App

from netassay.cli import corpus
from netassay.errors import ConfigError, DataError


@pytest.fixture
def command(capsys):
    app = App(result_action="return_value")
    app.command(corpus.entropy)
    app.command(corpus.bounds)

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
    rows = {
        row["key"]: row["value"] for row in csv.DictReader(io.StringIO(command(*words, "--format", "csv")))
    }
    assert float(rows["bound_nats"]) == held["bound_nats"]
    assert sum(row["nats"] for row in held["by_length"]) == pytest.approx(held["bound_nats_with_empty"])
    assert "bound_nats" in command(*words)


def test_bounds(command, stories):
    found = json.loads(
        command("bounds", "--parameters", 35442, "--vocabulary", 690, "--width", 32, "--format", "json")
    )
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
    ]:
        with pytest.raises(kind, match=message):
            command(*words)
