"""A store of 10,000 runs and a run of a million rows under every command that reads."""

import json

import polars as pl
import pytest
from large_stores import attempts

from netassay.cli.output import frame
from netassay.runs.store import _encoded


@pytest.mark.slow
def test_every_reading_command_ends_within_its_memory(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    wrong = [row for row in attempts(tmp_path, 10_000, 1_000_000) if row["wrong"]]
    assert not wrong


def test_json_written_row_by_row_is_that_of_all_rows(capsys):
    """What is printed and exported one row at a time reads as one array, however many there are."""
    for height in (0, 1, 1500):
        rows = pl.DataFrame({"name": [f"a\n{k}" for k in range(height)], "value": [float(k) for k in range(height)]})
        frame(rows, "json")
        assert capsys.readouterr().out == json.dumps(rows.to_dicts(), indent=2) + "\n"
        assert _encoded(rows, "json") == json.dumps(rows.to_dicts()).encode()
