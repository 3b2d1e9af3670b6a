import csv
import gzip
import json
import sys
from collections import Counter

import polars as pl
import pytest

from netassay.errors import DataError
from netassay.formats import columns
from netassay.formats.columns import read_delimited, read_json, read_json_lines, read_table, read_token_column

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
        ("{", r"corpus.jsonl:2: is not JSON"),
        ("[" * 100_000, r"corpus.jsonl:2: is not JSON"),
        ("[1]", r"corpus.jsonl:2: holds a JSON list"),
        ('{"text": 5}', r"corpus.jsonl:2: 'text' holds int 5"),
        ('{"text": ' + "9" * 5000 + "}", r"corpus.jsonl:2: is not JSON"),
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


@pytest.mark.parametrize(
    ("content", "texts", "counts"),
    [
        ("text\na b\n\nc\n", ["a b", "c"], {"blank line": 1}),
        ('id,text\n1,"a, ""b""\nc"\n2,\n', ['a, "b"\nc'], {"blank text": 1}),
        ("text;id\na,b;1\n", ["a,b"], {}),
        ('id,text\n1,"' + "x" * 200_000 + '"\n', ["x" * 200_000], {}),
        ('"' + "x" * 200_000 + '",text\n1,a\n', ["a"], {}),
        ("", [], {}),
    ],
)
def test_delimited(content, texts, counts, tmp_path):
    (tmp_path / "a.csv").write_text(content)
    skipped = Counter()
    assert list(read_delimited(tmp_path / "a.csv", "text", skipped=skipped)) == texts
    assert skipped == counts
    assert csv.field_size_limit() == 131_072


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "id,body\n1,a\n",
            r"a.csv:1: there is no column 'text'; known: 'id', 'body'; the first line must name",
        ),
        ("text,text\na,b\n", "a.csv:1: 2 columns are named 'text'"),
        ("id,text\n1,a\n2\n", "a.csv:3: holds 1 fields, the header names 2"),
        ("id,text\n1,a, b\n", "a.csv:2: holds 3 fields"),
        ('id,text\n1,"a\n2,b\n', "is not a row of the table .unexpected end of data"),
        ('id,text\n1,"a" b\n', "a.csv:2: is not a row of the table"),
        ("\nid,text\n", "a.csv:1: is blank"),
    ],
)
def test_tables_that_are_refused(content, message, tmp_path):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        list(read_delimited(tmp_path / "a.csv", "text"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"data": [{"text": "a"}],\n "v": 1}', r"is one JSON object with the keys 'data', 'v'; .*jq"),
        ('["a"]', "element 0 .from 0.: holds a JSON text"),
        (
            '[{"text": "a"}, {"txt": "b"}]',
            r"element 1 .from 0.: there is no column 'text'; did you mean 'txt'",
        ),
        ('[{"text": "a"},', "a.json:1: is not JSON"),
        ("3", "is one JSON value 3"),
        ("[" * 100_000, "is not JSON"),
        ('{"text": "a"}\n{"text": 3}', "a.json:2: 'text' holds int 3"),
        ('{"text": [1, 2]}', "holds list .*lists of token ids are read from JSON lines"),
    ],
)
def test_json_that_is_refused(content, message, tmp_path):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=message):
        list(read_json(tmp_path / "a.json", "text"))


def test_keys_within_objects(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"m": {"a": {"text": "x"}}}\n{"m": null}\n{"m": {"a": {"text": "y"}}, "m.a.text": "z"}\n')
    skipped = Counter()
    assert list(read_json_lines(path, "m.a.text", skipped=skipped)) == ["x", "z"]
    assert skipped == {"m.a.text is null": 1}
    path.write_text('{"m": {"a": "x"}}\n')
    with pytest.raises(DataError, match=r"a.jsonl:1: there is no column 'a'; did you mean 'm.a'"):
        list(read_json_lines(path, "a"))
    with pytest.raises(DataError, match=r"'m' holds dict .*its keys are 'm.a'"):
        list(read_json_lines(path, "m"))


@pytest.mark.parametrize("with_arrow", [True, False])
def test_lists_of_token_ids(with_arrow, tmp_path, monkeypatch):
    """By pyarrow, in small batches that cross row groups, as by polars."""
    if with_arrow:
        pytest.importorskip("pyarrow")
    else:
        monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setattr(columns, "IDS_AT_ONCE", 7)
    documents = [[1, 2, 3], None, [], [4], *([n, n + 1] for n in range(90)), list(range(40)), None]
    lists = pl.Series("ids", documents, pl.List(pl.UInt16))
    frame = pl.DataFrame({"text": ["x"] * len(documents), "ids": lists, "a": pl.DataFrame({"ids": lists}).to_struct()})
    path = tmp_path / "lists.parquet"
    frame.with_columns(pl.Series("rows", [[7, 8]] * len(documents), pl.Array(pl.Int32, 2))).write_parquet(
        path, row_group_size=30
    )
    expected = [document for document in documents if document is not None]
    for column in ("ids", "a.ids"):
        skipped = Counter()
        parts = list(read_token_column(path, column, skipped=skipped))
        assert [d.tolist() for part in parts for d in part] == expected
        assert skipped == {f"{column} is null": 2}
    assert with_arrow == (len(list(read_token_column(path, "ids"))) > 4)
    cut = [d.tolist() for part in read_token_column(path, "ids", limit=2) for d in part]
    assert cut == [document[:2] for document in expected]
    assert {tuple(d) for part in read_token_column(path, "rows") for d in part} == {(7, 8)}
    pl.DataFrame({"ids": [[1], [2, -3, 4]]}).write_parquet(path)
    with pytest.raises(DataError, match=r"row 2: 'ids' holds a negative number \(-3\) as element 1"):
        list(read_token_column(path, "ids"))


@pytest.mark.parametrize("with_arrow", [True, False])
def test_damaged_lists_are_refused(with_arrow, tmp_path, monkeypatch):
    if not with_arrow:
        monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    path = tmp_path / "lists.parquet"
    pl.DataFrame({"ids": [[n, 7 * n % 1000] for n in range(50_000)]}).write_parquet(path, row_group_size=10_000)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 500] = bytes(500)
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged after row"):
        list(read_token_column(path, "ids"))
