from collections import Counter

import pytest
from toy_atlas import make_toy

from netassay.errors import DataError
from netassay.formats.intervals import guess_form, read_intervals


@pytest.fixture
def write(tmp_path):
    def to_file(content):
        path = tmp_path / "p.bed"
        path.write_text(content)
        return path

    return to_file


def test_bed_and_immgen_describe_the_same_bases(tmp_path):
    toy = make_toy(tmp_path)
    bed, immgen = (
        read_intervals(toy.path(f), k) for f, k in (("peaks.bed", "bed"), ("immgen.txt", "immgen"))
    )
    columns = ["name", "chromosome", "start", "end"]
    assert bed.select(columns).equals(immgen.select(columns))
    assert list(bed.select(columns).iter_rows()) == toy.peaks
    # ImmGen counts from 1 and includes the stop
    assert (tmp_path / "immgen.txt").read_text().splitlines()[1].split()[2:] == ["1", "51"]


def test_comments_names_and_ends_of_lines(write):
    skipped = Counter()
    text = "track name=x\n#c\n\nchr1 5 9\r\nchr1\t5\t10\t.\t3\t+\nchr2\t0\t4\tmine\n"
    frame = read_intervals(write(text), "bed", skipped=skipped)
    assert frame["name"].to_list() == ["chr1:5-9", "chr1:5-10", "mine"]
    assert frame["line"].to_list() == [4, 5, 6]
    assert skipped == {"comment or track line": 2, "blank line": 1}


def test_the_summit_of_a_narrow_peak(write):
    rows = ["chr1\t100\t200\ta\t0\t.\t1\t1\t1\t30", "chr1\t100\t200\tb\t0\t.\t1\t1\t1\t-1"]
    assert read_intervals(write("\n".join(rows)), "bed")["summit"].to_list() == [130, None]
    with pytest.raises(
        DataError, match=r"p.bed:1: column 10.* is '100'; allowed are -1 \(none\) and 0 to 99"
    ):
        read_intervals(write(rows[0].replace("\t30", "\t100")), "bed")


def test_the_form_is_told_by_the_first_region(write):
    assert guess_form(write("#x\nchr1\t5\t9\tn\n")) == "bed"
    assert guess_form(write("name chromosome start stop\nn chr1 5 9\n")) == "immgen"
    with pytest.raises(DataError, match="no line reads as a region"):
        guess_form(write("a,b,c\n"))


@pytest.mark.parametrize(
    ("text", "form", "message"),
    [
        ("chr1\t5\n", "bed", r"p.bed:1: has 2 of the columns"),
        ("chr1\t5\tx\n", "bed", r"p.bed:1: end is 'x'; coordinates are whole numbers"),
        ("chr1\t5.0\t9\n", "bed", r"start is '5.0'"),
        ("\nchr1\t9\t9\n", "bed", r"p.bed:2: ends at or before its start \(0-based"),
        ("chr1\t9\t5\n", "bed", "ends at or before its start"),
        ("chr1\t-1\t5\n", "bed", "begins before the first base"),
        ("chr1\t1\t99999999999999999999\n", "bed", "coordinates are whole numbers"),
        ("n chr1 0 5\n", "immgen", r"p.bed:1: begins before the first base \(1-based"),
        ("n chr1 6 5\n", "immgen", "ends at or before its start"),
        ("h c s e\nn chr1 6\n", "immgen", "p.bed:2: has 3 of the columns"),
        ("chr1\t0\t5\ta\nchr2\t0\t5\ta\n", "bed", r"p.bed:2: region 'a' was named on line 1 already"),
        ("#only\n", "bed", r"holds no region \(1 comment or track line\)"),
    ],
)
def test_bad_lines_are_told_with_their_number(write, text, form, message):
    with pytest.raises(DataError, match=message):
        read_intervals(write(text), form)


def test_a_stop_of_one_base_is_a_region_in_immgen(write):
    assert read_intervals(write("n chr1 5 5\n"), "immgen").row(0)[2:4] == (4, 5)
