"""Next-token predictors on disk: a folder with a JSON description and the weights in safetensors."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netassay.errors import ConfigError, RunDamaged, StoreError
from netassay.files import refuse_misplaced, whole_folder
from netassay.inputs import refuse_odd_file
from netassay.runs import disk
from netassay.runs.disk import pack, unpack
from netassay.runs.run import Run

if TYPE_CHECKING:
    from torch import nn

DESCRIPTION, WEIGHTS = "model.json", "weights.safetensors"
FORMAT = 1


def save_model(folder: Path | str, model: nn.Module, about: Mapping[str, Any] | None = None) -> None:
    """Write a predictor of `nets` to a new folder, which appears completely or not at all.

    Args:
        folder: New folder.
        model: The predictor.
        about: What is written beside it, as JSON.

    Raises:
        StoreError: For a folder that exists or cannot be written.
        ConfigError: For a module that is not one of the predictors.

    Example:
        >>> import netassay
        >>> model = netassay.construct(netassay.contexts([[0, 1, 2], [0, 2, 1]])).model
        >>> netassay.save_model("memorised", model, {"corpus": "two documents"})
    """
    folder = Path(folder)
    kind = type(model).__name__
    if kind not in _kinds():
        raise ConfigError(f"the model is a {kind}; only {', '.join(_kinds())} can be saved")
    require_new(folder)
    weights = pack(model.state_dict())
    description = {
        "format": FORMAT,
        "kind": kind,
        "sizes": _kinds()[kind].sizes(model),
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "sha256": disk.sha256(weights),
        "about": _plain(about or {}),
    }
    with whole_folder(folder) as part:
        (part / WEIGHTS).write_bytes(weights)
        (part / DESCRIPTION).write_text(json.dumps(description, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def require_new(folder: Path | str) -> None:
    """Raises StoreError if `folder` already exists, or if it cannot be made."""
    if os.path.lexists(folder):
        raise StoreError(f"{folder}: exists already; name another folder, or remove it")
    refuse_misplaced(folder)


def load_model(folder: Path | str) -> nn.Module:
    """The predictor that `save_model` wrote, weights bit for bit; or the trained network of a run.

    Args:
        folder: Folder of the model, or of a run.

    Returns:
        The model.

    Raises:
        StoreError: For a folder that holds no model.
        RunDamaged: If the weights are not those that were saved.

    Example:
        >>> import netassay
        >>> type(netassay.load_model("model")).__name__
        'AveragingNetwork'
    """
    import torch

    folder = Path(folder)
    if (folder / "run.sqlite").exists():
        return Run.open(folder).model()
    description = describe_model(folder)
    kind, sizes, dtype = (description.get(key) for key in ("kind", "sizes", "dtype"))
    if str(kind) not in _kinds() or dtype not in ("float32", "float64") or not isinstance(sizes, dict):
        raise StoreError(f"{folder / DESCRIPTION}: kind {kind!r:.80} with dtype {dtype!r:.80} is not known here")
    refuse_odd_file(folder / WEIGHTS, refusal=StoreError)
    try:
        with (folder / WEIGHTS).open("rb") as file:
            # a file of any size is read piece by piece before it is taken into memory
            is_as_saved = hashlib.file_digest(file, "sha256").hexdigest() == description.get("sha256")
            file.seek(0)
            weights = file.read() if is_as_saved else b""
    except OSError as cause:
        raise StoreError(f"{folder / WEIGHTS}: cannot be read ({cause.strerror})") from None
    if not is_as_saved:
        raise RunDamaged(f"{folder / WEIGHTS}: is not what was saved (its SHA-256 differs); write the model again")
    try:
        model = _kinds()[str(kind)](**sizes, generator=torch.Generator().manual_seed(0), dtype=getattr(torch, dtype))
        model.load_state_dict(unpack(weights))
    except (TypeError, ValueError, RuntimeError, KeyError) as cause:
        raise StoreError(f"{folder}: sizes and weights do not belong together ({cause!s:.300})") from None
    return model


def describe_model(folder: Path | str) -> dict[str, Any]:
    """The JSON of a saved model: format, kind, sizes, dtype, sha256, about.

    Args:
        folder: Folder of the model.

    Returns:
        The mapping.

    Raises:
        StoreError: For a folder that holds no model.

    Example:
        >>> import netassay
        >>> netassay.describe_model("model")["kind"]
        'AveragingNetwork'
    """
    path = Path(folder) / DESCRIPTION
    refuse_odd_file(path, "LONGEST_LINE", refusal=StoreError)
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as cause:
        raise StoreError(f"{path}: is not a description of a saved model ({cause})") from None
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise StoreError(f"{path}: is not of format {FORMAT}, the one that this version reads")
    if not isinstance(description.get("about", {}), dict):
        raise StoreError(f"{path}: its entry about is no mapping; write the model again")
    return description


def _kinds() -> dict[str, Any]:
    # torch is loaded only when a model is handled
    from netassay.nets.decoder import AveragingNetwork, Decoder, ExperimentDecoder

    return {kind.__name__: kind for kind in (AveragingNetwork, Decoder, ExperimentDecoder)}


def _plain(value: Any) -> Any:
    """The value in JSON's own types; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
