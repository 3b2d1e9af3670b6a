import errno

import numpy as np
import polars as pl
import pytest

from netassay.errors import DataError, ExtraMissing
from netassay.formats.h5ad import Annotated, read_h5ad, write_h5ad

anndata = pytest.importorskip("anndata", reason="the extra anndata is not installed")
pandas = pytest.importorskip("pandas")

REGIONS = pl.DataFrame({"name": ["p", "q"], "chromosome": ["chr1", "chr2"], "start": [5, 0], "end": [9, 4]})
HEIGHTS = np.array([[1, 2.5], [3, 4], [0, 0]], np.float32)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.h5ad"


def made(path, *, var=None, names=("p", "q"), X=HEIGHTS, obs_names=("B", "T", "NK")):
    var = pandas.DataFrame(var or {}, index=list(names))
    anndata.AnnData(X=X, obs=pandas.DataFrame(index=list(obs_names)), var=var).write_h5ad(path)
    return path


def test_what_is_written_comes_back(path):
    bases = np.array([[0, 1, 2, 3], [4, 4, 0, 0]], np.uint8)
    held = Annotated(HEIGHTS, REGIONS, ("B", "T", "NK"), ("B", "", "innate"), bases, {"simulated": True})
    write_h5ad(path, held)
    back = read_h5ad(path)
    np.testing.assert_array_equal(back.heights, HEIGHTS)
    np.testing.assert_array_equal(back.bases, bases)
    assert back.regions.equals(REGIONS)
    assert (back.cell_types, back.lineages) == (held.cell_types, held.lineages)
    assert back.facts == {"simulated": True}
    assert [file.name for file in path.parent.iterdir()] == ["x.h5ad"]


@pytest.mark.parametrize(
    ("var", "names"),
    [
        ({"chrom": ["chr1", "chr2"], "start": [5, 0], "end": [9, 4]}, ("p", "q")),
        ({"chr": ["chr1", "chr2"], "start": [5, 0], "end": [9, 4]}, ("p", "q")),
        ({}, ("chr1:5-9", "chr2:0-4")),
    ],
)
def test_coordinates_as_others_write_them(path, var, names):
    regions = read_h5ad(made(path, var=var, names=names)).regions
    assert regions.drop("name").equals(REGIONS.drop("name"))


def test_a_sparse_matrix(path):
    from scipy.sparse import csr_matrix

    held = read_h5ad(made(path, X=csr_matrix(HEIGHTS), names=("chr1:5-9", "chr2:0-4")))
    np.testing.assert_array_equal(held.heights, HEIGHTS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({}, r"has no coordinates: `var` has the columns \(none\), and region 'p' is no chr1:100-351"),
        ({"var": {"chrom": ["a", "b"], "start": [5, 1.5], "end": [9, None]}}, "not a whole number"),
        ({"names": ("chr1:5-5", "chr2:0-4")}, r"region 'chr1:5-5' is 5-5; allowed are 0 <= start < end"),
    ],
)
def test_bad_files_are_refused(path, words, message):
    with pytest.raises(DataError, match=message):
        read_h5ad(made(path, **words))


def test_names_that_come_twice_and_files_of_another_kind(path):
    with pytest.warns(UserWarning, match="not unique"):
        made(path, names=("chr1:5-9", "chr1:5-9"))
    with pytest.warns(UserWarning, match="not unique"), pytest.raises(DataError, match="is there twice"):
        read_h5ad(path)
    path.write_text("no HDF5")
    with pytest.raises(DataError, match=r"cannot be read as \.h5ad"):
        read_h5ad(path)
    with pytest.raises(DataError, match="No such file"):
        read_h5ad(path.with_name("no.h5ad"))


def test_without_the_package_the_extra_is_named(path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "anndata", None)
    with pytest.raises(ExtraMissing, match=r"install netassay\[anndata\]"):
        read_h5ad(path)


class RefusingFile:
    """A file of which the write of one number is refused once."""

    def __init__(self, path, refused):
        self._file, self._left = open(path, "w+b", buffering=0), refused  # noqa: SIM115, PTH123

    def __getattr__(self, name):
        return getattr(self._file, name)

    def write(self, data):
        self._left -= 1
        if self._left == -1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._file.write(data)


HELD = Annotated(
    HEIGHTS, REGIONS, ("B", "T", "NK"), ("B", "", "innate"), np.array([[0, 1, 2, 3], [4, 4, 0, 1]], np.uint8)
)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_whatever_write_is_refused_no_wrong_file_is_left(tmp_path, monkeypatch):
    """HDF5 flushes what is left when it closes a file, where no refusal reaches the caller."""
    import h5py

    real, handles = h5py.File.__init__, []

    def init(file, name, mode="r", **words):
        if mode == "w":
            handles.append(name := RefusingFile(name, refused))
        real(file, name, mode, **words)

    monkeypatch.setattr(h5py.File, "__init__", init)
    path, refusals, refused = tmp_path / "x.h5ad", 0, 0
    while True:
        try:
            write_h5ad(path, HELD)
        except DataError as error:
            assert "cannot be written" in str(error)
            assert not list(tmp_path.iterdir())
            refusals += 1
        else:
            back = read_h5ad(path)
            np.testing.assert_array_equal(back.bases, HELD.bases)
            np.testing.assert_array_equal(back.heights, HEIGHTS)
            assert back.regions.equals(REGIONS)
            path.unlink()
        handles[-1].close()
        if handles[-1]._left >= 0:  # every write of the file has been refused once
            break
        refused += 1
    assert refusals > refused / 2 > 5


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda held: held.varm["netassay_bases"].__setitem__((0, 0), 2), "bases"),
        (lambda held: held.X.__setitem__((0, 0), 7), "heights"),
        (lambda held: held.var.__setitem__("chrom", ["chr1", "chr3"]), "regions"),
        (lambda held: held.obs.__setitem__("lineage", ["B", "T", "T"]), "cell types"),
    ],
)
def test_parts_that_are_not_those_written_are_refused(path, change, part):
    write_h5ad(path, HELD)
    held = anndata.read_h5ad(path)
    change(held)
    held.write_h5ad(path)
    with pytest.raises(DataError, match=f"{part} are not those that netassay wrote"):
        read_h5ad(path)
    del held.uns["netassay_digests"]
    held.write_h5ad(path)
    assert read_h5ad(path).cell_types == HELD.cell_types
