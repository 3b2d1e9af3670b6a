"""What one chromosome is called by different sources: chr1 and 1, chrM and MT."""

from __future__ import annotations

from collections.abc import Container

MITOCHONDRION = ("chrM", "MT", "M", "chrMT")
"""Names of the mitochondrial genome: UCSC's, Ensembl's, and mixtures of the two."""


def other_names(name: str) -> tuple[str, ...]:
    """Other names of the same contig, most likely first."""
    if name in MITOCHONDRION:
        return tuple(alias for alias in MITOCHONDRION if alias != name)
    return (name[3:],) if name.startswith("chr") else (f"chr{name}",)


def known_as(name: str, names: Container[str]) -> str | None:
    """The name of the contig among `names`: its own if it is there, else another; None if there is none."""
    return next((form for form in (name, *other_names(name)) if form in names), None)


def canonical(name: str) -> str:
    """One name for all names of a contig: without "chr", MT for the mitochondrial genome."""
    return "MT" if name in MITOCHONDRION else name.removeprefix("chr")
