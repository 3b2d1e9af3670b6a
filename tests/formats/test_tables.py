import gzip

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netassay.errors import DataError
from netassay.formats.tables import read_numbers, read_pairs


@pytest.fixture
def write(tmp_path):
    def to_file(content, name="h.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to_file


@pytest.mark.parametrize(
    "text",
    [
        "name,A,B\np,1,2\nq,3.5,-4e-1\n",
        "name\tA\tB\r\np\t1\t2\r\nq\t3.5\t-0.4\r\n",
        "name;A;B\np;1;2\nq;3.5;-.4",
        "A\tB\np\t1\t2\nq\t3.5\t-0.4\n",
        '"","A","B"\n"p",1,2\n"q",3.5,-0.4\n\n\n',
        "\ufeffname,A,B\np, 1 ,2\nq,3.5, -0.4\n",
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_forms_of_one_table(write, text, zipped):
    table = read_numbers(write(gzip.compress(text.encode(), mtime=0) if zipped else text))
    assert table.rows.to_list() == ["p", "q"]
    assert table.columns == ("A", "B")
    np.testing.assert_array_equal(table.values, np.array([[1, 2], [3.5, -0.4]], np.float32))
    assert table.where(1).endswith("h.csv:3")


def test_parquet_and_missing_values(tmp_path, write):
    pl.DataFrame({"name": ["p"], "A": [1], "B": [None]}, schema_overrides={"B": pl.Float64}).write_parquet(
        tmp_path / "h.parquet"
    )
    table = read_numbers(tmp_path / "h.parquet")
    assert table.values[0, 0] == 1
    assert np.isnan(table.values[0, 1])
    table = read_numbers(write("name,A,B,C\np,NA,,NaN\n"))
    assert np.isnan(table.values).all()


def test_clusters_may_be_numbered(write):
    assert read_numbers(write("name,0,1,2\np,1,2,3\n")).columns == ("0", "1", "2")


finite = st.floats(-1e6, 1e6, width=32)


@given(st.lists(st.lists(finite, min_size=2, max_size=2), min_size=1, max_size=6), st.sampled_from("\t,;"))
def test_numbers_come_back_as_they_were_written(tmp_path_factory, rows, separator):
    path = tmp_path_factory.mktemp("t") / "h.csv"
    lines = [separator.join(["n", "A", "B"])]
    lines += [separator.join([f"p{i}", *map(repr, row)]) for i, row in enumerate(rows)]
    path.write_text("\n".join(lines))
    np.testing.assert_array_equal(read_numbers(path).values, np.array(rows, np.float32))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name A B\np 1 2\n", r"h.csv:1: the header 'name A B' holds no tab, comma or semicolon"),
        ("", "h.csv:1: is empty, where the header should be"),
        ("p,1.5,2\nq,3,4\n", r"h.csv:1: reads as a row of heights \(p, 1.5, 2"),
        ("name,A\n", "holds a header and no row; the atlas would be empty"),
        ("name,A,A\np,1,2\n", "h.csv:1: two columns are named 'A'"),
        ("name,A,\np,1,2\n", "h.csv:1: column 3 has no name"),
        ("name,A,B\np,1,2\nq,1,x\n", "h.csv:3: column 'B' holds 'x', which is not a number"),
        ("name;A;B\np;1,5;2\n", "column 'A' holds '1,5'"),
        ("name,A,B\np,1,2\nq,1\n", "h.csv:3: holds 2 fields; the header names 3 columns"),
        ("name,A,B\np,1,2\nq,1,2,3\n", "h.csv:3: holds 4 fields"),
        ("name,A,B\np,1,2\np,1,2\n", r"h.csv:3: row 'p' is at .*h.csv:2 already"),
        ("name,A,B\n,1,2\n", "h.csv:2: the row has no name"),
        (b"name,A\np\xff,1\n", "h.csv:2: byte 0xff"),
        (gzip.compress(b"name,A\n" + b"p,1\n" * 999, mtime=0)[:-12], "gzip stream is damaged or cut"),
    ],
)
def test_bad_tables_are_refused_with_their_line(write, content, message):
    with pytest.raises(DataError, match=message):
        read_numbers(write(content))


@pytest.mark.parametrize("text", ["B.Fo\tB\nNK\tinnate\n", "B.Fo,B\n\n#c\nNK,innate\n", "B.Fo B\nNK innate\n"])
def test_pairs(write, text):
    assert read_pairs(write(text)) == {"B.Fo": "B", "NK": "innate"}


@pytest.mark.parametrize(
    ("text", "message"),
    [("a,b,c\n", "h.csv:1: holds 3 fields"), ("a,b\na,c\n", "h.csv:2"), ("", "holds no pair")],
)
def test_bad_pairs_are_refused(write, text, message):
    with pytest.raises(DataError, match=message):
        read_pairs(write(text))
