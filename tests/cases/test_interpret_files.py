"""The shared cases of files that interpretations read: motifs in MEME format and variants in VCF."""

from pathlib import Path

import pytest
import torch
from torch import nn

import netassay
from netassay.errors import DataError, NetassayError

CASES = Path(__file__).parents[3] / "shared" / "cases" / "interpret"
GENOME = CASES / "genome.fa"

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"the shared cases are not at {CASES}")

ROWS = [
    [0.9, 0.05, 0.03, 0.02],
    [0.02, 0.02, 0.94, 0.02],
    [0.01, 0.97, 0.01, 0.01],
    [0.05, 0.05, 0.05, 0.85],
    [0.9, 0.02, 0.06, 0.02],
    [0.7, 0.1, 0.1, 0.1],
]

REFUSED_MEME = {
    "meme-rna": ":3: motifs over the letters 'ACGU'",
    "meme-counts": ":9: row 1 .*look like counts",
    "meme-log-odds-only": "holds no motifs .*log-odds alone",
    "meme-width-long": ":16: motif 'm1' ends after 6 of 9 rows",
    "empty": "is empty",
}


@pytest.mark.parametrize("path", sorted(CASES.glob("*.meme")), ids=lambda path: path.stem)
def test_meme(path):
    if path.stem in REFUSED_MEME:
        with pytest.raises(DataError, match=rf"{path.name}.*{REFUSED_MEME[path.stem]}"):
            netassay.read_meme(path)
        return
    motifs = netassay.read_meme(path)
    if path.stem == "tomtom-queries":
        assert len(motifs) > 4
        return
    for pwm in motifs.pwm:
        torch.testing.assert_close(pwm.T, torch.tensor(ROWS, dtype=torch.float64), rtol=0, atol=1e-9)
    law = (0.3, 0.2, 0.2, 0.3) if "background-" in path.stem and "no-" not in path.stem else (0.25,) * 4
    assert motifs.background == pytest.approx(law)


def test_what_a_motif_file_lost_or_said_otherwise_is_counted():
    empty = netassay.read_meme(CASES / "meme-empty-motif.meme")
    assert (empty.names, sum(empty.notes.values())) == (("1", "4"), 2)
    none = netassay.read_meme(CASES / "meme-nsites-zero.meme")
    assert (none.sites.tolist(), sum(none.notes.values())) == ([20], 1)
    assert float(none.information.sum()) > 7


class Weighted(nn.Module):
    """An output that every base of the sequence has its own part in."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(2, 4, 200, generator=torch.Generator().manual_seed(0)))

    def forward(self, x):
        return torch.einsum("nbl,obl->no", x, self.weight)


def effects(name):
    return netassay.variant_effects(Weighted(), CASES / f"vcf-{name}.vcf", GENOME, length=200, null=0)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("lowercase", 1),
        ("nonnormal-gnomad", 2),
        ("no-chr-prefix", 2),
        ("M-vs-chrM", 1),
        ("headerless", 1),
        ("no-fileformat", 1),
        ("crlf", 1),
        ("bom", 1),
        ("5col-nohdr", 1),
        ("near-N", 1),
        ("dup-rows", 2),
    ],
)
def test_variants_that_are_scored(name, count):
    made = effects(name)
    assert (len(made.variants), dict(made.dropped), dict(made.notes)) == (count, {}, {})
    assert bool((made.effects != 0).all())


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("alt-dot", [("chr1:500:A>.", "no alternative allele")]),
        (
            "all-symbolic",
            [
                ("chr1:500:A><DEL>", "symbolic allele"),
                ("chr1:501:G><INS:ME:ALU>", "symbolic allele"),
                ("chr1:502:C>N[CHR2:5[", "breakend"),
            ],
        ),
        ("gvcf-nonref", [("chr1:500:A><NON_REF>", "symbolic allele"), ("chr1:501:G><NON_REF>", "symbolic allele")]),
        ("long-del", [(None, "allele longer than half of the window of 200 bases")]),
        ("in-N", [("chr2:1520:N>A", "bases of REF that are not known")]),
        ("iupac-ref", [("chr1:500:R>C", "bases of REF that are not known")]),
        ("pos0", [("chr1:0:A>C", "position 0, before the first base")]),
        ("accession", [("NC_000001.11:500:A>C", "on a contig that genome.fa does not have")]),
    ],
)
def test_alleles_that_are_left_out_have_a_row_that_says_why(name, reasons):
    made = effects(name)
    table = made.table()
    left = table.filter(table["left out"].is_not_null())
    rows = left.select("id", "left out").rows()
    assert [row[1] for row in rows] == [reason for _, reason in reasons]
    assert all(name is None or row[0] == name for row, (name, _) in zip(rows, reasons, strict=True))
    assert sum(made.dropped.values()) == len(reasons)
    assert len(table) == len(made.variants) + len(reasons)
    assert left["largest effect"].null_count() == len(reasons)


@pytest.mark.parametrize(("name", "scored", "padded"), [("edge-left", 3, 2), ("edge-deletion", 1, 1)])
def test_windows_over_the_end_are_filled(name, scored, padded):
    made = effects(name)
    assert len(made.variants) == scored
    assert made.notes == {"window over the end of its contig, filled with unknown bases": padded}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("refmismatch", r":3: REF is C at chr1:500, where .* has A; take the assembly .*--mismatches skip"),
        ("off-by-one", r":3: REF is A at chr1:501, where .* has G"),
        ("ref-dash", "ALT is '-'; this is a deletion as MAF .*add it there"),
        ("ins-dash", "REF is '-'; this is an insertion as MAF .*add it there"),
        ("ref-dot-tcga", "REF is '.'; this is an insertion as MAF files .TCGA.*add it there"),
        (
            "variant-scorer-tsv",
            ":1: 'chr pos allele1 allele2 variant_id' heads no VCF; .*variant-scorer.*awk",
        ),
        ("spaces", ":3: .*separated by spaces"),
        ("float-pos", ":3: POS is '5e2'"),
        ("comma-pos", ":3: POS is '1,500'"),
        ("trailing-comma", ":3: ALT is 'C,'"),
        ("empty-body", "holds no variant: there is no line below the header"),
    ],
)
def test_files_that_are_refused(name, says):
    with pytest.raises(DataError, match=rf"vcf-{name}\.vcf{'' if says[0] == ':' else '.*'}{says}"):
        effects(name)


def test_all_files_are_looked_at():
    text = Path(__file__).read_text()
    assert [path.name for path in CASES.glob("vcf-*.vcf") if f'"{path.stem[4:]}"' not in text] == []


def test_a_bed_file_in_another_order_of_chromosomes():
    from netassay.dna.atlas.new_sequences import regions_of

    given = regions_of(CASES / "chrom-order.bed", GENOME, 100)
    assert len(given.codes)


@pytest.mark.parametrize("path", sorted(CASES.glob("vcf-*.vcf")), ids=lambda path: path.stem)
def test_every_file_is_scored_or_refused_by_its_name(path):
    try:
        assert len(effects(path.stem[4:]).table())
    except NetassayError as refused:
        assert path.name in str(refused)
