import gzip
import shutil

import numpy as np
import pybigtools
import pytest
import torch
from toy_atlas import CELL_TYPES, make_toy, write_fasta, write_heights

from netassay import build_atlas, describe_atlas, export_atlas
from netassay.dna.atlas.choices import FLAWS, Flaw
from netassay.errors import DataError
from netassay.formats.bases import decode


@pytest.fixture
def toy(tmp_path):
    return make_toy(tmp_path)


def build(toy, peaks="peaks.bed", heights="heights.csv", genome="genome.fa", **words):
    return build_atlas(toy.path(peaks), toy.path(heights), genome=toy.path(genome), **words)


def test_bed_and_immgen_give_the_same_bases_and_heights_by_name(toy):
    bed, immgen = build(toy), build(toy, "immgen.txt")
    assert bed.digest == immgen.digest
    for i, (name, chromosome, start, end) in enumerate(toy.peaks):
        assert decode(bed.codes[i].numpy()) == toy.bases(i)
        assert bed.heights[i].tolist() == toy.heights[name]
        assert bed.peaks.row(i)[:4] == (name, chromosome, start, end)
    assert bed.cell_types == CELL_TYPES
    assert (bed.dropped, bed.notes) == ({}, {})
    assert immgen.notes == {"header in immgen.txt, skipped": 1}


def test_narrow_peaks_of_many_widths_around_their_summits(toy):
    rows = []
    for i, (name, chromosome, start, end) in enumerate(toy.peaks):
        offset = -1 if i == 0 else 20
        rows.append(f"{chromosome}\t{start}\t{end + i}\t{name}\t0\t.\t1\t1\t1\t{offset}\n")
    toy.path("x.narrowPeak").write_text("".join(rows))
    with pytest.raises(DataError, match=r"narrowPeak:2: peak 'peak_1'.* has 52 bases, 1 others have 51"):
        build(toy, "x.narrowPeak")
    made = build(toy, "x.narrowPeak", width=30, drop=["beyond-contig"])
    _, chromosome, start, _ = toy.peaks[3]
    assert decode(made.codes[3].numpy()) == toy.genome[chromosome][start + 20 - 15 : start + 20 + 15]
    # without a summit the middle of 0-51 is 25
    assert made.peaks.row(0, named=True)["start"] == 10
    assert made.notes == {"of another width, made 30 around summit or middle": 40}


def test_heights_of_bigwigs_named_after_their_files(toy):
    lengths = {name: len(letters) for name, letters in toy.genome.items()}
    (toy.folder / "signal").mkdir()
    for k, cell_type in enumerate(("B.Fo", "NK")):
        records = sorted((c, s, e, toy.heights[n][k] + 0.5) for n, c, s, e in toy.peaks if c != "chr3" or k == 0)
        kept = lengths if k == 0 else {name: lengths[name] for name in ("chr1", "chr2")}
        pybigtools.open(str(toy.folder / "signal" / f"{cell_type}.bw"), "w").write(kept, records)
    made = build(toy, heights="signal")
    assert made.cell_types == ("B.Fo", "NK")
    expected = [[toy.heights[n][0] + 0.5, toy.heights[n][1] + 0.5 if c != "chr3" else 0] for n, c, _, _ in toy.peaks]
    assert made.heights.tolist() == expected
    assert made.notes["on a chromosome without signal in NK.bw, height 0"] == 13
    files = [toy.folder / "signal" / "B.Fo.bw", toy.folder / "signal" / "NK.bw"]
    total = build_atlas(toy.path("peaks.bed"), files, genome=toy.path("genome.fa"), statistic="sum")
    torch.testing.assert_close(total.heights, made.heights * 51)
    shutil.copy(files[0], toy.path("NK.bw"))
    with pytest.raises(DataError, match="two bigWigs are called 'NK'"):
        build_atlas(toy.path("peaks.bed"), [files[1], toy.path("NK.bw")], genome=toy.path("genome.fa"))


