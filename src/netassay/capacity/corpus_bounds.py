"""What one corpus asks of a model, where the worst case over all corpora asks far more (docs/capacity-bounds.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from netassay.capacity.theorems import (
    capacity_upper,
    decoder_capacity_lower,
    empirical_capacity_upper,
    empirical_capacity_upper_tight,
    fewest_parameters,
    trainable_count,
)
from netassay.corpus.context import Contexts
from netassay.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

BITS_PER_PARAMETER = 3.6
"""Morris et al. (2025, arXiv 2505.24832): what GPT-style decoders were measured to hold; 3.83 in float32."""

Answer = Literal["can", "cannot", "may"]


def information_bits(found: Contexts) -> float:
    """What the corpus tells of its tokens beyond their number, in bits: predictions ln zeta - bound, over ln 2.

    First tokens, which no context predicts, are left out.
    """
    if found.vocabulary < 2:
        return 0.0
    return (found.predictions * math.log(found.vocabulary) - found.bound_nats) / math.log(2)


def predicted_parameters(found: Contexts, *, bits_per_parameter: float = BITS_PER_PARAMETER) -> float:
    """Parameters with which training is expected to begin to memorise the corpus: `information_bits` over a rate.

    Empirical, no bound in either direction (Morris et al. 2025).
    """
    if not bits_per_parameter > 0:
        raise ConfigError(f"bits_per_parameter is {bits_per_parameter}; it is above 0")
    return information_bits(found) / bits_per_parameter


def logit_rank(support: int, vocabulary: int) -> int:
    """Rank of the logits, 2 s at most, with which a softmax comes as close as one likes to any distributions on at
    most `support` = s tokens each (the trigonometric moment curve); never above zeta - 1.
    """
    return min(2 * support, max(vocabulary - 1, 0))


@dataclass(frozen=True)
class Verdict:
    """Whether a model can memorise a corpus: bring its loss as close to the entropy bound as one likes.

    `answer`: "can" by Theorem 21, where the hidden layer is as wide as there are contexts; "cannot" below the
    degrees of freedom, for almost all frequencies on these contexts; "may" where neither decides. `worst_case` is
    the same question about every corpus of as many contexts (Theorem 13). `words` says it in three sentences. The
    fewest parameters are those below which the answer is "cannot", `sufficient_width` makes it "can".
    """

    answer: Answer
    worst_case: Answer
    words: str
    contexts: int
    vocabulary: int
    parameters: int
    fewest_parameters_worst_case: int
    fewest_parameters_this_corpus: int
    predicted_parameters: float
    sufficient_width: int


def verdict(
    found: Contexts, parameters: int, *, width: int | None = None, vocabulary: int | None = None
) -> Verdict:
    """Holds a model of k `parameters`, a decoder with `width` neurons if given, against a corpus.

    `vocabulary`: tokens the model tells apart, by default those that occur in the corpus; fewer raise
    ConfigError. The empty context is left out on both sides.
    """
    zeta = found.vocabulary if vocabulary is None else vocabulary
    if zeta < found.vocabulary:
        raise ConfigError(
            f"vocabulary is {zeta}; the corpus holds {found.vocabulary} different tokens, all of which the model "
            "must tell apart"
        )
    _require_consistent(parameters, zeta, width)
    n, freedom = found.n, found.degrees_of_freedom
    reach = empirical_capacity_upper(parameters, zeta) if zeta else math.inf
    enough = _nothing_to_learn(found) or (width is not None and decoder_capacity_lower(width) >= n)
    answer: Answer = "can" if enough else "cannot" if parameters < freedom else "may"
    worst: Answer = "can" if enough else "cannot" if n > reach else "may"
    worst_least = fewest_parameters(n, zeta) if zeta else 0
    predicted = predicted_parameters(found)
    words = [
        _answered(answer, found, parameters, width),
        _in_the_worst_case(worst, n, parameters, worst_least),
        f"Training is expected to begin to succeed near {predicted:,.0f} parameters (an empirical rate of "
        f"{BITS_PER_PARAMETER} bits each).",
    ]
    return Verdict(answer, worst, " ".join(words), n, zeta, parameters, worst_least, freedom, predicted, n)


def _require_consistent(parameters: int, zeta: int, width: int | None) -> None:
    if width is not None and parameters < width * (zeta - 1):
        raise ConfigError(
            f"a hidden layer of {width:,} with {zeta:,} tokens to choose from has more weights behind it than the "
            f"{parameters:,} parameters given: {width * zeta:,}; correct one of the three"
        )


def _nothing_to_learn(found: Contexts) -> bool:
    return found.n == 0 or found.vocabulary == 1


def _answered(answer: Answer, found: Contexts, parameters: int, width: int | None) -> str:
    n, freedom = found.n, found.degrees_of_freedom
    if _nothing_to_learn(found):
        return "It can memorise this corpus: nothing in it is left to predict."
    if answer == "can":
        return f"It can memorise this corpus: its hidden layer of {width:,} holds any {n:,} contexts (Theorem 21)."
    sure = f"a decoder with a hidden layer of {n:,} surely can (Theorem 21)"
    if answer == "cannot":
        return (
            f"It cannot memorise this corpus: {parameters:,} parameters are fewer than the {freedom:,} degrees of "
            f"freedom of its next-token frequencies (true of almost all frequencies on these contexts); {sure}."
        )
    return (
        f"It may memorise this corpus: {parameters:,} parameters are no fewer than the {freedom:,} degrees of "
        f"freedom of its next-token frequencies; {sure}."
    )


def _in_the_worst_case(worst: Answer, n: int, parameters: int, least: int) -> str:
    if worst == "can":
        return "So it can every other corpus of as many contexts."
    if worst == "cannot":
        return (
            f"Some corpus of {n:,} contexts is beyond every model of {parameters:,} parameters; "
            f"only from {least:,} on is none excluded (Theorem 13)."
        )
    return f"No corpus of {n:,} contexts is excluded from {least:,} parameters on (Theorem 13)."


@dataclass(frozen=True)
class Bounds:
    """How many contexts a model can hold: at most `upper_general` with any distributions on them (Lemma 9), at most
    `upper_empirical` of every corpus (Theorem 13; `upper_empirical_tight` with + 1), and surely `lower_construct`
    (Theorems 21, 23), which is None for a model that is no decoder of known width. `verdict` is on a corpus, if given.
    """

    parameters: int
    vocabulary: int
    width: int | None
    upper_general: float
    upper_empirical: float
    upper_empirical_tight: float
    lower_construct: int | None
    verdict: Verdict | None


def bounds(
    model: nn.Module | int,
    vocabulary: int | None = None,
    *,
    width: int | None = None,
    corpus: Contexts | None = None,
) -> Bounds:
    """The bounds of Madden, Fox, Thrampoulidis (2025) for a model, and with a `corpus` the verdict on it.

    `model`: any module, of which the trainable parameters count, or their number. `vocabulary`: tokens it tells
    apart, by default those of the corpus. `width`: neurons of the hidden layer, to be given only for a one-layer
    decoder or token-averaged network with an activation that is analytic and no polynomial (Theorems 21, 23).
    Raises ConfigError for sizes out of range and where there is neither a vocabulary nor a corpus.
    """
    count = model if isinstance(model, int) else trainable_count(model)
    if vocabulary is None and corpus is None:
        raise ConfigError("give a vocabulary, the tokens the model tells apart, or a corpus to count them in")
    judged = None if corpus is None else verdict(corpus, count, width=width, vocabulary=vocabulary)
    zeta = judged.vocabulary if judged else vocabulary or 0
    _require_consistent(count, zeta, width)
    return Bounds(
        parameters=count,
        vocabulary=zeta,
        width=width,
        upper_general=capacity_upper(count, zeta),
        upper_empirical=empirical_capacity_upper(count, zeta),
        upper_empirical_tight=empirical_capacity_upper_tight(count, zeta),
        lower_construct=None if width is None else decoder_capacity_lower(width),
        verdict=judged,
    )
