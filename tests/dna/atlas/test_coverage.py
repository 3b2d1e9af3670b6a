"""Atlases from fragments and from single cells, by hand."""

import json

import numpy as np
import pytest
from toy_atlas import make_toy

from netassay import Atlas, build_atlas
from netassay.cli import main
from netassay.errors import DataError

CELLS = {f"C{i}-1": ("B", "NK", "T")[i % 3] for i in range(12)}


@pytest.fixture
def toy(tmp_path):
    toy = make_toy(tmp_path)
    lines, cuts = [], np.zeros((40, 3))
    draw = np.random.default_rng(0)
    for peak, (_, chromosome, start, _) in enumerate(toy.peaks):
        for barcode, cell_type in CELLS.items():
            for at in draw.integers(0, 40, draw.integers(0, 4)):
                lines.append(f"{chromosome}\t{start + at}\t{start + at + 100}\t{barcode}\t1\n")
                cuts[peak, ("B", "NK", "T").index(cell_type)] += 1  # the second cut lies beyond the peak
    (tmp_path / "f.tsv").write_text("".join(lines))
    (tmp_path / "cells.csv").write_text("barcode,type\n" + "".join(f"{b},{t}\n" for b, t in CELLS.items()))
    toy.cuts, toy.lines = cuts, lines
    return toy


