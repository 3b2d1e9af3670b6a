"""Tables that map names to names: every row as it stands, and any other file refused with its line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netassay.errors import DataError
from netassay.formats.tables import read_links

names = st.text(
    st.characters(codec="utf-8", exclude_characters='\t\n\r,;"#\x85\x0b\x0c\x1c\x1d\x1e\u2028\u2029'),
    min_size=1,
)
words = names.map(str.strip).filter(bool)


@given(st.lists(st.tuples(words, words), min_size=1, max_size=6), st.sampled_from("\t,;"), st.booleans())
def test_rows_are_read_as_they_stand(tmp_path_factory, rows, separator, header):
    path = tmp_path_factory.mktemp("links") / "map"
    lines = ["source type" + separator + "Target type"] * header + ["", "# a comment"]
    lines += [separator.join(row) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    if not header and rows[0][0].lower().startswith(("source", "network")):
        return
    found = read_links(path)
    assert [(link.source, link.target) for link in found] == rows
    assert [link.line for link in found] == [3 + header + i for i in range(len(rows))]


@pytest.mark.parametrize("header", ["source,target", "Network,Atlas", "network type,atlas type"])
def test_a_header_names_both_sides(tmp_path, header):
    (tmp_path / "map").write_text(f"{header}\na,b\n")
    assert read_links(tmp_path / "map") == [("a", "b", 2)]


@given(st.binary(max_size=80))
def test_any_bytes_are_links_or_a_data_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("links") / "map"
    path.write_bytes(content)
    try:
        assert all(link.source and link.target for link in read_links(path))
    except DataError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no pair; give two columns, source and target"),
        ("source,target\n", "holds a header and no row"),
        ("a,b\nc\n", r"map:2: holds 1 fields"),
        ("a,b\nc,d,e\n", r"map:2: holds 3 fields"),
        ("a,b\nc,\n", r"map:2: the second field is empty"),
    ],
)
def test_what_is_no_map_is_reported_with_its_line(tmp_path, content, message):
    (tmp_path / "map").write_text(content)
    with pytest.raises(DataError, match=message):
        read_links(tmp_path / "map")
