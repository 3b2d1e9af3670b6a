"""Tables as files, in the format that the ending of the name gives."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from netassay.errors import ConfigError
from netassay.files import write_file

if TYPE_CHECKING:
    from polars import DataFrame

ENDINGS = (".csv", ".tsv", ".parquet")


def require_ending(out: Path) -> None:
    """Refuses a table's file whose ending names no format."""
    if out.suffix.lower() not in ENDINGS:
        raise ConfigError(f"--out {out}: the ending gives the format; allowed: {', '.join(ENDINGS)}")


def write_table(out: Path, frame: DataFrame) -> None:
    """Writes a table, whole or not at all."""
    buffer, ending = io.BytesIO(), out.suffix.lower()
    if ending == ".parquet":
        frame.write_parquet(buffer)
    else:
        frame.write_csv(buffer, separator="," if ending == ".csv" else "\t")
    write_file(out, buffer.getvalue())