def test_h5ad_round_trip_with_and_without_a_genome(toy):
    pytest.importorskip("anndata", reason="the extra anndata is not installed")
    toy.path("lineages.csv").write_text("cell type,lineage\nB,B\nT,T\n")
    made = build(toy, lineages=toy.path("lineages.csv"))
    assert made.lineages == ("B", "T", "")
    assert made.notes == {"cell types without a lineage in lineages.csv": 1}
    export_atlas(made, toy.path("x.h5ad"))
    assert build_atlas(toy.path("x.h5ad")).digest == made.digest
    with pytest.raises(DataError, match="exists already"):
        export_atlas(made, toy.path("x.h5ad"))
    with pytest.raises(DataError, match="ending"):
        export_atlas(made, toy.path("x.h5"))
    with pytest.raises(DataError, match="holds its own heights"):
        build_atlas(toy.path("x.h5ad"), toy.path("heights.csv"))
    with pytest.raises(DataError, match="holds its own sequences"):
        build_atlas(toy.path("x.h5ad"), genome=toy.path("genome.fa"))
    import anndata

    held = anndata.read_h5ad(toy.path("x.h5ad"))
    del held.varm["netassay_bases"]
    held.write_h5ad(toy.path("y.h5ad"))
    assert build_atlas(toy.path("y.h5ad"), genome=toy.path("genome.fa")).digest == made.digest
    with pytest.raises(DataError, match="gives regions and no bases; add the genome"):
        build_atlas(toy.path("y.h5ad"))


def test_what_is_lost_or_odd_is_counted_by_reason(toy):
    heights = dict(toy.heights)
    del heights["peak_3"]
    heights["stranger"] = [1, 2, 3]
    heights["peak_4"] = [1, "NA", 2]
    heights["peak_5"] = [7, 7, 7]
    write_heights(toy.path("heights.csv"), heights.items())
    with toy.path("peaks.bed").open("a") as file:
        file.write("chrUn\t0\t51\tpeak_un\nchr1\t4990\t5041\tpeak_end\n")
    heights |= {"peak_un": [1, 2, 3], "peak_end": [1, 2, 3]}
    write_heights(toy.path("heights.csv"), heights.items())
    genome = dict(toy.genome)
    genome["chr1"] = "n" + genome["chr1"][1:]
    write_fasta(toy.path("genome.fa"), genome)
    drop: list[Flaw] = ["missing-contig", "beyond-contig", "not-finite"]
    made = build(toy, drop=drop)
    assert made.dropped == {
        "without heights": 1,
        "heights without a peak": 1,
        FLAWS["missing-contig"]: 1,
        FLAWS["beyond-contig"]: 1,
        FLAWS["not-finite"]: 1,
    }
    assert made.notes == {f"{FLAWS['unknown-base']}, kept": 1, f"{FLAWS['constant']}, kept": 1}
    assert len(made) == 38
    assert made.sequences(0)[0, :, 0].tolist() == [0, 0, 0, 0]
    fewer = build(toy, drop=list(FLAWS))
    assert len(fewer) == 36
    assert fewer.notes == {}
    assert sum(fewer.dropped.values()) == 7
    # heights stay with their peaks through every drop
    for row, name in enumerate(fewer.peaks["name"]):
        assert fewer.heights[row].tolist() == toy.heights[name]
        assert decode(fewer.codes[row].numpy()) == toy.bases(int(name.removeprefix("peak_")))


def test_chromosomes_with_and_without_chr(toy):
    write_fasta(toy.path("genome.fa"), {name[3:]: letters for name, letters in toy.genome.items()})
    made = build(toy)
    assert decode(made.codes[5].numpy()) == toy.bases(5)
    assert made.notes == {'found in the genome under the name with or without "chr"': 40}


def test_normalisation_is_over_the_peaks_that_stay(toy):
    from netassay.dna.atlas.heights import normalise

    kept = build(toy).heights.numpy()
    np.testing.assert_array_equal(
        build(toy, normalisation="log2-quantile").heights.numpy(), normalise(kept, "log2-quantile")
    )


