"""The shared cases of atlases: files as people keep them, each with the atlas or the message that is right."""

import json
from pathlib import Path

import numpy as np
import pytest

from netassay import build_atlas
from netassay.cli import main
from netassay.dna.atlas.choices import FLAWS
from netassay.errors import DataError, NetassayError
from netassay.formats.bases import decode

CASES = Path(__file__).parents[3] / "shared" / "cases" / "atlas"
COMMON = CASES / "common"
SIGNALS = ("B.bw", "NK.bw", "T.bw")

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"the shared cases are not at {CASES}")


def built(peaks, heights=None, *, genome=COMMON / "genome.fa", **words):
    given = [COMMON / name for name in SIGNALS] if heights is None else heights
    return build_atlas(CASES / peaks, given, genome=genome, **words)


def common():
    return built("common/peaks.bed", COMMON / "heights.csv")


def test_all_folders_are_looked_at():
    text = Path(__file__).read_text()
    assert [folder.name for folder in CASES.iterdir() if folder.name.split("-")[0] not in text] == []


def test_01_a_window_over_the_end_is_reported_or_dropped():
    with pytest.raises(DataError, match=r"peaks.bed:1: peak 'near_start' .*--drop beyond-contig"):
        built("01-window-over-the-end-with-bigwigs/peaks.bed", width=251)
    atlas = built("01-window-over-the-end-with-bigwigs/peaks.bed", width=251, drop=["beyond-contig"])
    assert (len(atlas), atlas.dropped) == (24, {FLAWS["beyond-contig"]: 1})
    assert "near_start" not in atlas.peaks["name"].to_list()


def test_02_a_base_that_is_nan_counts_as_zero():
    folder = CASES / "02-nan-in-bigwig"
    atlas = built("common/peaks.bed", [folder / name for name in SIGNALS])
    assert float(atlas.heights[0, 0]) == pytest.approx(9.9)
    assert sum(count for reason, count in atlas.notes.items() if "NaN" in reason and "B.bw" in reason) == 1


@pytest.mark.parametrize("file", ["counts.txt", "counts_cut.txt"])
def test_04_feature_counts(file):
    atlas = built("common/peaks.bed", CASES / "04-featurecounts" / file)
    assert atlas.cell_types == ("B", "NK", "T")
    assert atlas.heights[0].tolist() == [828, 13, 743]
    assert any("Length" in reason for reason in atlas.notes)


def test_04_feature_counts_alone_hold_peaks_and_heights():
    atlas = built("04-featurecounts/counts.txt", ())
    assert atlas.peaks.row(0)[:4] == ("p0", "chr1", 200, 300)
    assert atlas.digest == built("common/peaks.bed", CASES / "04-featurecounts" / "counts.txt").digest


def test_05_immgens_form_with_numbers_for_chromosomes():
    atlas = built("05-immgen-with-ensembl-names/peaks.txt", COMMON / "heights.csv")
    assert (atlas.codes == common().codes).all()
    assert atlas.peaks["start"].to_list() == common().peaks["start"].to_list()


def test_07_a_region_twice():
    with pytest.raises(DataError, match=r"twice.bed:25: the region chr1:200-300 .* on line 1 already; .*--drop twice"):
        built("07-twice/twice.bed")
    atlas = built("07-twice/twice.bed", drop=["twice"])
    assert (len(atlas), sum(atlas.dropped.values())) == (24, 1)


def test_08_the_byte_that_ends_a_dos_text():
    folder = CASES / "08-dos-end-of-file"
    atlas = built("08-dos-end-of-file/peaks.bed", folder / "heights.csv")
    assert atlas.digest == common().digest
    assert sum("0x1A" in reason for reason in atlas.notes) == 2


def test_09_line_ends_of_old_macs():
    assert built("common/peaks.bed", CASES / "09-table-forms" / "mac.csv").digest == common().digest


def test_13_few_names_in_common():
    table = CASES / "13-few-names-in-common" / "heights.csv"
    with pytest.raises(DataError, match=r"only 1 of its 24 names .*--common 0"):
        built("common/peaks.bed", table)
    assert len(built("common/peaks.bed", table, common=0)) == 1


