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
    bed, immgen = (read_intervals(toy.path(f), k) for f, k in (("peaks.bed", "bed"), ("immgen.txt", "immgen")))
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
    with pytest.raises(DataError, match=r"p.bed:1: column 10.* is '100'; allowed are -1 \(none\) and 0 to 99"):
        read_intervals(write(rows[0].replace("\t30", "\t100")), "bed")


@pytest.mark.parametrize(
    ("row", "summits", "said"),
    [
        ("a\t0\t.\t1.5\t-1\t2\t7", [107, 107], "taken from column 10"),
        (".\t.\t.\t.\t.\t.\t7", [107, 107], "taken from column 10"),
        ("-\t-\t-\t-\t-\t-\t7", [None, None], "column 10 is not a summit"),
        ("a\t0\t+\tGATA1\tintron\t2\t7", [None, None], "column 10 is not a summit"),
        ("a\t0\t+\t100\t150\t255,0,0\t7", [None, None], "column 10 is not a summit"),
        ("a\t0\t5\t1\t2\t3\t7", [None, None], "column 10 is not a summit"),
        ("a\t0\t+\t1\t2\t3\t0.7", [None, None], None),
    ],
)
def test_ten_columns_are_narrow_peak_by_name_or_by_what_they_hold(write, row, summits, said):
    notes = Counter()
    text = f"chr1\t100\t200\t{row}\nchr2\t100\t200\t{row}\n".replace("\ta\t", "\t.\t")
    path = write(text)
    assert read_intervals(path, "bed", notes=notes)["summit"].to_list() == summits
    assert [said in reason for reason in notes] == [True] * (said is not None)
    if said == "taken from column 10":
        notes.clear()
        assert read_intervals(path.rename(path.with_suffix(".narrowPeak")), "bed", notes=notes)["summit"][0] == 107
        assert not notes


def test_a_line_among_narrow_peaks_that_is_none_makes_the_file_none(write):
    rows = ["chr1\t100\t200\t.\t0\t.\t1\t2\t3\t7"] * 2 + ["chr1\t300\t400\t.\t0\t.\t1\tp\t3\t7"]
    found = read_intervals(write("\n".join(rows)), "bed", repeats="keep")
    assert found["summit"].to_list() == [None] * 3


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("p0\t1\t201\t300\np1\t1\t451\t550\n", "immgen"),
        ("p0 1 201 300\n", "immgen"),
        ("1 201 300 17\n1 451 550 18\n", "bed"),
        ("1 201 300 1700\n1 451 550 1800\n", "bed"),
        ("chr1 201 300 1700\n", "bed"),
        ("scaffold_1 201 300 4000\nscaffold_1 451 550 5000\n", "bed"),
        ("X 201 300 4000\nMT 451 550 5000\n", "bed"),
        ("p0 X 201 300\np1 MT 451 550\n", "immgen"),
        ("chrom\tstart\tend\tname\nchr1\t1\t2\tx\n", "table"),
        ("name,chrom,start,end\nx,chr1,1,2\n", "table"),
        ("GeneID\tChr\tStart\tEnd\tStrand\nx\tchr1\t1\t2\t+\n", "immgen"),
    ],
)
def test_the_form_where_numbers_are_chromosomes_or_names(write, text, form):
    assert guess_form(write(text)) == form


def test_what_may_be_two_forms_is_asked_for(write):
    with pytest.raises(DataError, match=r"may be BED or ImmGen's table .*--form bed or --form immgen"):
        guess_form(write("a 201 300 4000\nb 451 550 5000\n"))


def test_names_that_stand_for_several_regions(write):
    path = write("chr1\t1\t2\tGATA1\nchr1\t5\t9\tGATA1\nchr2\t5\t9\tSPI1\nchr2\t6\t9\t-\n")
    notes = Counter()
    frame = read_intervals(path, "bed", notes=notes, shared_names=True)
    assert frame["name"].to_list() == ["chr1:1-2", "chr1:5-9", "chr2:5-9", "chr2:6-9"]
    assert list(notes.values()) == [1]
    assert read_intervals(path, "bed", repeats="keep")["name"][1] == "GATA1"
    with pytest.raises(DataError, match="'GATA1' was named on line 1 already"):
        read_intervals(path, "bed")


def test_a_region_that_comes_twice(write):
    path = write("chr1\t1\t2\nchr1\t5\t9\nchr1\t1\t2\n")
    with pytest.raises(DataError, match=r"p.bed:3: the region chr1:1-2 .* stands on line 1 already; .*--drop twice"):
        read_intervals(path, "bed", shared_names=True)
    skipped = Counter()
    assert len(read_intervals(path, "bed", skipped=skipped, repeats="drop")) == 2
    assert list(skipped.values()) == [1]


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_line_ends_of_any_system_and_the_end_of_a_dos_text(tmp_path, end):
    path = tmp_path / "p.bed"
    path.write_bytes(end.join(["chr1\t1\t2", "chr2\t1\t2", "\x1a"]).encode())
    skipped = Counter()
    assert read_intervals(path, "bed", skipped=skipped)["line"].to_list() == [1, 2]
    assert list(skipped.values()) == [1]


def test_the_first_region_gives_the_form(write):
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
def test_bad_lines_are_reported_with_their_number(write, text, form, message):
    with pytest.raises(DataError, match=message):
        read_intervals(write(text), form)


def test_a_stop_of_one_base_is_a_region_in_immgen(write):
    assert read_intervals(write("n chr1 5 5\n"), "immgen").row(0)[2:4] == (4, 5)
