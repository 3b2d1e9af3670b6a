"""Makes the data that the package carries, `src/netassay/shipped`, from the published packages that hold them.

    pip install pyjaspar==4.0.0
    pip install --no-deps dnadiffusion==0.0.0.dev0
    pip install scikit-learn
    python packaging/ship_data.py [NAME ...]

The same packages give the same bytes; `tests/test_shipped.py` compares what is shipped with them where they are
installed.
"""

from __future__ import annotations

import sys
from contextlib import closing
from importlib import metadata
from pathlib import Path

import numpy as np
import polars as pl

from netassay.formats.bases import encode

FOLDER = Path(__file__).parents[1] / "src" / "netassay" / "shipped"
PACKAGE, VERSION = "dnadiffusion", "0.0.0.dev0"
FILE = "dnadiffusion/data/K562_hESCT0_HepG2_GM12878_12k_sequences_per_group.txt"
CELL_TYPES = ("GM12878_ENCLB441ZZZ", "hESCT0_ENCLB449ZZZ", "K562_ENCLB843GMH", "HepG2_ENCLB029COU")
RELEASE, GROUP = "JASPAR2024", "vertebrates"

COUNTS = """
    WITH latest AS (SELECT BASE_ID, MAX(VERSION) AS VERSION FROM MATRIX GROUP BY BASE_ID)
    SELECT m.BASE_ID || '.' || m.VERSION, m.NAME, d.row, d.val
    FROM MATRIX m
    JOIN latest ON latest.BASE_ID = m.BASE_ID AND latest.VERSION = m.VERSION
    JOIN MATRIX_ANNOTATION a ON a.ID = m.ID AND a.TAG = 'tax_group' AND a.VAL = ?
    JOIN MATRIX_DATA d ON d.ID = m.ID
    WHERE m.COLLECTION = 'CORE'
    ORDER BY m.BASE_ID, m.VERSION, d.col
"""


def sites() -> pl.DataFrame:
    """The sites of dhs4 in the order of the file, four bases a byte, the first in the lowest bits."""
    installed = metadata.distribution(PACKAGE)
    assert installed.version == VERSION, installed.version
    columns = [
        "dhs_id",
        "chr",
        "start",
        "end",
        "sequence",
        "summit",
        "total_signal",
        "numsamples",
        *CELL_TYPES,
    ]
    frame = pl.read_csv(installed.locate_file(FILE), separator="\t", columns=columns)
    codes = encode("".join(frame["sequence"])).reshape(frame.height, -1)
    assert codes.max() < 4, "a base is not known, which two bits cannot hold"
    fours = codes.reshape(frame.height, -1, 4).astype(np.uint8)
    packed = fours[..., 0] | fours[..., 1] << 2 | fours[..., 2] << 4 | fours[..., 3] << 6
    bases = pl.Series("bases", [row.tobytes() for row in packed], dtype=pl.Binary)
    return frame.drop("sequence").with_columns(bases)


def motifs() -> pl.DataFrame:
    """Newest versions of JASPAR CORE's vertebrate motifs: id, name, counts of A, C, G, T column by column."""
    from pyjaspar import jaspardb

    base = jaspardb(release=RELEASE)
    with closing(base.conn):
        rows = base.conn.execute(COUNTS, (GROUP,)).fetchall()
    counts: dict[str, tuple[str, dict[str, list[float]]]] = {}
    for name, title, letter, value in rows:
        counts.setdefault(name, (title, {base: [] for base in "ACGT"}))[1][letter].append(float(value))
    return pl.DataFrame(
        [{"id": name, "name": title, **letters} for name, (title, letters) in counts.items()],
        schema={"id": pl.String, "name": pl.String, **dict.fromkeys("ACGT", pl.List(pl.Float64))},
    )


def digits() -> pl.DataFrame:
    """The 1,797 handwritten digits of 8 x 8 pixels, grey values 0 to 16 row by row, and which digit each is."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    grey = pl.Series("pixels", pixels.astype(np.uint8).tolist(), dtype=pl.List(pl.UInt8))
    return pl.DataFrame({"pixels": grey, "label": labels.astype(np.int64)})


if __name__ == "__main__":
    makers = {"dhs4": sites, "jaspar2024-vertebrates": motifs, "digits": digits}
    for name in sys.argv[1:] or makers:
        frame = makers[name]()
        path = FOLDER / f"{name}.parquet"
        frame.write_parquet(path, compression="zstd", compression_level=19)
        print(f"{path.name}: {frame.height:,} rows, {path.stat().st_size:,} bytes")
