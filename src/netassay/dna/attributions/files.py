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
from netassay.inputs import refuse_odd_file


def save_attributions(path: Path | str, attributions: Attributions) -> None:
    """Write codes, hypothetical contributions and completeness as one safetensors file, its metadata naming the method.

    Args:
        path: The file.
        attributions: The contributions.

    Raises:
        StoreError: For a file that cannot be written.

    Example:
        >>> import torch, netassay
        >>> from netassay.nets import AITAC
        >>> model = AITAC(3, length=100, n_filters=4, n_channels=3, n_hidden=5, generator=torch.Generator())
        >>> codes = torch.randint(4, (20, 100), dtype=torch.uint8)
        >>> from netassay.dna.attributions import load_attributions, save_attributions
        >>> save_attributions("contributions.safetensors", netassay.attribute(model, codes, output=0))
        >>> load_attributions("contributions.safetensors").method
        'gradient'
    """
    from safetensors.torch import save

    tensors = {"codes": attributions.codes, "hypothetical": attributions.hypothetical}
    for name in ("difference", "error"):
        if (values := getattr(attributions, name)) is not None:
            tensors[name] = values
    contiguous = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    write_file(path, save(contiguous, metadata={"method": attributions.method}))


def load_attributions(path: Path | str) -> Attributions:
    """Read what `save_attributions` wrote.

    Args:
        path: The file.

    Returns:
        The contributions.

    Raises:
        DataError: For any other file.

    Example:
        >>> import torch, netassay
        >>> from netassay.nets import AITAC
        >>> model = AITAC(3, length=100, n_filters=4, n_channels=3, n_hidden=5, generator=torch.Generator())
        >>> codes = torch.randint(4, (20, 100), dtype=torch.uint8)
        >>> from netassay.dna.attributions import load_attributions, save_attributions
        >>> save_attributions("contributions.safetensors", netassay.attribute(model, codes, output=0))
        >>> bool((load_attributions("contributions.safetensors").codes == codes).all())
        True
    """
    from safetensors.torch import load

    refuse_odd_file(path, "LARGEST_ARRAY")
    try:
        data = Path(path).read_bytes()
        tensors = load(data)
        size = int.from_bytes(data[:8], "little")
        method = json.loads(data[8 : 8 + size])["__metadata__"]["method"]
        arrays = {name: tensors.pop(name) for name in ("codes", "hypothetical")}
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # the library raises its own kinds
        raise DataError(f"{path}: is not a file of contributions ({error})") from error
    if method not in METHODS:
        raise DataError(f"{path}: holds contributions by {method!r:.40}; known are {', '.join(METHODS)}")
    return Attributions(method, **arrays, difference=tensors.get("difference"), error=tensors.get("error"))


def write_tracks(folder: Path, attributions: Attributions, where: pl.DataFrame, contigs: Mapping[str, int]) -> int:
    """Write contributions of the bases of the sequences as contributions.bw and contributions.bedgraph.

    Bases under several windows have the mean. Unknown bases leave gaps.

    Args:
        folder: Folder to write to.
        attributions: The contributions.
        where: Columns chromosome and start (0-based) of each sequence.
        contigs: Lengths of the chromosomes.

    Returns:
        The number of bases under several windows.

    Raises:
        StoreError: For files that cannot be written.

    Example:
        >>> import torch, netassay
        >>> from netassay.nets import AITAC
        >>> model = AITAC(3, length=100, n_filters=4, n_channels=3, n_hidden=5, generator=torch.Generator())
        >>> codes = torch.randint(4, (20, 100), dtype=torch.uint8)
        >>> from pathlib import Path
        >>> import polars as pl
        >>> where = pl.DataFrame({"chromosome": ["chr1"] * 20, "start": [200 * i for i in range(20)]})
        >>> attributions = netassay.attribute(model, codes, output=0)
        >>> netassay.dna.attributions.write_tracks(Path("."), attributions, where, {"chr1": 5_000})
        0
    """
    values = np.where((attributions.codes == UNKNOWN).numpy(), np.nan, attributions.actual.numpy())
    signal = track(where["chromosome"].to_list(), where["start"].to_numpy(), values)
    write_bigwig(folder / "contributions.bw", signal, contigs)
    write_bedgraph(folder / "contributions.bedgraph", signal)
    return signal.shared
