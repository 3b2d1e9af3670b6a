"""Differences of a run folder from what its writer recorded."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Set
from pathlib import Path
from typing import NamedTuple

from netassay.errors import StoreError
from netassay.files import is_temporary
from netassay.runs import disk, ledger
from netassay.runs.writer import TABLES, TENSORS

_LEDGER = {ledger.NAME, ledger.DIGEST, f"{ledger.NAME}-wal", f"{ledger.NAME}-shm", f"{ledger.NAME}-journal"}
_KNOWN = {*_LEDGER, disk.LOCK, TENSORS, TABLES}


class Problem(NamedTuple):
    """One finding: the run's id, the file inside its folder, and what is wrong with it."""

    run: str
    file: str
    what: str


def verify_run(folder: Path) -> list[Problem]:
    """Checks every file against its row, missing and extra files, run.sqlite and every row in it."""
    try:
        findings = ledger.read(folder, _wrong_rows) or _wrong_bytes(folder)
        findings += ledger.read(folder, lambda connection: _wrong_files(connection, folder))
    except StoreError as cause:
        findings = [(ledger.NAME, str(cause))]
    return [Problem(folder.name, file, finding) for file, finding in findings]


def _wrong_rows(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    findings = [finding for (finding,) in connection.execute("PRAGMA integrity_check") if finding != "ok"]
    connection.execute("BEGIN")  # one snapshot for the rows and their seal
    metrics = hashlib.sha256()
    ledger.absorb(metrics, ledger.metric_rows(connection))
    if not ledger.is_sealed(connection, metrics):
        findings.append("its rows are not those that were written (SHA-256 differs)")
    facts = ledger.facts(connection)
    digest = hashlib.sha256(facts.get("config", "").encode()).hexdigest()
    if json.dumps(digest) != facts.get("digest"):
        findings.append(f"the config has digest {digest}, recorded was {facts.get('digest')}")
    return [(ledger.NAME, finding) for finding in findings]


def _wrong_bytes(folder: Path) -> list[tuple[str, str]]:
    """Checks the file run.sqlite of a run that has ended; a running or killed run has no digest of it."""
    try:
        expected = disk.read_short(folder, ledger.DIGEST)
        actual = disk.digest(folder, ledger.NAME)
        still = disk.read_short(folder, ledger.DIGEST)
    except OSError:
        return []
    if expected == actual or still != expected:
        return []
    return [(ledger.NAME, f"is damaged: SHA-256 expected {expected}, found {actual}; restore it from a copy")]


def _wrong_files(connection: sqlite3.Connection, folder: Path) -> list[tuple[str, str]]:
    before = ledger.files(connection)
    wrong = dict(_mismatches(folder, before))
    # a living writer may have replaced files since their rows were read
    now = ledger.files(connection)
    findings = [(file, finding) for file, finding in wrong.items() if now.get(file) == before[file]]
    open_ended = ledger.status(connection).state == "running"
    return findings + list(_strangers(folder, before.keys() | now.keys(), open_ended))


def _mismatches(folder: Path, recorded: dict[str, str]) -> Iterator[tuple[str, str]]:
    for file, expected in recorded.items():
        path = folder / file
        if path.is_symlink():
            yield file, "is a symbolic link; the run's files must lie in its folder"
            continue
        try:
            disk.read_checked(folder, file, expected)
        except StoreError as cause:
            yield file, str(cause)


def _strangers(folder: Path, recorded: Set[str], open_ended: bool) -> Iterator[tuple[str, str]]:
    """Files that no row names; those of a running or killed writer are removed by the next writer."""
    for path in sorted(folder.iterdir()):
        if path.name not in _KNOWN and not is_temporary(path.name):
            yield path.name, "is not a file of the run; move it elsewhere"
        elif path.is_symlink():
            yield path.name, "is a symbolic link; the run's files must lie in its folder"
    for name in (TENSORS, TABLES):
        if (folder / name).is_symlink():
            continue
        for path in sorted((folder / name).glob("*")):  # a copying tool may have left out an empty folder
            file = f"{name}/{path.name}"
            if file not in recorded and not (open_ended and disk.is_ours(path.name)):
                yield (
                    file,
                    "is recorded by no row: a writer that was killed left it, and `netassay resume` "
                    "removes it; or it was put there, and belongs elsewhere",
                )
