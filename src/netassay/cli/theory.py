"""Commands that try the theorems' two generic facts in floating point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from netassay.cli.assay import whole_number, whole_numbers
from netassay.cli.corpus import Reading
from netassay.cli.output import Format, table

if TYPE_CHECKING:
    from netassay.studies.capacity.injectivity import Separation
    from netassay.studies.capacity.rank import MeasuredRank

AS_GIVEN = Reading()


def injectivity(
    file: Annotated[
        str,
        Parameter(
            help="Text or .jsonl (both also gzip), .parquet, .arrow, .npy, or the word topics: Python's help topics."
        ),
    ],
    *,
    size: Annotated[
        tuple[int, ...] | None,
        Parameter(converter=whole_numbers, help="Documents from the beginning; may be given several times."),
    ] = None,
    seeds: Annotated[int, Parameter(converter=whole_number, help="Random draws of the maps.")] = 9,
    page: Annotated[
        Path | None, Parameter(help="Also draw the figure on a page of this name (.html).")
    ] = None,
    reading: Reading = AS_GIVEN,
    format: Format = "table",
) -> int:
    """How far apart one real number a context keeps the contexts of a corpus (Theorems 17 and 22).

    smallest is the least gap between images of two contexts over the range of all, collisions the neighbours that
    coincide in float32 or float64.

    Example: netassay injectivity stories.txt --document record --length 10 --page injectivity.html
    """
    from netassay.studies.capacity.injectivity import separations

    found, _ = reading.contexts(file)
    rows = separations(found, sizes=size, seeds=range(seeds))
    if page is not None:
        _write(page, "Injectivity of the scalar maps", file, rows, [])
    table([asdict(row) for row in rows], format)
    return 0


def rank(
    activations: Annotated[
        tuple[str, ...],
        Parameter(help="tanh, gelu, sigmoid, sin, exp, or a polynomial of those shown by default."),
    ] = (),
    *,
    size: Annotated[
        tuple[int, ...],
        Parameter(converter=whole_numbers, help="n, rows of the matrix; may be given several times."),
    ] = (
        1,
        2,
        3,
        4,
        6,
        8,
        12,
        16,
        20,
        24,
        28,
        32,
    ),
    width: Annotated[
        tuple[int, ...] | None,
        Parameter(converter=whole_numbers, help="m, columns; as many as rows by default; several times."),
    ] = None,
    seed: Annotated[int, Parameter(converter=whole_number, help="Of the random a and b.")] = 0,
    page: Annotated[
        Path | None, Parameter(help="Also draw the figure on a page of this name (.html).")
    ] = None,
    format: Format = "table",
) -> int:
    """The rank of psi(a b') in float32, float64 and 400 digits, beside the theorems' (Theorems 19 and 20).

    Example: netassay rank tanh gelu --size 8 --size 16 --size 32
    """
    from netassay.studies.capacity.rank import SHOWN, ranks

    rows = ranks(activations or SHOWN, sizes=size, widths=width, seed=seed)
    if page is not None:
        _write(page, "Rank of scalar features", "", [], rows)
    table([asdict(row) for row in rows], format)
    return 0


def _write(
    page: Path, title: str, subtitle: str, rows: Sequence[Separation], ranks: Sequence[MeasuredRank]
) -> None:
    from netassay import __version__
    from netassay.reporting import write_page
    from netassay.studies.capacity.theory_pages import sections_of_theory

    sections = sections_of_theory(rows, ranks)
    write_page(page, title=title, subtitle=subtitle, sections=sections, facts={"netassay": __version__})
