"""Makes the numbers that `test_match` is held against: Tomtom's p-values by memelite, which compiles for a minute.

Run: python tests/tomtom.py (memelite 0.5.0) and put what it prints into tomtom.json.
"""

import json

import torch

from netassay.formats.jaspar import read_database
from netassay.formats.motifs import Motifs

QUERIES = (
    "MA0080.7",
    "MA0114.5",
    "MA0036.4",
    "MA0142.1",
    "MA0139.2",
    "MA0050.4",
    "MA0002.3",
    "MA0102.5",
    "MA0846.2",
)
EVERY = 8  # of the targets, one in so many is kept


def blurred(known: Motifs) -> Motifs:
    """These motifs without their outer columns and with a fifth of noise."""
    matrices = []
    for name in QUERIES:
        i = known.names.index(name)
        start, stop = known.spans[i]
        matrices.append(100 * (0.8 * known.pwm[i, :, start + 1 : stop - 1] + 0.05))
    return Motifs.of_matrices(QUERIES, matrices, [100] * len(QUERIES))


def by_memelite() -> dict[str, object]:
    import memelite

    known = read_database("jaspar-vertebrates")
    queries = blurred(known)
    cut = [
        held.pwm[i, :, start:stop].numpy() for held in (queries, known) for i, (start, stop) in enumerate(held.spans)
    ]
    p = torch.from_numpy(memelite.tomtom(cut[: len(queries)], cut[len(queries) :])[0])
    best = [[known.names[j] for j in row.argsort()[:3].tolist()] for row in p]
    return {"targets": known.names[::EVERY], "p": p[:, ::EVERY].clamp(0, 1).tolist(), "best": best}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(by_memelite()))
