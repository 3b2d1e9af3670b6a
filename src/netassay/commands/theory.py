"""What the theorems construct and assume, tried on a corpus in files: construction, injectivity, rank."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from netassay.commands.corpus import CorpusArguments, contexts_of
from netassay.errors import ConfigError
from netassay.files import refuse_misplaced

MOST_SEEDS = 10_000

if TYPE_CHECKING:
    from netassay.capacity.construction import Construction
    from netassay.capacity.injectivity import Separation
    from netassay.capacity.rank import MeasuredRank
    from netassay.corpus.context import Contexts


def construct(
    files: Contexts | Path | str | Sequence[Path | str],
    *,
    width: int | None = None,
    save: Path | str | None = None,
    architecture: Literal["averaging", "decoder"] = "averaging",
    method: Literal["solve", "ladder", "fit"] = "solve",
    embedding: int = 64,
    activation: Literal["tanh", "gelu", "silu", "sigmoid", "softplus"] | None = None,
    smoothing: float = 1e-8,
    seed: int = 0,
    weights: Literal["float64", "float32"] = "float64",
    **corpus: Unpack[CorpusArguments],
) -> Construction:
    """Make a model that memorises a corpus without training: its loss is the entropy bound, up to a stated gap.

    The proof of Theorem 21 as an algorithm: random embedding, attention and neurons, and output weights computed so
    that every unique context gets its own next-token distribution. deviation is the largest error of a probability,
    gap the loss above the bound in nats; both are measured in the model's own forward pass, in float64 and in float32.
    The saved folder also lists `words`: the words of the model's tokens 0, 1, 2, ...

    Args:
        files: Corpus, as `entropy` takes it: files, folders, patterns or topics; in Python also counted contexts.
        width: Hidden neurons; by default 10% more than contexts, which is enough in float32 too.
        save: New folder for the model.
        architecture: Model of Theorem 23 (averaging) or of Theorem 21 (decoder).
        method: How output weights are computed: solve (a linear system), ladder (steep sigmoids, no solve), or fit,
            which accepts any width and reports how close it comes.
        embedding: Size of a token's vector (1 or more).
        activation: Activation of the hidden neurons; by default tanh, for a ladder sigmoid.
        smoothing: Weight of the uniform distribution (above 0, below 1), which keeps the logits finite.
        seed: Seed of the random embedding, attention and neurons.
        weights: Arithmetic of the saved weights.
        corpus: How the files are read.

    Returns:
        The model and how close it comes, measured in float64 and float32.

    Raises:
        ConfigError: For a width below the number of contexts (except with "fit") and too little memory.
        DataError: For a corpus without a context.
        StoreError: For a folder that already exists.

    Source:
        Madden, Fox, Thrampoulidis (2024), proof of Theorem 21; Theorem 23.

    Example:
        >>> import netassay, numpy as np
        >>> counted = netassay.contexts([[0, 1, 2], [0, 2, 1], [1, 1]])
        >>> netassay.construct(counted).float64.gap < 1e-6
        True
    """
    from netassay.capacity.construction import construct as construct_model
    from netassay.runs.models import require_new, save_model

    if save is not None:
        require_new(save)
    contexts = contexts_of(files, **corpus)
    construction = replace(
        construct_model(
            contexts,
            width=width,
            architecture=architecture,
            method=method,
            embedding=embedding,
            activation=activation,
            smoothing=smoothing,
            seed=seed,
        ),
        skipped=contexts.skipped,
    )
    if save is not None:
        import torch

        about = {
            **numbers_of(construction),
            "token_ids": construction.token_ids.tolist(),
            "words": construction.words,
        }
        # .to changes a module in place, and the one that is returned keeps float64
        save_model(save, deepcopy(construction.model).to(getattr(torch, weights)), about)
    return construction


def numbers_of(construction: Construction) -> dict[str, Any]:
    """The numbers of a construction by name, without those that its method does not give."""
    words = {key: getattr(construction, key) for key in ("architecture", "method")}
    sizes = {key: getattr(construction, key) for key in ("contexts", "vocabulary", "width", "parameters")}
    of_method = (
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
    quality = {key: value for key in of_method if (value := getattr(construction, key)) is not None}
    fits = {
        f"{name}_{kind}": value
        for kind in ("float64", "float32")
        for name, value in asdict(getattr(construction, kind)).items()
    }
    skipped = dict(construction.skipped)
    return {**words, **sizes, "bound_nats": construction.bound, **quality, **fits, "skipped": skipped}


def injectivity(
    files: Contexts | Path | str | Sequence[Path | str],
    *,
    size: Sequence[int] | None = None,
    seeds: int = 9,
    page: Path | str | None = None,
    **corpus: Unpack[CorpusArguments],
) -> list[Separation]:
    """Measure how far apart the contexts of a corpus stay when each is mapped to one real number.

    smallest is the smallest gap between the images of two contexts over the range of all, collisions the number of
    neighbours that coincide in float32 or float64.

    Args:
        files: Corpus, as `entropy` takes it: files, folders, patterns or topics; in Python also counted contexts.
        size: Number of documents, taken from the beginning; may be given several times. By default all, and twelve
            smaller numbers.
        seeds: Number of random draws of the maps (1 to 10,000).
        page: Also draw the figure on a page of this name (.html).
        corpus: How the files are read.

    Returns:
        A row for each size, draw, map and arithmetic.

    Raises:
        ConfigError: For a size that the corpus does not have, and seeds out of range.
        DataError: For a corpus without a context.

    Source:
        Madden, Fox, Thrampoulidis (2024), Theorems 17 and 22.

    Example:
        >>> import netassay
        >>> counted = netassay.contexts([[0, 1, 2], [0, 2, 1], [1, 1]])
        >>> rows = netassay.injectivity(counted, seeds=1)
        >>> {row.scalar_map for row in rows} == {"attention", "averaging"}
        True
    """
    from netassay.capacity.injectivity import separations

    if not 1 <= seeds <= MOST_SEEDS:
        raise ConfigError(f"seeds = {seeds} is not allowed: whole number 1 to {MOST_SEEDS:,}")
    if page is not None:
        refuse_misplaced(page)
    rows = separations(contexts_of(files, **corpus), sizes=size, seeds=range(seeds))
    if page is not None:
        words = ", ".join(map(str, [files] if isinstance(files, str | Path) else files))  # type: ignore[arg-type]
        _write(Path(page), "Injectivity of the scalar maps", words, rows, [])
    return rows


def rank(
    activations: Sequence[str] = (),
    *,
    size: Sequence[int] = (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 28, 32),
    width: Sequence[int] | None = None,
    seed: int = 0,
    page: Path | str | None = None,
) -> list[MeasuredRank]:
    """Measure the rank of psi(a b') in float32, float64 and 400 digits, beside the rank from the theorems.

    Args:
        activations: tanh, gelu, sigmoid, sin, exp, or one of the polynomials shown by default.
        size: n, rows of the matrix (1 or more); may be given several times.
        width: m, columns; by default as many as rows. May be given several times.
        seed: Seed of the random vectors a (n) and b (m).
        page: Also draw the figure on a page of this name (.html).

    Returns:
        A row for each activation, size, width and arithmetic.

    Raises:
        ConfigError: For an unknown activation, a size below 1, and one that 400 digits cannot resolve (above 100).

    Source:
        Madden, Fox, Thrampoulidis (2024), Theorems 19 and 20.

    Example:
        >>> import netassay
        >>> rows = netassay.rank(["1 + z + z^2"], size=[8])
        >>> rows[-1].measured, rows[-1].theorem
        (3, 3)
    """
    from netassay.capacity.rank import SHOWN, ranks

    if page is not None:
        refuse_misplaced(page)
    rows = ranks(tuple(activations) or SHOWN, sizes=size, widths=width, seed=seed)
    if page is not None:
        _write(Path(page), "Rank of scalar features", "", [], rows)
    return rows


def _write(page: Path, title: str, subtitle: str, rows: Sequence[Separation], ranks: Sequence[MeasuredRank]) -> None:
    from netassay import __version__
    from netassay.reporting import write_page
    from netassay.studies.capacity.theory_pages import sections_of_theory

    sections = sections_of_theory(rows, ranks)
    write_page(page, title=title, subtitle=subtitle, sections=sections, facts={"netassay": __version__})
