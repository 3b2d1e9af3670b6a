"""A corpus from standard input is the corpus of the file."""

import io
import json
import sys

import pytest

from netassay.cli import main
from netassay.formats import shards

LINES = "the cat sat\nthe cat ran\nthe dog sat down\n"


class Piped:
    def __init__(self, data):
        self.buffer = io.BytesIO(data)


def answered(words, capsys):
    assert main([*words, "--format", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    return {key: value for key, value in answer.items() if key not in ("seconds", "peak_bytes")}


@pytest.mark.parametrize(
    ("name", "data", "flags"),
    [
        ("a.txt", LINES.encode(), []),
        ("a.txt", LINES.encode(), ["--lengths", "1,2"]),
        ("a.jsonl", b"".join(json.dumps({"text": line}).encode() + b"\n" for line in LINES.split("\n") if line), []),
    ],
)
def test_the_numbers_are_those_of_the_file(tmp_path, monkeypatch, capsys, name, data, flags):
    (tmp_path / name).write_bytes(data)
    expected = answered(["entropy", str(tmp_path / name), *flags], capsys)
    monkeypatch.setattr(sys, "stdin", Piped(data))
    form = ["--form", "jsonl"] if name.endswith("jsonl") else []
    assert answered(["entropy", "-", *flags, *form], capsys) == expected


def test_it_may_stand_beside_files(tmp_path, monkeypatch, capsys):
    first, *others = LINES.splitlines(keepends=True)
    (tmp_path / "a.txt").write_text(LINES)
    expected = answered(["entropy", str(tmp_path / "a.txt")], capsys)
    (tmp_path / "b.txt").write_text("".join(others))
    monkeypatch.setattr(sys, "stdin", Piped(first.encode()))
    assert answered(["entropy", "-", str(tmp_path / "b.txt")], capsys) == expected


@pytest.mark.parametrize(
    ("stdin", "words"),
    [
        (None, "standard input is closed"),
        (Piped(b""), "standard input: holds no document"),
        (Piped(b"a\xff\n"), "standard input:1: byte 0xff"),
        (Piped(b'{"text": "a b"}\n'), "standard input: looks like JSON"),
        (Piped(b"0123456789" * 100), "standard input: gives at least 1,000 bytes"),
    ],
)
def test_refusals_name_it(monkeypatch, capsys, stdin, words):
    monkeypatch.setattr(sys, "stdin", stdin)
    monkeypatch.setattr(shards, "_BLOCK", 500)
    monkeypatch.setenv("NETASSAY_LARGEST_FILE", "600")
    assert main(["entropy", "-"]) == 2
    assert words in capsys.readouterr().err
