"""The saved form of an atlas: atlas.json, arrays.safetensors, peaks.parquet, truth/*.parquet."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from errno import EIO
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from netassay.errors import DataError, first_line, reraised
from netassay.files import refuse_existing, whole_folder
from netassay.inputs import refuse_odd_file

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
FACTS, ARRAYS, PEAKS, TRUTH = "atlas.json", "arrays.safetensors", "peaks.parquet", "truth"
TABLE_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


def _are_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _are_counts(value: Any) -> bool:
    return isinstance(value, dict) and all(type(count) is int for count in value.values())


_FORMS: Mapping[str, Callable[[Any], bool]] = {
    "digest": lambda value: isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None,
    "cell_types": _are_words,
    "lineages": _are_words,
    "truth": _are_words,
    "source": lambda value: isinstance(value, str),
    "simulated": lambda value: isinstance(value, bool),
    "dropped": _are_counts,
    "notes": _are_counts,
}


class Contents(NamedTuple):
    """The contents of an atlas's folder: `facts` of atlas.json, tensors by name, the table of peaks, truth by name."""

    facts: Mapping[str, Any]
    arrays: Mapping[str, Tensor]
    peaks: pl.DataFrame
    truth: Mapping[str, pl.DataFrame]


def save(path: Path, contents: Contents) -> Path:
    """Writes a folder beside `path` and renames it, so that nothing half-written ever has that name."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    refuse_existing(path, refusal=DataError)
    for name in contents.truth:
        if not TABLE_NAME.fullmatch(name):
            raise DataError(f"truth table {name!r}: names are small letters, digits and _")
    with whole_folder(path, refusal=DataError) as part:
        try:
            save_file({name: array.contiguous() for name, array in contents.arrays.items()}, str(part / ARRAYS))
        except SafetensorError as error:  # of a write that the disk refused
            raise OSError(EIO, str(error)) from error
        _write_parquet(part / PEAKS, contents.peaks)
        if contents.truth:
            (part / TRUTH).mkdir()
        for name, frame in contents.truth.items():
            _write_parquet(part / TRUTH / f"{name}.parquet", frame)
        facts = {"format": FORMAT, **contents.facts, "truth": list(contents.truth)}
        (part / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return path


def _write_parquet(path: Path, frame: pl.DataFrame) -> None:
    buffer = BytesIO()
    frame.write_parquet(buffer)  # polars has errors of its own for what a disk refuses; the system's are wanted
    path.write_bytes(buffer.getvalue())


def read(path: Path) -> Contents:
    """The contents of a folder that `save` wrote, its arrays memory-mapped. DataError where it is damaged."""
    facts = _read_facts(path)
    try:
        with reraised(lambda why: DataError(f"{path}: the atlas is damaged: {why}; build it again")):
            arrays = _load_arrays(path / ARRAYS)
            peaks = _table(path / PEAKS)
            truth = {name: _table(path / TRUTH / f"{name}.parquet") for name in facts["truth"]}
    except OSError as error:
        raise DataError(f"{path}: the atlas is damaged: {first_line(error)}; build it again") from error
    if missing := [name for name in ("codes", "heights") if name not in arrays]:
        raise DataError(f"{path}: the atlas is damaged: it has no {missing[0]!r}; build it again")
    return Contents(facts, arrays, peaks, truth)


def _read_facts(path: Path) -> Mapping[str, Any]:
    file = path / FACTS
    advice = 'give "dhs4", "simulated" or a folder that `netassay atlas build` wrote'
    refuse_odd_file(file, "LONGEST_LINE")
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{path}: is not an atlas (there is no {FACTS} in it); {advice}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file}: cannot be read: {first_line(error)}; {advice}") from error
    if not isinstance(facts, dict) or not {"format", *_FORMS} <= facts.keys():
        raise DataError(f"{file}: describes no atlas; {advice}")
    if facts["format"] != FORMAT:
        raise DataError(f"{file}: is of format {facts['format']!r}; this netassay reads {FORMAT}: build it again")
    for name, is_right in _FORMS.items():
        if not is_right(facts[name]):
            raise DataError(f"{file}: is damaged: {name} is {facts[name]!r:.80}; build the atlas again")
    if not all(TABLE_NAME.fullmatch(name) for name in facts["truth"]):
        raise DataError(f"{file}: names a truth table that is no plain word; {advice}")
    return facts


def _table(file: Path) -> pl.DataFrame:
    refuse_odd_file(file)
    with file.open("rb") as handle:  # read as far as it is a table: a sparse file of any size is none
        return pl.read_parquet(handle)


def _load_arrays(file: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    refuse_odd_file(file)
    try:
        with safe_open(file, framework="pt") as tensors:
            return {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise DataError(f"{file}: is damaged ({error}); build the atlas again") from error
