import numpy as np
import pytest

from netassay.errors import DataError
from netassay.formats.jaspar import read_jaspar


def test_motifs_of_jaspar():
    (spi1,) = read_jaspar(["MA0080.7"])
    assert (spi1.id, spi1.name) == ("MA0080.7", "Spi1")
    assert "GGAA" in "".join("ACGT"[i] for i in spi1.counts.argmax(0))
    np.testing.assert_allclose(spi1.probabilities().sum(0), 1)
    with pytest.raises(DataError, match=r"'MA9999\.1' is not in JASPAR2024"):
        read_jaspar(["MA9999.1"])
    with pytest.raises(DataError, match="release 'JASPAR1'"):
        read_jaspar(["MA0080.7"], "JASPAR1")
