"""Files outside the store that an interpretation reads, and the digests that tell that one of them changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from netassay.dna.network.sources import sources
from netassay.errors import DataError
from netassay.formats.jaspar import GROUPS
from netassay.studies.aitac.interpret.config import InterpretConfig


def network_files(config: InterpretConfig) -> tuple[str, ...]:
    """Files of the network, where it is none of a run: of its module, of what that imports from its folder, of weights.

    A module's file that cannot be read stands alone.
    """
    module = config.module.rpartition(":")[0]
    try:
        code = [str(path) for path in sources(module).values()] if module else []
    except OSError:
        code = [module]
    return tuple(dict.fromkeys(name for name in (*code, config.weights) if name))


def outside_files(config: InterpretConfig) -> tuple[str, ...]:
    """All: of ChIP-seq, of known motifs where no group is named, of the network."""
    named = (config.chip, "" if config.motif_database in GROUPS else config.motif_database)
    return (*(name for name in named if name), *network_files(config))


def files_digest(config: InterpretConfig) -> str:
    """SHA-256 over the bytes of these files. DataError for one that cannot be read."""
    found = hashlib.sha256()
    for name in outside_files(config):
        try:
            found.update(bytes.fromhex(digest_of(name)))
        except OSError as error:
            keys = {config.chip: "chip", config.motif_database: "motif_database", config.weights: "weights"}
            key = keys.get(name, "module")
            groups = f", or one of {', '.join(GROUPS)}" if key == "motif_database" else ""
            raise DataError(
                f"{key} = {name!r}: cannot be read ({error.strerror or error}); give a file that is there{groups}"
            ) from error
    return found.hexdigest()


def digest_of(name: str) -> str:
    """SHA-256 of a file's bytes. OSError where it cannot be read."""
    with Path(name).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
