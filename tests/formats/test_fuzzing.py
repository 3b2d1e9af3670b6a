"""Damaged files are answered or refused: a few for each reader, and some that were not; thousands in the slow suite."""

import subprocess
import sys
from pathlib import Path

import fuzzing
import pytest

SCRIPT = Path(fuzzing.__file__)
EXTRAS = {"Arrow": "pyarrow", "tokenizer": "tokenizers", "2bit": "twobitreader"}


@pytest.mark.parametrize("name", fuzzing.readers())
def test_damaged_files_are_answered_or_refused(name, tmp_path):
    pytest.importorskip(EXTRAS.get(name, "netassay"), reason="its extra is not installed")
    refused, wrong = fuzzing.attempts(name, 25, 0, tmp_path)
    assert not wrong
    assert refused > 3


@pytest.mark.parametrize(("name", "seed"), [("MEME", 1241), ("Arrow", 1038), ("Arrow", 1237)])
def test_damage_that_was_once_a_traceback(name, seed, tmp_path):
    pytest.importorskip(EXTRAS.get(name, "netassay"), reason="its extra is not installed")
    assert fuzzing.attempts(name, 1, seed, tmp_path) == (1, [])


@pytest.mark.slow
def test_thousands_of_damaged_files():
    ended = subprocess.run([sys.executable, SCRIPT, "3000", "--seed", "10000"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-4000:]
