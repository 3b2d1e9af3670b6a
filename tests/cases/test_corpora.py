"""The shared small corpora on which the readers were once wrong."""

import json
import math
import runpy
import shutil
from collections import Counter
from pathlib import Path

import pytest

import netassay
from netassay.cli import main

CASES = Path(__file__).parents[3] / "shared" / "cases" / "capacity"

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not beside the repository")


@pytest.fixture
def inside(tmp_path, monkeypatch):
    """A folder of one's own with all cases in it, which is the working folder."""
    shutil.copytree(CASES, tmp_path / "cases")
    for path in (tmp_path / "cases").iterdir():
        path.chmod(0o644)
    (tmp_path / "cases").chmod(0o755)
    monkeypatch.chdir(tmp_path / "cases")


def asked(capsys, *words):
    """Exit status, the answer of a command as JSON, and what it says of what is wrong."""
    capsys.readouterr()
    status = main([*map(str, words), "--format", "json"])
    said = capsys.readouterr()
    return status, json.loads(said.out) if status == 0 else {}, said.err


def counted(documents):
    """Bound in nats, first tokens not predicted, by a dictionary of contexts."""
    following = {}
    for document in documents:
        for place in range(1, len(document)):
            following.setdefault(tuple(document[:place]), Counter())[document[place]] += 1
    return sum(count * math.log(counts.total() / count) for counts in following.values() for count in counts.values())


THREE = [["the", "cat", "sat"], ["the", "cat", "sat"], ["the", "dog", "sat"]]
SHARDS = [line.split() for line in ("the cat sat", "the dog sat", "a bird flew", "the cat ran")]
IDS = [[5, 1, 2, 9], [5, 1, 3, 9], [5, 4, 9], [9]]
PREFIXES = [line.split() for line in ("the cat", "the cat sat", "the dog", "the dog sat")]


@pytest.mark.parametrize(
    ("words", "documents", "nats"),
    [
        (["c4-shard.json"], THREE, 1.9095),
        (["c4-shard.json.gz"], THREE, 1.9095),
        (["hf-stream.arrow"], THREE[1:], 1.3863),
        (["nested.jsonl", "--column", "meta.text"], [["the", "cat"], ["the", "dog"]], 1.3863),
        (["nested.parquet", "--column", "meta.text"], [["the", "cat"], ["the", "dog"]], 1.3863),
        (["d16.bin", "--dtype", "uint16", "--end", "9"], IDS, 3.2958),
        (["s1.txt", "s2.txt"], SHARDS, 3.2958),
        (["s[12].txt"], SHARDS, 3.2958),
        (["both.txt"], SHARDS, 3.2958),
        (["prefixes.txt"], PREFIXES, 2.7726),
        (["prefixes.txt", "--add-end"], [[*document, None] for document in PREFIXES], 5.5452),
    ],
)
def test_entropy(words, documents, nats, inside, capsys):
    status, answer, _ = asked(capsys, "entropy", *words)
    assert status == 0
    assert answer["bound_nats"] == pytest.approx(counted(documents), rel=1e-12)
    assert answer["bound_nats"] == pytest.approx(nats, abs=5e-5)
    assert answer["documents"] == len(documents)
    assert answer["tokens"] == sum(map(len, documents))
    assert answer["vocabulary"] == len({token for document in documents for token in document})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nested.jsonl"], "nested.jsonl:1: there is no column 'text'; did you mean 'meta.text'?"),
        (["nested.parquet", "--column", "meta"], "its fields are 'meta.text'"),
        (["ab.txt", "--tokenizer", "wl_nounk.json"], "ab.txt: document 2 (from 1, 'a c') cannot be encoded"),
        (["d16.bin"], "d16.bin: ends in .bin, as raw token ids do; state their dtype"),
        (["d16.bin", "--dtype", "uint32", "--end", "9"], "d16.bin: the end token does not occur"),
        (["d16.bin", "--dtype", "uint16", "--end", "999"], "d16.bin: the end token does not occur"),
        (["d16.bin", "--dtype", "uint16"], "d16.bin: nothing ends a document in it"),
        (["d16.bin", "--dtype", "uint32", "--window", "2"], "no id below 65,541"),
        (["both.txt", "--window", "1" + "0" * 30], "whole numbers have 64 bits"),
        (["both.txt", "--memory", "1e400"], "more than any machine has"),
        (
            ["s1.txt", "s2.txt", "--column", "text"],
            "s1.txt: is read as text, to which these do not apply: column",
        ),
    ],
)
def test_what_is_refused_is_named(words, said, inside, capsys):
    status, _, err = asked(capsys, "entropy", *words)
    assert status == 2
    assert said in err
    assert "Traceback" not in err


def test_token_ids_are_no_text_for_the_study(inside, capsys):
    words = ("capacity", "--corpus", "d16.bin", "--width", 2, "--try-steps", 3, "--threads", 1)
    status, _, err = asked(capsys, *words)
    assert status == 2
    assert "state their dtype" in err
    status, answer, _ = asked(capsys, *words, "--dtype", "uint16", "--end", 9)
    assert status == 0
    assert answer["bound"] == pytest.approx(counted(IDS), rel=1e-12)


def test_parts_of_two_readers_have_one_vocabulary(inside, capsys):
    found = runpy.run_path("chained.py")
    assert (found["two"].vocabulary, found["one"].vocabulary) == (8, 8)
    assert found["two"].bound_nats == found["one"].bound_nats == pytest.approx(3.295837)


def test_a_saved_memorising_model_can_be_fed(inside, capsys):
    assert asked(capsys, "construct", "long.txt", "--length", 3, "--save", "mem")[0] == 0
    capsys.readouterr()
    runpy.run_path("saved_ids.py")
    told = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert len(told) == 3
    for line in told:
        assert float(line[3]) == pytest.approx(float(line[5]), rel=1e-6)
    import torch

    model, about = netassay.load_model("mem"), netassay.describe_model("mem")["about"]
    assert about["words"] == ["the", "cat", "sat", "dog", "ran", "a"]
    rows = torch.tensor([d.tolist() for d in netassay.read_corpus("long.txt", limit=3, words=about["words"]).documents])
    log_q = model(rows[:, :-1]).log_softmax(-1).gather(-1, rows[:, 1:, None])
    assert -log_q.sum().item() == pytest.approx(about["bound_nats"], rel=1e-6)