def test_16_h5ad():
    pytest.importorskip("anndata", reason="the extra anndata is not installed")
    folder = "16-h5ad"
    assert built(f"{folder}/archr_underscore.h5ad", ()).peaks["start"].to_list() == common().peaks["start"].to_list()
    layer = built(f"{folder}/layers.h5ad", (), layer="cpm")
    np.testing.assert_allclose(layer.heights.numpy(), 10 * built(f"{folder}/layers.h5ad", ()).heights.numpy())
    with pytest.raises(DataError, match="has no layer 'cmp'; did you mean 'cpm'"):
        built(f"{folder}/layers.h5ad", (), layer="cmp")
    with pytest.raises(DataError, match=r"region 'chr1:200-300': start is 200.7"):
        built(f"{folder}/float_start.h5ad", ())
    notes = built(f"{folder}/cells.h5ad", ()).notes
    assert any("single cells" in reason and "cell_type" in reason for reason in notes)


def test_16_cells_are_summed_by_a_column():
    anndata = pytest.importorskip("anndata", reason="the extra anndata is not installed")
    atlas = built("16-h5ad/cells.h5ad", (), group_by="cell_type")
    cells = anndata.read_h5ad(CASES / "16-h5ad" / "cells.h5ad")
    assert set(atlas.cell_types) == set(cells.obs["cell_type"])
    for number, name in enumerate(atlas.cell_types):
        by_hand = cells.X[(cells.obs["cell_type"] == name).to_numpy()].toarray().sum(0)
        np.testing.assert_array_equal(atlas.heights[:, number], by_hand)
    np.testing.assert_array_equal(atlas.halves.sum(2) / 2, atlas.heights)
    with pytest.raises(DataError, match="obs has no column 'cell_typ'; did you mean 'cell_type'"):
        built("16-h5ad/cells.h5ad", (), group_by="cell_typ")


def test_17_immgens_table_of_all_regions():
    atlas = built("17-more/AllOCRsInfo.csv", ())
    assert atlas.cell_types == ("LTHSC.34-.BM", "B.Sp", "T.4.Sp")
    assert atlas.heights[0].tolist() == pytest.approx([7.81, 4.71, 6.67])
    assert (len(atlas), atlas.length) == (24, 251)
    # the summit, from 1, is in the middle
    assert atlas.peaks.row(0)[:4] == ("ImmGenATAC1219.peak_0", "chr1", 249 - 125, 249 + 126)
    assert any("counted from 1" in reason for reason in atlas.notes)


def test_17_columns_that_disagree_with_names():
    pytest.importorskip("anndata", reason="the extra anndata is not installed")
    with pytest.raises(DataError, match=r"region 'chr1:200-300' is chr1:237-337 by the columns"):
        built("17-more/stale_columns.h5ad", ())


def test_18_names_that_are_no_names():
    atlas = built("18-names-that-are-no-names/dashes.bed10")
    assert atlas.peaks["name"].to_list() == ["chr1:200-300", "chr1:450-550"]
    assert "summit" not in atlas.peaks.columns
    assert any("column 10 is not a summit" in reason for reason in atlas.notes)


def test_19_sequences_and_labels():
    folder = CASES / "19-fasta-and-labels"
    atlas = built("19-fasta-and-labels/seqs.fa", folder / "labels.txt", genome=None)
    assert atlas.heights.tolist() == [[1, 0], [0, 1], [1, 1]]
    assert atlas.peaks.rows() == [
        ("chr1:200-216", "chr1", 200, 216), ("chr1:300-309", "chr1", 297, 313), ("chr2:5-21", "chr2", 5, 21),
    ]  # fmt: skip
    assert decode(atlas.codes[1].numpy()) == "NNNTTTACGTACNNNN"
    assert any("in the order of the sequences" in reason for reason in atlas.notes)


@pytest.mark.parametrize("path", sorted(path for path in CASES.glob("[0-9]*/*") if path.suffix != ".bw"), ids=str)
def test_every_file_as_peaks_ends_in_an_atlas_or_a_message(path, tmp_path, capsys):
    out = tmp_path / "atlas"
    signals = [str(COMMON / name) for name in SIGNALS]
    own = path.suffix in (".h5ad",)
    words = [
        "--peaks",
        str(path),
        "--genome",
        str(COMMON / "genome.fa"),
        "--out",
        str(out),
        "--format",
        "json",
    ]
    code = main(["atlas", "build", *words, *([] if own else ["--heights", *signals])])
    said = capsys.readouterr()
    if code:
        assert code == 2 and said.err.startswith("netassay: ") and "Traceback" not in said.err
        assert path.name in said.err
        assert not any(tmp_path.iterdir())
    else:
        assert json.loads(said.out)["peaks"]


def test_any_of_these_files_as_heights_is_read_or_refused():
    for path in sorted(path for path in CASES.glob("[0-9]*/*") if path.is_file()):
        try:
            build_atlas(COMMON / "peaks.bed", path, genome=COMMON / "genome.fa")
        except NetassayError as refused:
            assert path.name in str(refused), str(refused)
