"""The command that makes a model which memorises a corpus, without training."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from netassay.cli.assay import whole_number
from netassay.cli.corpus import Reading
from netassay.cli.output import Format, answer

if TYPE_CHECKING:
    from netassay.studies.capacity.construct import Construction

AS_GIVEN = Reading()


def construct(
    file: Annotated[
        str,
        Parameter(
            help="Text or .jsonl (both also gzip), .parquet, .arrow, .npy, or the word topics: Python's help topics."
        ),
    ],
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

    Example: netassay construct stories.txt --document record --length 10 --save memorised
    """
    from netassay.runs.models import require_new, save_model
    from netassay.studies.capacity.construct import construct as make

    begin = time.perf_counter()
    if save is not None:
        require_new(save)
    found, skipped = reading.contexts(file)
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

        about = {**values, "token_ids": made.token_ids.tolist()}
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