def test_an_atlas_from_fragments_in_one_command(toy, capsys):
    words = ["--peaks", toy.path("peaks.bed"), "--genome", toy.path("genome.fa"), "--out", toy.path("atlas")]
    words += ["--fragments", toy.path("f.tsv"), "--group-by", toy.path("cells.csv"), "--format", "json"]
    assert main(["atlas", "build", *map(str, words), "--profiles", str(toy.path("tracks"))]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["notes"]["fragments in the files"] == len(toy.lines)
    atlas = Atlas.open(toy.path("atlas"), verify=True)
    assert atlas.cell_types == ("B", "NK", "T")
    # the second cuts lie in the peak 100 bases further on, which is on another chromosome
    np.testing.assert_array_equal(atlas.heights, toy.cuts)
    np.testing.assert_array_equal(atlas.halves.sum(2) / 2, atlas.heights)
    tracks = build_atlas(toy.path("peaks.bed"), toy.path("tracks"), genome=toy.path("genome.fa"), statistic="sum")
    np.testing.assert_allclose(tracks.heights, atlas.heights)


def test_scaled_and_normalised_halves(toy):
    def built(**words):
        return build_atlas(
            toy.path("peaks.bed"),
            genome=toy.path("genome.fa"),
            fragments=[toy.path("f.tsv")],
            group_by=str(toy.path("cells.csv")),
            **words,
        )

    plain, scaled = built(), built(scale="cpm", normalisation="log2")
    factors = 1e6 / plain.heights.numpy().sum(0)
    np.testing.assert_allclose(scaled.heights, np.log2(plain.heights.numpy() * factors + 1), rtol=1e-5)
    np.testing.assert_allclose(scaled.halves, np.log2(plain.halves.numpy() * factors[:, None] + 1), rtol=1e-5)
    assert "scale cpm" in scaled.source


def test_blacklist_and_chromosomes(toy):
    (toy.folder / "black.bed").write_text("1\t0\t350\n2\t90\t130\n")  # another naming of the chromosomes
    atlas = build_atlas(
        toy.path("peaks.bed"),
        toy.path("heights.csv"),
        genome=toy.path("genome.fa"),
        blacklist=toy.path("black.bed"),
        chromosomes=["chr1", "2"],
    )
    here = [(c, s, e) for _, c, s, e in toy.peaks if c in ("chr1", "chr2")]
    kept = [r for r in here if not ((r[0] == "chr1" and r[1] < 350) or (r[0] == "chr2" and r[1] < 130 and r[2] > 90))]
    assert [*zip(*(atlas.peaks[name] for name in ("chromosome", "start", "end")), strict=True)] == kept
    assert atlas.dropped == {
        "on other chromosomes than asked for": 40 - len(here),
        "in a region of black.bed": len(here) - len(kept),
    }
    with pytest.raises(DataError, match=r"black.bed: peaks and regions have no chromosome in common"):
        (toy.folder / "black.bed").write_text("NC_000001.11\t0\t350\n")
        build_atlas(
            toy.path("peaks.bed"),
            toy.path("heights.csv"),
            genome=toy.path("genome.fa"),
            blacklist=toy.path("black.bed"),
        )
    with pytest.raises(DataError, match=r"chromosome 'chr9': .* has no peak there; it has chr1, chr2, chr3"):
        build_atlas(toy.path("peaks.bed"), toy.path("heights.csv"), genome=toy.path("genome.fa"), chromosomes=["chr9"])


def test_cells_of_h5ad_by_a_table_with_a_group_of_one(toy):
    anndata = pytest.importorskip("anndata", reason="the extra anndata is not installed")
    pandas = pytest.importorskip("pandas")
    from scipy.sparse import csr_matrix

    draw = np.random.default_rng(1)
    counts = draw.poisson(3, (12, 40))
    names = [f"{c}:{s}-{e}" for _, c, s, e in toy.peaks]
    cells = anndata.AnnData(
        csr_matrix(counts, dtype=np.float32),
        obs=pandas.DataFrame({"type": ["B"] * 5 + ["T"] * 5 + [None, "NK"]}, index=[*CELLS]),
        var=pandas.DataFrame(index=names),
    )
    cells.write_h5ad(toy.path("cells.h5ad"))
    atlas = build_atlas(toy.path("cells.h5ad"), genome=toy.path("genome.fa"), group_by="type")
    assert atlas.cell_types == ("B", "NK", "T")
    np.testing.assert_array_equal(atlas.heights[:, 0], counts[:5].sum(0))
    np.testing.assert_array_equal(atlas.heights[:, 1], counts[11])
    np.testing.assert_array_equal(atlas.halves.sum(2) / 2, atlas.heights)
    assert atlas.notes["cells without a group, left out"] == 1
    assert any("groups with one cell" in reason for reason in atlas.notes)
    table = build_atlas(cells, genome=toy.path("genome.fa"), group_by=str(toy.path("cells.csv")))
    np.testing.assert_array_equal(table.heights[:, 2], counts[2::3].sum(0))
    fragments = build_atlas(
        toy.path("peaks.bed"),
        genome=toy.path("genome.fa"),
        fragments=[toy.path("f.tsv")],
        group_by=f"{toy.path('cells.h5ad')}:type",
    )
    assert fragments.cell_types == ("B", "NK", "T")


def test_cells_of_h5mu_are_those_of_its_accessibility_with_the_columns_of_all_modalities(toy):
    mudata = pytest.importorskip("mudata", reason="the package mudata is not installed")
    anndata, pandas = pytest.importorskip("anndata"), pytest.importorskip("pandas")
    from scipy.sparse import csr_matrix

    draws = np.random.default_rng(1)
    counts = draws.poisson(3, (12, 40)).astype(np.float32)
    regions = pandas.DataFrame(index=[f"{c}:{s}-{e}" for _, c, s, e in toy.peaks])
    own = pandas.DataFrame({"batch": ["one"] * 6 + ["two"] * 6}, index=[*CELLS])
    genes = pandas.DataFrame(index=["GATA1", "SPI1"])
    rna = anndata.AnnData(np.ones((9, 2), np.float32), obs=pandas.DataFrame(index=[*CELLS][3:]), var=genes)
    mudata.set_options(pull_on_update=False)
    both = mudata.MuData({"rna": rna, "atac": anndata.AnnData(csr_matrix(counts), obs=own, var=regions)})
    types = pandas.Series(["B"] * 5 + ["T"] * 7, index=[*CELLS])
    both.obs["type"] = types.reindex(both.obs_names)
    both.write(toy.path("cells.h5mu"))
    by_type = build_atlas(toy.path("cells.h5mu"), genome=toy.path("genome.fa"), group_by="type")
    assert by_type.cell_types == ("B", "T")
    np.testing.assert_array_equal(by_type.heights, np.stack([counts[:5].sum(0), counts[5:].sum(0)], -1))
    by_batch = build_atlas(toy.path("cells.h5mu"), genome=toy.path("genome.fa"), group_by="batch")
    np.testing.assert_array_equal(by_batch.heights[:, 0], counts[:6].sum(0))
    with pytest.raises(DataError, match="no column 'typ'; did you mean 'type'"):
        build_atlas(toy.path("cells.h5mu"), genome=toy.path("genome.fa"), group_by="typ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"group_by": "nowhere.csv"}, "nowhere.csv"),
        ({"group_by": "cells.csv:typ"}, "has no column 'typ'; did you mean 'type'"),
        ({"heights": "heights.csv"}, "heights are counted from f.tsv; leave .*heights.csv out"),
        ({"fragments": []}, "gives regions and no heights; .* or fragments"),
        ({"fragments": [], "heights": "heights.csv", "group_by": "cells.csv"}, "is for fragments"),
        ({"fragments": [], "heights": "heights.csv", "profiles": "x"}, "profiles are counted from fragments"),
    ],
)
def test_what_does_not_fit(toy, words, message, monkeypatch):
    monkeypatch.chdir(toy.folder)
    given = {"peaks": "peaks.bed", "genome": "genome.fa", "fragments": ["f.tsv"]} | words
    with pytest.raises(DataError, match=message):
        build_atlas(given.pop("peaks"), given.pop("heights", ()), **given)


def test_fragments_far_from_every_peak(toy):
    toy.path("far.tsv").write_text("chr1\t4900\t4950\tA\n")
    with pytest.raises(DataError, match=r"far.tsv: none of the 1 fragments lies in a peak \(1 in no peak\)"):
        build_atlas(toy.path("peaks.bed"), genome=toy.path("genome.fa"), fragments=[toy.path("far.tsv")])
