"""Commands that try the theorems' two generic facts in floating point."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from netassay.cli.assay import whole_number, whole_numbers
from netassay.cli.corpus import CORPUS, Reading
from netassay.cli.output import Format, answer, table

if TYPE_CHECKING:
    from netassay.capacity.construction import Construction
    from netassay.capacity.injectivity import Separation
    from netassay.capacity.rank import MeasuredRank

AS_GIVEN = Reading()


def injectivity(
    files: Annotated[tuple[str, ...], Parameter(help=CORPUS)],
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
    from netassay.capacity.injectivity import separations

    found, _ = reading.contexts(*files)
    rows = separations(found, sizes=size, seeds=range(seeds))
    if page is not None:
        _write(page, "Injectivity of the scalar maps", ", ".join(files), rows, [])
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
    from netassay.capacity.rank import SHOWN, ranks

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


def construct(
    files: Annotated[tuple[str, ...], Parameter(help=CORPUS)],
    *,
    width: Annotated[
        int | None,
        Parameter(
            converter=whole_number,
            help="Hidden neurons; by default a tenth more than contexts, which float32 holds too.",
        ),
    ] = None,
    save: Annotated[Path | None, Parameter(help="New folder for the model.")] = None,
    architecture: Annotated[
        Literal["averaging", "decoder"], Parameter(help="Model of Theorem 23 or of Theorem 21.")
    ] = "averaging",
    method: Annotated[
        Literal["solve", "ladder", "fit"],
        Parameter(help="How output weights are found; fit takes any width and says how near it comes."),
    ] = "solve",
    embedding: Annotated[int, Parameter(converter=whole_number, help="Size of a token's vector.")] = 64,
    activation: Annotated[
        Literal["tanh", "gelu", "silu", "sigmoid", "softplus"] | None,
        Parameter(help="Of the hidden neurons; tanh by default, sigmoid for a ladder."),
    ] = None,
    smoothing: Annotated[
        float, Parameter(help="Weight of the uniform distribution, which keeps logits finite.")
    ] = 1e-8,
    seed: Annotated[
        int, Parameter(converter=whole_number, help="Of the random embedding, attention and neurons.")
    ] = 0,
    weights: Annotated[
        Literal["float64", "float32"], Parameter(help="Arithmetic of the saved weights.")
    ] = "float64",
    reading: Reading = AS_GIVEN,
    format: Format = "table",
) -> int:
    """Make a model that memorises a corpus without training: its loss is the entropy bound, up to a stated gap.

    The proof of Theorem 21 as an algorithm: random embedding, attention and neurons, and output weights computed so
    that every unique context gets its own next-token distribution. deviation is the largest error of a probability,
    gap the loss above the bound in nats; both are of the model's own forward pass, in float64 and in float32.

    Beside the saved weights stand `words`: what the model's tokens 0, 1, 2, ... stand for.

    Example: netassay construct stories.txt --document record --length 10 --save memorised
    """
    from netassay.capacity.construction import construct as make
    from netassay.runs.models import require_new, save_model

    begin = time.perf_counter()
    if save is not None:
        require_new(save)
    found, skipped = reading.contexts(*files)
    made = make(
        found,
        width=width,
        architecture=architecture,
        method=method,
        embedding=embedding,
        activation=activation,
        smoothing=smoothing,
        seed=seed,
    )
    values = {**_numbers(made), "skipped": skipped}
    if save is not None:
        import torch

        about = {**values, "token_ids": made.token_ids.tolist(), "words": made.words}
        save_model(save, made.model.to(getattr(torch, weights)), about)
        values["saved"] = str(save)
    answer({**values, "seconds": time.perf_counter() - begin}, format)
    return 0


def _numbers(made: Construction) -> dict[str, Any]:
    given = {"architecture": made.architecture, "method": made.method}
    sizes = {key: getattr(made, key) for key in ("contexts", "vocabulary", "width", "parameters")}
    how = (
        "smoothing",
        "smoothing_gap",
        "rank",
        "condition",
        "residual",
        "spacing",
        "lower",
        "certified_norm",
        "steps",
    )
    found = {key: value for key in how if (value := getattr(made, key)) is not None}
    fits = {
        f"{name}_{kind}": value
        for kind, fit in (("float64", made.float64), ("float32", made.float32))
        for name, value in asdict(fit).items()
    }
    return {**given, **sizes, "bound_nats": made.bound, **found, **fits}
