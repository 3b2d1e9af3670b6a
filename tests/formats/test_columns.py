import gzip
import json
from collections import Counter

import polars as pl
import pytest

from netassay.errors import DataError
from netassay.formats.columns import read_json_lines, read_table

TEXTS = ["one", None, "two\nlines", "  ", "drei ü"]


@pytest.mark.parametrize("zipped", [False, True])
def test_json_lines(zipped, tmp_path):
    body = "\n".join(json.dumps({"id": i, "text": text}) for i, text in enumerate(TEXTS)) + "\n\n"
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(gzip.compress(body.encode(), mtime=0) if zipped else body.encode())
    skipped = Counter()
    assert list(read_json_lines(path, "text", skipped=skipped)) == ["one", "two\nlines", "drei ü"]
    assert skipped == {"text is null": 1, "blank text": 1, "blank line": 1}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"txt": "a"}', r"corpus.jsonl:2: there is no column 'text'; did you mean 'txt'\?"),
        ("{", r"corpus.jsonl:2: is no JSON"),
        ("[" * 100_000, r"corpus.jsonl:2: is no JSON"),
        ("[1]", r"corpus.jsonl:2: holds a JSON list"),
        ('{"text": 5}', r"corpus.jsonl:2: 'text' holds int 5"),
        ('{"text": ' + "9" * 5000 + "}", r"corpus.jsonl:2: is no JSON"),
        ('{"text": "\\ud800"}', r"corpus.jsonl:2: .*surrogate"),
    ],
)
def test_lines_that_are_refused(line, message, tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"text": "a"}\n' + line + "\n")
    with pytest.raises(DataError, match=message):
        list(read_json_lines(path, "text"))


def test_parquet(tmp_path):
    path = tmp_path / "corpus.parquet"
    many = TEXTS * 5000
    pl.DataFrame({"body": many, "n": range(len(many))}).write_parquet(path, row_group_size=3000)
    skipped = Counter()
    assert list(read_table(path, "body", skipped=skipped)) == ["one", "two\nlines", "drei ü"] * 5000
    assert skipped == {"body is null": 5000, "blank body": 5000}
    with pytest.raises(DataError, match=r"no column 'bdy'; did you mean 'body'"):
        list(read_table(path, "bdy"))
    with pytest.raises(DataError, match="column 'n' holds Int64"):
        list(read_table(path, "n"))


@pytest.mark.parametrize("keep", [0, 10, 200, -20, None])
def test_what_is_no_parquet_is_refused(keep, tmp_path):
    path = tmp_path / "corpus.parquet"
    pl.DataFrame({"text": ["abc" * 50, "d"] * 500}).write_parquet(path)
    if keep is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"corpus.parquet: cannot be read( as Parquet)?: "):
        list(read_table(path, "text"))
