"""How many unique contexts a next-token predictor can hold: the bounds of Madden, Fox, Thrampoulidis (2025).

Letters of the paper: k parameters, zeta tokens in the vocabulary, m neurons in the hidden layer, n contexts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from netassay.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from torch import nn


def capacity_upper(parameters: int, vocabulary: int) -> float:
    """Lemma 9: the capacity is at most k / (zeta - 1) contexts, for any model continuously differentiable in k.

    Capacity: the largest n such that any n contexts can be given any distributions inside the simplex exactly.
    Infinite for a vocabulary of one token, where there is nothing to fit. `parameters` >= 0, `vocabulary` >= 1.
    """
    _require(parameters=(parameters, 0), vocabulary=(vocabulary, 1))
    return parameters / (vocabulary - 1) if vocabulary > 1 else math.inf


def empirical_capacity_upper(parameters: int, vocabulary: int) -> float:
    """Theorem 13: the empirical capacity is at most (2 + 1/(zeta - 1)) k / (zeta - 1) + 2 contexts.

    Empirical capacity: the largest n such that on every corpus of at most n unique contexts the loss comes as
    close to the entropy bound as one likes. So for every architecture with k parameters there is a corpus of more
    contexts that no setting of them fits; which one depends on the architecture. Holds for models that are
    continuously differentiable and definable with restricted analytic functions and exp (tanh, arctan, erf, GELU) in
    their k parameters; being differentiable alone does not do.
    """
    return _theorem_13(parameters, vocabulary) + 2


def empirical_capacity_upper_tight(parameters: int, vocabulary: int) -> float:
    """Theorem 13 with + 1 in place of + 2, as Table 1 of the paper prints it.

    It holds too: the corpus by which the proof refutes a larger capacity has at most as many contexts as the
    theorem's bound, + 2, so one fewer is already out of reach.
    """
    return _theorem_13(parameters, vocabulary) + 1


def empirical_capacity_lower(capacity: float) -> float:
    """Lemma 12: the empirical capacity is at least the capacity, for any model."""
    return capacity


def decoder_capacity_lower(width: int) -> int:
    """Theorem 21: a one-layer multi-head decoder with m neurons holds any m contexts.

    The activation is real analytic at some point and no polynomial there (GELU, tanh; not ReLU).
    """
    _require(width=(width, 0))
    return width


def averaging_capacity_lower(width: int) -> int:
    """Theorem 23: a token-averaged feed-forward network with m neurons holds any m contexts.

    The activation is as in Theorem 21.
    """
    _require(width=(width, 0))
    return width


def upper_to_lower(
    vocabulary: int,
    width: int,
    *,
    embedding: int,
    longest: int,
    heads: int = 1,
    key: int | None = None,
    value: int | None = None,
) -> float:
    """Equation (5): the bound of Lemma 9 over that of Theorem 21, for the decoder of equation (4).

    1 + (d+2)/(zeta-1) + 2 m0 (d0+d1) d / ((zeta-1) m) + (zeta+T) d / ((zeta-1) m), where d is `embedding`, m0
    `heads`, d0 and d1 the `key` and `value` widths of a head (default d), T `longest`, the tokens of the longest
    document. Infinite for a vocabulary of one.
    """
    _require(width=(width, 1))
    count = decoder_parameters(
        vocabulary, width, embedding=embedding, longest=longest, heads=heads, key=key, value=value
    )
    return capacity_upper(count, vocabulary) / decoder_capacity_lower(width)


def decoder_parameters(
    vocabulary: int,
    width: int,
    *,
    embedding: int,
    longest: int,
    heads: int = 1,
    key: int | None = None,
    value: int | None = None,
) -> int:
    """Parameters of the decoder of equation (4): zeta m + m (d+1) + 2 m0 (d0+d1) d + (zeta+T) d.

    Free positions, no output bias, no skip connection; letters as in `upper_to_lower`. The logits of the empty
    context would be zeta - 1 more.
    """
    key, value = embedding if key is None else key, embedding if value is None else value
    _require(
        vocabulary=(vocabulary, 1),
        width=(width, 0),
        embedding=(embedding, 1),
        longest=(longest, 1),
        heads=(heads, 1),
        key=(key, 1),
        value=(value, 1),
    )
    attention = 2 * heads * (key + value) * embedding
    return vocabulary * width + width * (embedding + 1) + attention + (vocabulary + longest) * embedding


def averaging_parameters(vocabulary: int, width: int, *, embedding: int, longest: int) -> int:
    """Parameters of the token-averaged network of Theorem 23: zeta m + m (d+1) + zeta d + T.

    T weights u of the positions, an embedding (d, zeta), no output bias.
    """
    _require(vocabulary=(vocabulary, 1), width=(width, 0), embedding=(embedding, 1), longest=(longest, 1))
    return vocabulary * width + width * (embedding + 1) + vocabulary * embedding + longest


def experiment_parameters(vocabulary: int, width: int, *, embedding: int = 16) -> int:
    """Parameters of the decoder of the paper's experiment (section 7): zeta m + 17 (zeta + m) + 1088 for d = 16.

    Sinusoidal positions; query, key, value and output layers and both layers of the feed-forward part with bias.
    """
    _require(vocabulary=(vocabulary, 1), width=(width, 0), embedding=(embedding, 1))
    attention = 4 * embedding * (embedding + 1)
    return (
        vocabulary * embedding
        + attention
        + experiment_output_parameters(vocabulary, width, embedding=embedding)
    )


def experiment_output_parameters(vocabulary: int, width: int, *, embedding: int = 16) -> int:
    """Parameters of the feed-forward part of that decoder alone: zeta m + zeta + 17 m for d = 16."""
    _require(vocabulary=(vocabulary, 1), width=(width, 0), embedding=(embedding, 1))
    return vocabulary * width + vocabulary + (embedding + 1) * width


def trained_parameters(
    vocabulary: int,
    width: int,
    *,
    trained: Literal["all", "feed_forward", "output"],
    embedding: int = 16,
) -> int:
    """Parameters of the experiment's decoder that are trained: all, the feed-forward part's, the last layer's."""
    if trained == "all":
        return experiment_parameters(vocabulary, width, embedding=embedding)
    if trained == "feed_forward":
        return experiment_output_parameters(vocabulary, width, embedding=embedding)
    _require(vocabulary=(vocabulary, 1), width=(width, 0))
    return vocabulary * width + vocabulary


