"""Effects of variants: windows by hand, genomes that disagree, the command."""

import polars as pl
import pytest
import torch
from easy_atlas import SMALL, easy_atlas
from small_networks import network
from torch import nn

from netassay.cli import main
from netassay.errors import DataError
from netassay.formats.bases import decode, encode, one_hot
from netassay.performing import perform
from netassay.studies.aitac.answers import variant_effects
from netassay.studies.aitac.config import AitacConfig

#          1234567890123456789012345
GENOME = "ACGTTGCAAGCTTACCGGATTACAG"


class Spelled(nn.Module):
    """Outputs that tell the sequence: the code of every base."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.arange(4.0)[:, None])

    def forward(self, x):
        return (x * self.weight).sum(1)


@pytest.fixture
def files(tmp_path):
    genome = tmp_path / "genome.fa"
    genome.write_text(f">chr1 toy\n{GENOME}\n>chr2\nNNNNNNNNNN\n")

    def make(*lines):
        vcf = tmp_path / "v.vcf"
        vcf.write_text("".join("\t".join(map(str, (*line, ".", ".", "."))) + "\n" for line in lines))
        return vcf, genome

    return make


def spelled(values):
    return [decode(row.to(torch.uint8).numpy()) for row in values]


def test_windows_by_hand(files):
    made = variant_effects(
        Spelled(),
        *files(
            ("chr1", 10, "snv", "G", "T"),
            ("1", 10, "insertion", "G", "GTT"),
            ("chr1", 10, "deletion", "GCT", "G"),
            ("chr1", 10, "both", "GC", "TTA"),
            ("chr1", 22, "last", "A", "T"),
        ),
        length=7,
        both_strands=False,
        null=0,
    )
    # seven bases, the variant's first at the fourth
    assert spelled(made.reference) == ["CAAGCTT"] * 4 + ["ATTACAG"]
    assert spelled(made.alternative) == ["CAATCTT", "CAAGTTC", "CAAGTAC", "CAATTAT", "ATTTCAG"]
    assert made.variants["id"].to_list() == ["snv", "insertion", "deletion", "both", "last"]
    assert not made.dropped
    assert made.effects[0].tolist() == [0, 0, 0, 1, 0, 0, 0]
    assert made.p.isnan().all()


@pytest.mark.parametrize(("theirs", "ours"), [("MT", "chrM"), ("chrM", "MT"), ("M", "chrM")])
def test_the_mitochondrial_genome_is_called_mt_and_chrm(files, theirs, ours):
    vcf, genome = files((theirs, 10, "v", "G", "T"))
    genome.write_text(genome.read_text().replace(">chr1 toy", f">{ours}"))
    made = variant_effects(Spelled(), vcf, genome, length=7, both_strands=False, null=0)
    assert spelled(made.alternative) == ["CAATCTT"] and not made.dropped


def test_what_is_left_out_is_counted(files):
    made = variant_effects(
        Spelled(),
        *files(
            ("chr1", 10, "kept", "G", "T,<DUP>"),
            ("chr9", 10, "nowhere", "G", "T"),
            ("chr1", 2, "edge", "C", "T"),
            ("chr1", 25, "end", "G", "T"),
            ("chr1", 20, "moves beyond the end", "TTAC", "T"),
            ("chr1", 25, "behind", "GA", "G"),
            ("chr1", 10, "long", "G", "TTTTT"),
            ("chr2", 5, "unknown", "A", "T"),
        ),
        length=7,
        null=0,
    )
    assert made.variants["id"].to_list() == ["kept", "edge", "end", "moves beyond the end"]
    reasons = {
        "symbolic allele": "kept",
        "on a contig that genome.fa does not have": "nowhere",
        "beyond the end of its contig": "behind",
        "allele longer than half of the window of 7 bases": "long",
        "bases of REF that are not known": "unknown",
    }
    assert made.dropped == dict.fromkeys(reasons, 1)
    assert dict(made.left_out.select("left out", "id").iter_rows()) == reasons
    table = made.table()
    assert len(table) == 9
    assert dict(table.drop_nulls("left out").select("left out", "id").iter_rows()) == reasons
    assert table.filter(pl.col("left out").is_null())["id"].to_list() == made.variants["id"].to_list()
    assert table.filter(pl.col("left out").is_not_null())["largest effect"].null_count() == 5


def test_windows_over_the_end_of_a_contig_are_filled_with_unknown_bases(files):
    made = variant_effects(
        Spelled(),
        *files(
            ("chr1", 2, "edge", "C", "T"),
            ("chr1", 25, "end", "G", "T"),
            ("chr1", 20, "moves", "TTAC", "T"),
            ("chr1", 19, "fits", "ATTA", "A"),
        ),
        length=7,
        both_strands=False,
        null=0,
    )
    # an unknown base has no code of its own here: its column is zero, as that of A
    assert spelled(made.reference) == ["AAACGTT", "ACAGAAA", "GGATTAC", "CGGATTA"]
    assert spelled(made.alternative) == ["AAATGTT", "ACATAAA", "GGATAGA", "CGGACAG"]
    assert made.notes == {"window over the end of its contig, filled with unknown bases": 3}


def test_alleles_that_are_all_left_out_are_reported_all_the_same(files):
    made = variant_effects(Spelled(), *files(("chr1", 10, "a", "G", "<DEL>"), ("NC_1.1", 1, "b", "G", "T")), length=7)
    assert made.effects.shape == (0, 7)
    assert made.table().select("id", "left out").rows() == [
        ("a", "symbolic allele"),
        ("b", "on a contig that genome.fa does not have"),
    ]


def test_a_genome_that_disagrees_is_reported_or_counted(files):
    given = files(("chr1", 10, "a", "G", "T"), ("chr1", 11, "b", "GT", "T"), ("chr1", 12, "c", "T", "A"))
    with pytest.raises(DataError, match=r"v\.vcf:2: REF is GT at chr1:11, where .*genome\.fa has CT;.*skip"):
        variant_effects(Spelled(), *given, length=7)
    made = variant_effects(Spelled(), *given, length=7, mismatches="skip", null=0)
    assert made.variants["id"].to_list() == ["a", "c"]
    assert made.dropped == {"REF is not what the genome has there": 1}
    none = variant_effects(Spelled(), *files(("chr1", 10, "a", "T", "G")), length=7, mismatches="skip")
    assert none.left_out["left out"].to_list() == ["REF is not what the genome has there"]
    with pytest.raises(DataError, match="give length="):
        variant_effects(Spelled(), *given)


def test_effects_are_those_of_the_forward_pass_on_both_strands(tmp_path):
    model, g = network(30).eval(), torch.Generator().manual_seed(1)
    letters = decode(torch.randint(4, (1400,), generator=g).to(torch.uint8).numpy())
    genome, vcf = tmp_path / "g.fa", tmp_path / "v.vcf"
    genome.write_text(f">c\n{letters}\n")
    vcf.write_text(f"c\t701\t.\t{letters[700]}\t{'A' if letters[700] != 'A' else 'C'}\t.\n")
    made = variant_effects(model, vcf, genome, null=50)
    window = torch.from_numpy(encode(letters[685:715]).copy())[None]
    changed = window.clone()
    changed[0, 15] = 0 if letters[700] != "A" else 1
    with torch.no_grad():
        outputs = [(model(one_hot(c)) + model(one_hot(c).flip(1, 2))) / 2 for c in (window, changed)]
    assert torch.allclose(made.effects, outputs[1] - outputs[0], atol=1e-6)
    assert made.outputs == ("output 0", "output 1", "output 2")
    assert len(made.null) == 50
    largest = float(made.effects.abs().max())
    assert made.p.tolist() == pytest.approx([(1 + int((made.null >= largest).sum())) / 51])


def test_the_command_writes_a_row_an_allele(tmp_path, capsys):
    atlas = easy_atlas()
    config = AitacConfig(atlas=str(atlas.save(tmp_path / "atlas")), **{**SMALL, "epochs": 1})
    run = perform(config, tmp_path / "runs", threads=1)
    letters = decode(atlas.codes[:3].flatten().numpy())
    (tmp_path / "g.fa").write_text(f">c\n{letters}\n")
    other = {"A": "C", "C": "G", "G": "T", "T": "A"}[letters[89]]
    vcf = tmp_path / "v.vcf"
    vcf.write_text(f"##fileformat=VCFv4.2\nc\t90\trs1\t{letters[89]}\t{other},*\t.\n")
    words = ["variants", str(run.folder), "--vcf", str(vcf), "--genome", str(tmp_path / "g.fa")]
    assert main([*words, "--out", str(tmp_path / "t.tsv"), "--null", "30"]) == 0
    assert "1 left out: allele *" in capsys.readouterr().err
    table = pl.read_csv(tmp_path / "t.tsv", separator="\t")
    assert table.columns == [
        "chromosome",
        "position",
        "id",
        "ref",
        "alt",
        "largest effect less mean",
        "in",
        "p",
        *(f"effect less mean {c}" for c in "abcd"),
        *(f"reference less mean {c}" for c in "abcd"),
        "left out",
    ]
    row = table.row(0, named=True)
    assert row["largest effect less mean"] == row[f"effect less mean {row['in']}"] != 0
    # the loss (pearson) leaves an offset free: outputs are less their mean over the cell types
    assert sum(row[f"reference less mean {c}"] for c in "abcd") == pytest.approx(0, abs=1e-5)
    assert (table["alt"][1], table["left out"][1]) == ("*", "allele *, deleted by another variant")
    assert main([*words, "--out", str(tmp_path / "t.xlsx")]) == 2
    assert "allowed: .csv" in capsys.readouterr().err
    vcf.write_text(f"c\t90\trs1\t{other}\t{letters[89]}\t.\n")
    assert main([*words, "--out", str(tmp_path / "u.tsv")]) == 2
    assert "v.vcf:1: REF is" in capsys.readouterr().err
    assert not (tmp_path / "u.tsv").exists()
    assert main([*words, "--out", str(tmp_path / "u.tsv"), "--mismatches", "skip"]) == 1
    assert "no variant could be scored" in capsys.readouterr().err
    assert len(pl.read_csv(tmp_path / "u.tsv", separator="\t")) == 1
