"""What the package carries is what its sources hold, where these are installed."""

import runpy
from importlib import metadata, resources
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

import netassay
from netassay.dna.atlas.dhs4 import read_sites
from netassay.formats.jaspar import read_database, read_jaspar

SCRIPT = Path(__file__).parents[1] / "packaging" / "ship_data.py"
SHIPPED = resources.files("netassay") / "shipped"


def source():
    if not SCRIPT.exists():
        pytest.skip("the script is not beside the tests")
    return runpy.run_path(str(SCRIPT))


def test_sites_are_those_of_the_published_table():
    try:
        metadata.distribution("dnadiffusion")
    except metadata.PackageNotFoundError:
        pytest.skip("dnadiffusion, the source of dhs4, is not installed")
    made = source()["sites"]()
    assert_frame_equal(made.drop("bases"), read_sites().table)
    first = made["bases"][0][0]
    assert read_sites().codes[0, :4].tolist() == [first & 3, first >> 2 & 3, first >> 4 & 3, first >> 6]


def test_sites_have_the_bases_that_their_first_rows_are_known_by():
    sites = read_sites()
    assert sites.codes.shape == (47_872, 200) and sites.codes.max() == 3
    assert sites.table.columns[:4] == ["dhs_id", "chr", "start", "end"]


def test_motifs_are_those_of_jaspar():
    pytest.importorskip("pyjaspar")
    made = source()["motifs"]()
    database = read_database("jaspar-vertebrates")
    assert made["id"].to_list() == list(database.names) and len(database.names) == 879
    assert made.filter(id="MA0080.7")["A"].to_list()[0] == read_jaspar(["MA0080.7"])[0].counts[0].tolist()


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    from netassay.studies.edge.data import _digits

    for ours, theirs in zip(_digits(), load_digits(return_X_y=True), strict=True):
        assert ours.dtype == theirs.dtype and (ours == theirs).all() and ours.shape == theirs.shape


def test_their_provenance_and_licences_are_beside_them():
    words = (SHIPPED / "PROVENANCE.md").read_text(encoding="utf-8")
    for file in Path(netassay.__file__).parent.joinpath("shipped").iterdir():
        assert file.name == "PROVENANCE.md" or f"| {file.name} |" in words
    assert "MIT" in words and "CC BY 4.0" in words
