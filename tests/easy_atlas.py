"""A hand-made atlas that a small network learns in seconds, and the config of such a network."""

import polars as pl
import torch

from netassay.dna.atlas.atlas import Atlas

MOTIFS = ("TGACTCA", "GGGCGGGG", "CCATATTAGG", "AACCACA")
SMALL = {
    "n_filters": 12,
    "n_channels": 8,
    "n_hidden": 16,
    "batch_size": 25,
    "precision": "float32",
    "dropout": 0.0,
    "epochs": 2,
}


def easy_atlas(n=600, length=60, seed=0):
    """Every peak has one of four motifs, which opens it in one of four cell types."""
    g = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 4, (n, length), generator=g).to(torch.uint8)
    kind = torch.randint(0, 4, (n,), generator=g)
    heights = 0.3 * torch.randn(n, 4, generator=g)
    for i, k in enumerate(kind.tolist()):
        letters = torch.tensor(["ACGT".index(base) for base in MOTIFS[k]], dtype=torch.uint8)
        start = int(torch.randint(5, length - 20, (), generator=g))
        codes[i, start : start + len(letters)] = letters
        heights[i, k] += 2
    heights[3] = 1.0  # a constant row, on chr1
    peaks = pl.DataFrame(
        {
            "name": [f"p{i}" for i in range(n)],
            "chromosome": [f"chr{1 + i % 3 if i % 9 < 6 else 3}" for i in range(n)],
            "start": [100 * i for i in range(n)],
            "end": [100 * i + length for i in range(n)],
        }
    )
    return Atlas(
        codes=codes,
        heights=heights,
        peaks=peaks,
        cell_types=("a", "b", "c", "d"),
        lineages=("x", "x", "y", ""),
        simulated=True,
    )
