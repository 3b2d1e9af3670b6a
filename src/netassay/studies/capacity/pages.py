"""The capacity study's part of a report."""

from __future__ import annotations
from collections.abc import Sequence
from netassay.reporting import Note, Section
from netassay.runs import Run


def sections(runs: Sequence[Run]) -> list[Section]:
    return [Section("Capacity", items=(Note("There are no runs of the capacity study."),))]
