"""Tables as files, in the format given by the ending of the name."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from netassay.errors import ConfigError
from netassay.files import refuse_misplaced, write_file

if TYPE_CHECKING:
    from polars import DataFrame

ENDINGS = (".csv", ".tsv", ".parquet")


def refuse_no_table(path: Path) -> None:
    """Refuses a file name whose ending names no format for tables, and one where no file can be written."""
    if path.suffix.lower() not in ENDINGS:
        raise ConfigError(f"--out {path}: the ending gives the format; allowed: {', '.join(ENDINGS)}")
    refuse_misplaced(path)


def write_table(path: Path, frame: DataFrame) -> None:
    """Writes a table, completely or not at all."""
    buffer, ending = io.BytesIO(), path.suffix.lower()
    if ending == ".parquet":
        frame.write_parquet(buffer)
    else:
        frame.write_csv(buffer, separator="," if ending == ".csv" else "\t")
    write_file(path, buffer.getvalue())