def test_one_cell_type_is_never_constant(toy):
    toy.path("h.tsv").write_text("name\tB\n" + "".join(f"{n}\t1\n" for n, *_ in toy.peaks))
    assert build(toy, heights="h.tsv").notes == {}


def test_all_lost_is_no_atlas(toy):
    write_heights(toy.path("heights.csv"), [(name, [1, 1, 1]) for name in toy.heights])
    with pytest.raises(DataError, match=r"no peak is left \(40 with the same height"):
        build(toy, drop=["constant"])


def test_the_sample_of_ai_tac(shared_data):
    made = build_atlas(shared_data / "aitac_sample")
    assert (len(made), made.length, len(made.cell_types)) == (100, 251, 81)
    assert made.peaks["name"][0] == "ImmGenATAC1219.peak_3"
    counts = {lineage: made.lineages.count(lineage) for lineage in made.lineages}
    assert counts == {
        "B": 18,
        "myeloid": 15,
        "abT": 15,
        "innate.lym": 10,
        "T.act": 10,
        "gdT": 7,
        "stem": 5,
        "": 1,
    }
    assert 1.08 < made.heights.min() < 1.10
    assert 7.13 < made.heights.max() < 7.15
    # vertebrate genomes hold less CpG than chance; another order of the rows would show more
    assert cpg(made) == pytest.approx(0.46, abs=0.02)
    bases = describe_atlas(made)["bases"]
    assert bases["cpg_observed_over_expected"] == pytest.approx(cpg(made), rel=0.01)
    assert bases["gc"] == pytest.approx(float(((made.codes == 1) | (made.codes == 2)).double().mean()))
    assert bases["unknown"] == 0
    assert cpg(build_atlas(shared_data / "aitac_sample", order="ACGT")) > 1
    with pytest.raises(DataError, match="no chromosomes"):
        made.split()
    assert len(made.split("random").test) == 10


def cpg(atlas):
    codes = atlas.codes.numpy()
    share = [(codes == base).mean() for base in (1, 2)]
    return ((codes[:, :-1] == 1) & (codes[:, 1:] == 2)).mean() / (share[0] * share[1])


def test_arrays_that_do_not_fit(shared_data, tmp_path):
    folder = shutil.copytree(shared_data / "aitac_sample", tmp_path / "s", copy_function=shutil.copyfile)
    np.save(folder / "cell_type_array.npy", np.zeros((99, 81), np.float32))
    with pytest.raises(DataError, match=r"cell_type_array.npy: holds float32 of shape \(99, 81\)"):
        build_atlas(folder)
    (folder / "peak_names.npy").unlink()
    with pytest.raises(DataError, match=r"holds no peak_names.npy"):
        build_atlas(folder)


@pytest.mark.parametrize("form", ["crlf", "lower", "gzip"])
def test_other_ways_to_write_the_same_files(toy, form):
    expected = build(toy).digest
    if form == "lower":
        write_fasta(toy.path("genome.fa"), {name: x.lower() for name, x in toy.genome.items()})
    for name in ("peaks.bed", "heights.csv", "genome.fa"):
        content = toy.path(name).read_bytes()
        if form == "crlf":
            toy.path(name).write_bytes(content.replace(b"\n", b"\r\n"))
        elif form == "gzip":
            toy.path(name).write_bytes(gzip.compress(content, mtime=0))
    assert build(toy).digest == expected


def test_a_peak_as_wide_as_a_chromosome_is_refused_before_it_fills_the_memory(toy):
    toy.path("peaks.bed").write_text("chr1\t0\t4000000000\tpeak_0\n")
    with pytest.raises(DataError, match=r"peaks.bed:1: peak 'peak_0'.* has 4,000,000,000 bases"):
        build(toy)
    for width in (0, 2_000_000):
        with pytest.raises(DataError, match=rf"width = {width} is not allowed: windows of 1 to 1,000,000 bases"):
            build(toy, width=width)
