import numpy as np
import pytest

from netassay.errors import DataError
from netassay.formats.jaspar import read_database, read_jaspar
from netassay.formats.meme import write_meme


def test_motifs_of_jaspar():
    (spi1,) = read_jaspar(["MA0080.7"])
    assert (spi1.id, spi1.name) == ("MA0080.7", "Spi1")
    assert "GGAA" in "".join("ACGT"[i] for i in spi1.counts.argmax(0))
    np.testing.assert_allclose(spi1.probabilities().sum(0), 1)
    with pytest.raises(DataError, match=r"'MA9999\.1' is not in JASPAR2024"):
        read_jaspar(["MA9999.1"])
    with pytest.raises(DataError, match="release 'JASPAR1'"):
        read_jaspar(["MA0080.7"], "JASPAR1")


def test_a_collection_is_that_of_the_library():
    from pyjaspar import jaspardb

    held = read_database("jaspar-nematodes")
    base = jaspardb(release="JASPAR2024")
    try:
        theirs = {m.matrix_id: m for m in base.fetch_motifs(collection="CORE", tax_group=["nematodes"])}
    finally:
        base.conn.close()
    assert set(held.names) == set(theirs)
    assert len(held) > 20
    for i, (name, title) in enumerate(zip(held.names, held.titles, strict=True)):
        counts = np.array([theirs[name].counts[letter] for letter in "ACGT"])
        assert title == theirs[name].name
        np.testing.assert_array_equal(held.counts[i, :, : counts.shape[1]], counts)
        assert not held.counts[i, :, counts.shape[1] :].any()


def test_databases_by_name_and_by_file(tmp_path):
    held = read_database("jaspar-urochordates")
    assert read_database(write_meme(held, tmp_path / "known.meme")).names == held.names
    for name in ("jaspar-birds", "vertebrates", tmp_path / "no.meme"):
        with pytest.raises(DataError, match="give one of jaspar-vertebrates, jaspar-plants, "):
            read_database(name)
