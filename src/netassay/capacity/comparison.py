"""All bounds for one corpus side by side: rows of a table or figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from netassay.capacity.corpus_bounds import logit_rank
from netassay.capacity.theorems import (
    averaging_parameters,
    decoder_parameters,
    experiment_parameters,
    fewest_parameters,
    fewest_parameters_any_distribution,
)
from netassay.corpus.context import BITS_PER_PARAMETER, Contexts
from netassay.errors import ConfigError

Says = Literal["necessary", "sufficient", "expected"]


@dataclass(frozen=True)
class Row:
    """One bound as it applies to a corpus.

    `says`: with fewer parameters it cannot be done ("necessary"), with this many it can ("sufficient"), or this is
    where training is expected to succeed ("expected", empirical). `of` says for what: "any corpus" with as many
    contexts and tokens (with fewer than necessary every architecture has one that it cannot fit), "this corpus", or
    "almost all frequencies" on its contexts and next tokens. `parameters` is None if the bound is about something
    else: `width` neurons of a hidden layer, or the `rank` of the logits. `leaves_out` names what a model's own count
    of parameters contains and this number does not.
    """

    bound: str
    source: str
    says: Says
    of: str
    parameters: float | None
    width: int | None = None
    rank: int | None = None
    leaves_out: str = ""


def side_by_side(contexts: Contexts, *, vocabulary: int | None = None, embedding: int = 16) -> tuple[Row, ...]:
    """Every bound of the study for a corpus, the empty context left out, from the most demanding to the least.

    Args:
        contexts: Contexts of the corpus.
        vocabulary: Number of tokens that models distinguish; by default that of the corpus.
        embedding: Embedding size of the models whose sufficient sizes are given; with one head, and positions for the
            longest document.

    Returns:
        A row for each bound.

    Raises:
        ConfigError: For a vocabulary below the corpus's.

    Source:
        Madden, Fox, Thrampoulidis (2024), Lemma 9, Theorems 13, 21 and 23; Morris et al. (2025).

    Example:
        >>> import netassay
        >>> rows = netassay.side_by_side(netassay.contexts([[0, 1, 2], [0, 2, 1]]))
        >>> rows[0].source, rows[0].width
        ('Theorem 21', 3)
    """
    zeta = max(contexts.vocabulary, 1) if vocabulary is None else vocabulary
    if zeta < max(contexts.vocabulary, 1):
        raise ConfigError(f"vocabulary is {zeta}; the corpus holds {contexts.vocabulary} different tokens")
    n, longest = contexts.n, max(len(contexts.contexts_by_length), 1)
    sizes = {"embedding": embedding, "longest": longest}
    sure = [
        ("decoder of the theory", "Theorem 21", decoder_parameters(zeta, n, **sizes)),
        (
            "decoder of the experiment",
            "argument of Theorem 21, where its attention tells contexts apart",
            experiment_parameters(zeta, n, embedding=embedding),
        ),
        ("token-averaged network", "Theorem 23", averaging_parameters(zeta, n, **sizes)),
    ]
    return (
        *(
            Row(f"{name}, a neuron a context", source, "sufficient", "any corpus", count, width=n)
            for name, source, count in sure
        ),
        Row(
            "any distributions",
            "Lemma 9",
            "necessary",
            "any distributions",
            fewest_parameters_any_distribution(n, zeta),
        ),
        Row("worst corpus", "Theorem 13", "necessary", "any corpus", fewest_parameters(n, zeta)),
        Row(
            f"bits, {BITS_PER_PARAMETER} a parameter",
            "Morris et al. 2025",
            "expected",
            "this corpus",
            contexts.predicted_parameters(),
            leaves_out="the fixed cost of embedding and attention",
        ),
        Row(
            "degrees of freedom",
            "dimension of the frequencies",
            "necessary",
            "almost all frequencies",
            contexts.degrees_of_freedom,
        ),
        Row(
            "degrees of freedom of unequal branches",
            "dimension of the frequencies",
            "necessary",
            "almost all frequencies, equal ones kept equal",
            contexts.degrees_of_freedom_unequal,
        ),
        Row(
            "rank of the logits",
            "moment curve",
            "sufficient",
            "this corpus",
            None,
            rank=logit_rank(contexts.largest_support, zeta),
        ),
    )