def trainable_count(module: nn.Module) -> int:
    """k of any module: its real numbers that are trained; what is shared counts once, a complex number twice.

    Raises ModelError for a module whose parameters have no shape yet.
    """
    from torch.nn.parameter import is_lazy

    count = 0
    for name, parameter in module.named_parameters():
        if is_lazy(parameter):
            raise ModelError(f"parameter {name!r} has no shape yet; run the module once on an input")
        if parameter.requires_grad:
            count += parameter.numel() * (2 if parameter.is_complex() else 1)
    return count


def fewest_parameters(contexts: int, vocabulary: int) -> int:
    """The least k for which Theorem 13 leaves room for `contexts` contexts: with fewer, every architecture has a
    corpus of so many that is out of its reach.

    Inverse of `empirical_capacity_upper`, ceil((n - 2) (zeta - 1)^2 / (2 zeta - 1)), in exact arithmetic.
    """
    _require(contexts=(contexts, 0), vocabulary=(vocabulary, 1))
    return max(0, -(-(contexts - 2) * (vocabulary - 1) ** 2 // (2 * vocabulary - 1)))


def fewest_parameters_any_distribution(contexts: int, vocabulary: int) -> int:
    """The least k for which Lemma 9 leaves room for any distributions on `contexts` contexts: n (zeta - 1)."""
    _require(contexts=(contexts, 0), vocabulary=(vocabulary, 1))
    return contexts * (vocabulary - 1)


def _theorem_13(parameters: int, vocabulary: int) -> float:
    _require(parameters=(parameters, 0), vocabulary=(vocabulary, 1))
    if vocabulary == 1:
        return math.inf
    return (2 + 1 / (vocabulary - 1)) * parameters / (vocabulary - 1)


def _require(**given: tuple[int, int]) -> None:
    for name, (value, least) in given.items():
        if value < least:
            raise ConfigError(f"{name} is {value}; it is a whole number, at least {least}")
