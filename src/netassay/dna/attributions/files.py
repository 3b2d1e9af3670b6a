"""Contributions of bases as files: tensors, and tracks along a genome."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from netassay.dna.attributions.contributions import METHODS, Attributions
from netassay.errors import DataError
from netassay.files import write_file
from netassay.formats.bases import UNKNOWN
from netassay.formats.tracks import track, write_bedgraph, write_bigwig


def save_attributions(path: Path | str, attributions: Attributions) -> None:
    """Codes, hypothetical contributions and completeness as one safetensors file, its metadata naming the method."""
    from safetensors.torch import save

    tensors = {"codes": attributions.codes, "hypothetical": attributions.hypothetical}
    for name in ("difference", "error"):
        if (values := getattr(attributions, name)) is not None:
            tensors[name] = values
    whole = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    write_file(path, save(whole, metadata={"method": attributions.method}))


def load_attributions(path: Path | str) -> Attributions:
    """What `save_attributions` wrote. Raises DataError for any other file."""
    from safetensors.torch import load

    try:
        data = Path(path).read_bytes()
        tensors = load(data)
        size = int.from_bytes(data[:8], "little")
        method = json.loads(data[8 : 8 + size])["__metadata__"]["method"]
        given = {name: tensors.pop(name) for name in ("codes", "hypothetical")}
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # the library raises its own kinds
        raise DataError(f"{path}: is no file of contributions ({error})") from error
    if method not in METHODS:
        raise DataError(f"{path}: holds contributions by {method!r:.40}; known are {', '.join(METHODS)}")
    return Attributions(method, **given, difference=tensors.get("difference"), error=tensors.get("error"))


def write_tracks(
    folder: Path, attributions: Attributions, where: pl.DataFrame, contigs: Mapping[str, int]
) -> int:
    """Contributions of the bases that are there as contributions.bw and contributions.bedgraph.

    `where` tells chromosome and start (0-based) of each sequence, `contigs` the lengths of chromosomes. Bases under
    several windows have the mean; their number is returned. Unknown bases leave gaps.
    """
    values = np.where((attributions.codes == UNKNOWN).numpy(), np.nan, attributions.actual.numpy())
    made = track(where["chromosome"].to_list(), where["start"].to_numpy(), values)
    write_bigwig(folder / "contributions.bw", made, contigs)
    write_bedgraph(folder / "contributions.bedgraph", made)
    return made.shared
