"""The saved form of an atlas: atlas.json, arrays.safetensors, peaks.parquet, truth/*.parquet."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from netassay.errors import DataError
from netassay.files import refuse_existing, whole_folder

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
FACTS, ARRAYS, PEAKS, TRUTH = "atlas.json", "arrays.safetensors", "peaks.parquet", "truth"
TABLE_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class Contents(NamedTuple):
    """What the folder of an atlas holds: `facts` of atlas.json, tensors by name, the table of peaks, truth by name."""

    facts: Mapping[str, Any]
    arrays: Mapping[str, Tensor]
    peaks: pl.DataFrame
    truth: Mapping[str, pl.DataFrame]


def save(path: Path, contents: Contents) -> Path:
    """Writes a folder beside `path` and renames it, so that nothing half-written ever has that name."""
    from safetensors.torch import save_file

    refuse_existing(path, refusal=DataError)
    for name in contents.truth:
        if not TABLE_NAME.fullmatch(name):
            raise DataError(f"truth table {name!r}: names are small letters, digits and _")
    with whole_folder(path, refusal=DataError) as part:
        save_file({name: array.contiguous() for name, array in contents.arrays.items()}, str(part / ARRAYS))
        contents.peaks.write_parquet(part / PEAKS)
        if contents.truth:
            (part / TRUTH).mkdir()
        for name, frame in contents.truth.items():
            frame.write_parquet(part / TRUTH / f"{name}.parquet")
        facts = {"format": FORMAT, **contents.facts, "truth": list(contents.truth)}
        (part / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return path


def read(path: Path) -> Contents:
    """What the folder that `save` wrote holds, its arrays mapped, not loaded. DataError where it is damaged."""
    facts = _read_facts(path)
    try:
        arrays = _mapped(path / ARRAYS)
        peaks = pl.read_parquet(path / PEAKS, glob=False)
        truth = {
            name: pl.read_parquet(path / TRUTH / f"{name}.parquet", glob=False) for name in facts["truth"]
        }
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: the atlas is damaged: {reason}; build it again") from error
    if missing := [name for name in ("codes", "heights") if name not in arrays]:
        raise DataError(f"{path}: the atlas is damaged: it has no {missing[0]!r}; build it again")
    return Contents(facts, arrays, peaks, truth)


def _read_facts(path: Path) -> Mapping[str, Any]:
    file = path / FACTS
    advice = 'give "dhs4", "simulated" or a folder that `netassay atlas build` wrote'
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{path}: is not an atlas (there is no {FACTS} in it); {advice}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read: {error}; {advice}") from error
    wanted = {
        "format",
        "digest",
        "cell_types",
        "lineages",
        "truth",
        "source",
        "simulated",
        "dropped",
        "notes",
    }
    if not isinstance(facts, dict) or not wanted <= facts.keys():
        raise DataError(f"{file}: describes no atlas; {advice}")
    if facts["format"] != FORMAT:
        raise DataError(
            f"{file}: is of format {facts['format']!r}; this netassay reads {FORMAT}: build it again"
        )
    if not all(isinstance(name, str) and TABLE_NAME.fullmatch(name) for name in facts["truth"]):
        raise DataError(f"{file}: names a truth table that is no plain word; {advice}")
    return facts


def _mapped(file: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as held:
            return {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise DataError(f"{file}: is damaged ({error}); build the atlas again") from error
