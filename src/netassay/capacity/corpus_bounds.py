"""What one corpus requires of a model; the worst case over all corpora requires far more (docs/capacity-bounds.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from netassay.capacity.theorems import (
    capacity_upper,
    decoder_capacity_lower,
    empirical_capacity_upper,
    empirical_capacity_upper_tight,
    fewest_parameters,
    trainable_count,
)
from netassay.corpus.context import BITS_PER_PARAMETER, Contexts
from netassay.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

NOT_GENERIC: Literal["not for almost all frequencies"] = "not for almost all frequencies"

Answer = Literal["can", "cannot", "may", "not for almost all frequencies"]


def logit_rank(support: int, vocabulary: int) -> int:
    """Rank of the logits, 2 s at most, with which a softmax comes as close as one likes to any distributions on at
    most `support` = s tokens each (the trigonometric moment curve); never above zeta - 1.
    """
    return min(2 * support, max(vocabulary - 1, 0))


@dataclass(frozen=True)
class Verdict:
    """Whether a model can memorise a corpus: bring its loss arbitrarily close to the entropy bound.

    No count of parameters shows that a model cannot memorise one given corpus.

    Attributes:
        answer: "can" (Theorem 21), where the hidden layer is as wide as there are contexts; "not for almost all
            frequencies", where the parameters are fewer than the degrees of freedom of the next-token frequencies: of
            all frequencies on these contexts and next tokens such a model reaches almost none, but it may reach those
            of this corpus, as with one parameter where all branches are equally frequent; "may", where neither
            decides.
        worst_case: About every corpus with as many contexts: "cannot" says that each architecture with this number of
            parameters has a corpus that none of its settings fits (Theorem 13); which one depends on the architecture.
        words: All of it in words.
        contexts: n, the unique contexts of the corpus.
        vocabulary: zeta, the tokens that the model distinguishes.
        parameters: k, its trainable parameters.
        fewest_parameters_worst_case: Parameters from which on Theorem 13 excludes no corpus of n contexts.
        fewest_parameters_this_corpus: The degrees of freedom of the next-token frequencies.
        predicted_parameters: Parameters with which training is expected to begin to succeed (an empirical rate).
        sufficient_width: Width with which the answer is "can".
        degrees_of_freedom_unequal: What remains of the degrees of freedom where next tokens that are equally frequent
            after a context stay so.

    Source:
        Madden, Fox, Thrampoulidis (2024), Theorems 13 and 21; Morris et al. (2025) for `predicted_parameters`.

    Example:
        >>> import netassay
        >>> corpus = netassay.contexts([[0, 1, 2], [0, 2, 1]])
        >>> netassay.bounds(100, width=3, corpus=corpus).verdict.answer
        'can'
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
    degrees_of_freedom_unequal: int

    @property
    def not_for_almost_all_frequencies(self) -> bool:
        return self.answer == NOT_GENERIC


def verdict(corpus: Contexts, parameters: int, *, width: int | None = None, vocabulary: int | None = None) -> Verdict:
    """Compares a model of k `parameters`, a decoder with `width` neurons if given, with a corpus.

    `vocabulary`: tokens the model distinguishes, by default those that occur in the corpus; fewer raise
    ConfigError. The empty context is left out on both sides.
    """
    zeta = corpus.vocabulary if vocabulary is None else vocabulary
    if zeta < corpus.vocabulary:
        raise ConfigError(
            f"vocabulary is {zeta}; the corpus holds {corpus.vocabulary} different tokens, all of which the model "
            "must tell apart"
        )
    _require_consistent(parameters, zeta, width)
    n, freedom, unequal = corpus.n, corpus.degrees_of_freedom, corpus.degrees_of_freedom_unequal
    if _nothing_to_learn(corpus):
        answer: Answer = "can"
        worst: Answer = "can"
    else:
        answer, worst = answers(n, zeta, freedom, parameters, width=width)
    fewest = fewest_parameters(n, zeta) if zeta else 0
    predicted = corpus.predicted_parameters()
    words = [
        _answer_in_words(answer, corpus, parameters, width),
        _worst_case_in_words(worst, n, parameters, fewest),
        f"Training is expected to begin to succeed near {predicted:,.0f} parameters (an empirical rate of "
        f"{BITS_PER_PARAMETER} bits each, which leaves out the fixed cost of embedding and attention).",
    ]
    return Verdict(answer, worst, " ".join(words), n, zeta, parameters, fewest, freedom, predicted, n, unequal)


def answers(
    contexts: int, vocabulary: int, degrees_of_freedom: int, parameters: int, *, width: int | None = None
) -> tuple[Answer, Answer]:
    """What the sizes of a corpus and of a model say: the answer for this corpus, and in the worst case.

    As in `Verdict`; not for a corpus in which nothing is left to predict.
    """
    if width is not None and decoder_capacity_lower(width) >= contexts:
        return "can", "can"
    reach = empirical_capacity_upper(parameters, vocabulary)
    return NOT_GENERIC if parameters < degrees_of_freedom else "may", "cannot" if contexts > reach else "may"


