"""Files outside the store that an interpretation reads, and the digests that reveal changes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from netassay.errors import DataError
from netassay.formats.jaspar import GROUPS
from netassay.inputs import refuse_odd_file
from netassay.nets.sources import sources
from netassay.studies.aitac.interpret.config import InterpretConfig


def network_files(config: InterpretConfig) -> tuple[str, ...]:
    """Files of a network that is not of a run: its module, the module's imports from the same folder, its weights.

    If a module's file cannot be read, its imports are left out.
    """
    module = config.module.rpartition(":")[0]
    try:
        code = [str(path) for path in sources(module).values()] if module else []
    except OSError:
        code = [module]
    return tuple(dict.fromkeys(name for name in (*code, config.weights) if name))


def outside_files(config: InterpretConfig) -> tuple[str, ...]:
    """All: ChIP-seq, known motifs unless a group is named, the network."""
    files = (config.chip, "" if config.motif_database in GROUPS else config.motif_database)
    return (*(name for name in files if name), *network_files(config))


def files_digest(config: InterpretConfig) -> str:
    """SHA-256 over the bytes of these files. DataError for one that cannot be read."""
    digest = hashlib.sha256()
    for name in outside_files(config):
        try:
            digest.update(bytes.fromhex(digest_of(name)))
        except OSError as error:
            keys = {config.chip: "chip", config.motif_database: "motif_database", config.weights: "weights"}
            key = keys.get(name, "module")
            groups = f", or one of {', '.join(GROUPS)}" if key == "motif_database" else ""
            raise DataError(
                f"{key} = {name!r}: cannot be read ({error.strerror or error}); give an existing file{groups}"
            ) from error
    return digest.hexdigest()


def digest_of(name: str) -> str:
    """SHA-256 of a file's bytes. OSError if it cannot be read, DataError if it is not a file."""
    refuse_odd_file(name)
    with Path(name).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
