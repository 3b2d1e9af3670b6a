"""Variants of VCF files: lines by hand, alleles that are no sequence, files that are none."""

import gzip
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netassay.errors import DataError
from netassay.formats.vcf import SCHEMA, read_vcf

HEAD = "##fileformat=VCFv4.2\n##contig=<ID=chr1>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


def written(tmp_path, *lines, name="v.vcf", head=HEAD, eol="\n"):
    path = tmp_path / name
    path.write_bytes((head + "".join(line + "\n" for line in lines)).replace("\n", eol).encode())
    return path


def test_columns_and_alleles_by_hand(tmp_path):
    lines = [
        "chr1\t10\trs1\tA\tG\t.\tPASS\t.",
        "chr1\t12\t.\tac\tA,ACG,t\t.\t.\t.\tGT\t0/1",
        "2\t7\trs3;rs4\tN\tT",
    ]
    path = written(tmp_path, *lines)
    found = read_vcf(path)
    assert found.schema == SCHEMA
    assert found.rows() == [
        ("chr1", 10, "rs1", "A", "G", 4),
        ("chr1", 12, "chr1:12:AC>A", "AC", "A", 5),
        ("chr1", 12, "chr1:12:AC>ACG", "AC", "ACG", 5),
        ("chr1", 12, "chr1:12:AC>T", "AC", "T", 5),
        ("2", 7, "rs3;rs4", "N", "T", 6),
    ]
    assert read_vcf(written(tmp_path, *lines, name="crlf.vcf", eol="\r\n")).equals(found)
    zipped = tmp_path / "v.vcf.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()[:200]) + gzip.compress(path.read_bytes()[200:]))
    assert read_vcf(zipped).equals(found)


def test_alleles_that_are_no_sequence_are_counted(tmp_path):
    lines = [
        "1\t5\t.\tA\t<DEL>,*,C",
        "1\t6\t.\tA\t.",
        "1\t7\t.\tA\tA",
        "1\t8\t.\tG\tG]17:198982]",
        "1\t8\t.\tG\t.A",
        "",
        "1\t9\t.\tG\tR",
        "1\t0\t.\tN\tA,C",
    ]
    skipped = Counter()
    assert read_vcf(written(tmp_path, *lines), skipped=skipped)["alt"].to_list() == ["C"]
    assert skipped == {
        "symbolic allele": 1,
        "allele *, deleted by another variant": 1,
        "no alternative allele": 1,
        "alternative equal to the reference": 1,
        "breakend": 2,
        "blank line": 1,
        "alternative with bases other than A, C, G, T": 1,
        "position 0, before the first base": 2,
    }


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1 5 . A C", "v.vcf:4: .*separated by spaces"),
        ("1\t5\t.\tA", "v.vcf:4: .*CHROM, POS, ID, REF, ALT"),
        ("1\tfive\t.\tA\tC", "POS is 'five'"),
        ("1\t-5\t.\tA\tC", "POS is '-5'"),
        (
            "1\t5\t.\t-\tC",
            "v.vcf:4: REF is '-'; this is an insertion as MAF files .* the preceding base comes first",
        ),
        ("1\t5\t.\t.\tC", "REF is '.'; this is an insertion"),
        ("1\t5\t.\tA\t-", "ALT is '-'; this is a deletion as MAF .*ANNOVAR"),
        ("chr\tpos\tallele1\tallele2\tid", "heads no VCF; .*variant-scorer takes; .*awk"),
        ("1\t5\tA\tC\trs1", "ALT is 'rs1'.*variant-scorer"),
        ("CHROM\tPOS\tID\tREF\tALT", "names the columns, but does not begin with #"),
        ("1\t5\t.\t\tC", "REF is ''"),
        ("1\t5\t.\tA\tC,", "ALT is 'C,'"),
        ("1\t5\t.\tA\tX", "ALT is 'X'"),
        ("\t5\t.\tA\tC", "CHROM is empty"),
        ("1\t5\t.\tA\t<DEL>", "holds no variant.*1 left out: symbolic allele"),
    ],
)
def test_lines_that_are_wrong_are_reported(tmp_path, line, said):
    with pytest.raises(DataError, match=said):
        read_vcf(written(tmp_path, line))


def test_files_that_are_none_are_reported(tmp_path):
    path = tmp_path / "v.vcf"
    path.write_bytes(gzip.compress(b"BCF\x02\x02" + bytes(range(200))))
    with pytest.raises(DataError, match=r"is BCF.*bcftools view"):
        read_vcf(path)
    whole = gzip.compress((HEAD + "1\t5\t.\tA\tC\n" * 500).encode())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged or cut"):
        read_vcf(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="holds no variant"):
        read_vcf(path)
    path.write_bytes(b"1\t5\t.\xff\tA\tC\n")
    with pytest.raises(DataError, match="not UTF-8"):
        read_vcf(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_vcf(tmp_path / "missing.vcf")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.integers(1, 10**9),
            st.text("ACGT", min_size=1, max_size=5),
            st.text("ACGT", min_size=1, max_size=5),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_what_is_written_is_read(tmp_path, rows):
    path = written(tmp_path, *(f"chr1\t{place}\tx\t{ref}\t{alt}\t." for place, ref, alt in rows))
    wanted = [row for row in rows if row[1] != row[2]]
    if not wanted:
        with pytest.raises(DataError, match="equal to the reference"):
            read_vcf(path)
    else:
        assert read_vcf(path).select("position", "ref", "alt").rows() == wanted


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=120))
def test_any_bytes_give_variants_or_a_clear_error(tmp_path, data):
    path = tmp_path / "any.vcf"
    path.write_bytes(data)
    try:
        assert len(read_vcf(path))
    except DataError as error:
        assert str(path) in str(error)