def _require_consistent(parameters: int, zeta: int, width: int | None) -> None:
    if width is not None and parameters < width * (zeta - 1):
        raise ConfigError(
            f"a hidden layer of {width:,} with {zeta:,} tokens to choose from has more weights behind it than the "
            f"{parameters:,} parameters given: {width * zeta:,}; correct one of the three"
        )


def _nothing_to_learn(corpus: Contexts) -> bool:
    return corpus.n == 0 or corpus.vocabulary == 1


def _answer_in_words(answer: Answer, corpus: Contexts, parameters: int, width: int | None) -> str:
    n, freedom = corpus.n, corpus.degrees_of_freedom
    if _nothing_to_learn(corpus):
        return "It can memorise this corpus: nothing in it is left to predict."
    if answer == "can":
        return f"It can memorise this corpus: its hidden layer of {width:,} holds any {n:,} contexts (Theorem 21)."
    sure = f"a decoder with a hidden layer of {n:,} certainly can (Theorem 21)"
    if answer == NOT_GENERIC:
        return (
            f"Not for almost all frequencies on these contexts: {parameters:,} parameters are fewer than the "
            f"{freedom:,} degrees of freedom of the next-token frequencies. Those of this corpus may be an exception, "
            f"as {corpus.degrees_of_freedom_unequal:,} degrees of freedom are left where equally frequent next tokens "
            f"stay so; {sure}."
        )
    return (
        f"It may memorise this corpus: {parameters:,} parameters are no fewer than the {freedom:,} degrees of "
        f"freedom of its next-token frequencies; {sure}."
    )


def _worst_case_in_words(worst: Answer, n: int, parameters: int, fewest: int) -> str:
    if worst == "can":
        return "So it can every other corpus of as many contexts."
    if worst == "cannot":
        return (
            f"For every architecture with {parameters:,} parameters there is a corpus of {n:,} contexts that no "
            "setting of them fits, a different one for each architecture (Theorem 13, which says nothing from "
            f"{fewest:,} parameters on)."
        )
    return f"Theorem 13 excludes no corpus of {n:,} contexts from {fewest:,} parameters on."


@dataclass(frozen=True)
class Bounds:
    """How many contexts a model can memorise.

    Attributes:
        parameters: k, the trainable parameters.
        vocabulary: zeta, the tokens that it distinguishes.
        width: Neurons of the hidden layer, where given.
        upper_general: Maximum number of contexts with any distributions on them (Lemma 9).
        upper_empirical: Maximum number of contexts of every corpus (Theorem 13); beyond it each architecture has a
            corpus that no setting fits.
        upper_empirical_tight: The same with + 1 instead of + 2.
        lower_construct: Number of contexts that it can surely memorise (Theorems 21 and 23); None for a model that is
            not a decoder of known width.
        verdict: The verdict on a corpus, if one was given.
        bound_nats: Entropy bound of that corpus in nats.
        skipped: Documents of its files that reading left out, by reason.
        beside: Every bound for it, side by side.

    Source:
        Madden, Fox, Thrampoulidis (2024), Lemma 9, Theorems 13, 21 and 23.

    Example:
        >>> import netassay
        >>> isinstance(netassay.bounds(35_442, 690), netassay.Bounds)
        True
    """

    parameters: int
    vocabulary: int
    width: int | None
    upper_general: float
    upper_empirical: float
    upper_empirical_tight: float
    lower_construct: int | None
    verdict: Verdict | None
    bound_nats: float | None = None
    skipped: Mapping[str, int] = field(default_factory=dict)
    beside: tuple[Any, ...] = ()

    def plot(self) -> Any:
        """The bounds on a common scale, with the contexts of the corpus, as an Altair chart."""
        return import_module("netassay.plotting").plot(self)


def bounds(
    model: nn.Module | int,
    vocabulary: int | None = None,
    *,
    width: int | None = None,
    corpus: Contexts | None = None,
) -> Bounds:
    """The bounds for a model, and the verdict on a corpus that is counted already.

    `netassay.bounds` does the same for a corpus in files.

    Args:
        model: Any module, whose trainable parameters are counted, or their number.
        vocabulary: Number of tokens that it distinguishes; by default that of the corpus.
        width: Neurons of the hidden layer, only for a one-layer decoder or token-averaged network with an analytic
            activation that is not a polynomial.
        corpus: Contexts of the corpus to judge.

    Returns:
        The bounds.

    Raises:
        ConfigError: For sizes out of range and where neither a vocabulary nor a corpus is given.

    Source:
        Madden, Fox, Thrampoulidis (2024), Lemma 9, Theorems 13, 21 and 23.

    Example:
        >>> import netassay
        >>> netassay.capacity.bounds(35_442, 690).upper_general
        51.4...
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
