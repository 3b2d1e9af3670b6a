"""How many unique contexts a next-token predictor can hold: the bounds of Madden, Fox, Thrampoulidis (2024).

Letters of the paper: k parameters, zeta tokens in the vocabulary, m neurons in the hidden layer, n contexts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from netassay.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from torch import nn


def capacity_upper(parameters: int, vocabulary: int) -> float:
    """Lemma 9: the capacity is at most k / (zeta - 1) contexts, for any model that is continuously differentiable in k.

    Capacity: the largest n such that any n contexts can be given any distributions inside the simplex exactly.

    Args:
        parameters: k (0 or more).
        vocabulary: zeta (1 or more).

    Returns:
        The bound; infinite for a vocabulary of one token, where there is nothing to fit.

    Raises:
        ConfigError: For numbers out of range.

    Source:
        Madden, Fox, Thrampoulidis (2024), Lemma 9.

    Example:
        >>> import netassay
        >>> netassay.capacity_upper(1000, 11)
        100.0
    """
    _require(parameters=(parameters, 0), vocabulary=(vocabulary, 1))
    return parameters / (vocabulary - 1) if vocabulary > 1 else math.inf


def empirical_capacity_upper(parameters: int, vocabulary: int) -> float:
    """Theorem 13: the empirical capacity is at most (2 + 1/(zeta - 1)) k / (zeta - 1) + 2 contexts.

    Empirical capacity: the largest n such that on every corpus of at most n unique contexts the loss comes arbitrarily
    close to the entropy bound. So for every architecture with k parameters there is a corpus with more contexts that
    no setting of them fits; which one depends on the architecture. Holds for models that are continuously
    differentiable and definable with restricted analytic functions and exp (tanh, arctan, erf, GELU) in their k
    parameters; being differentiable is not enough.

    Args:
        parameters: k (0 or more).
        vocabulary: zeta (1 or more).

    Returns:
        The bound; infinite for a vocabulary of one token.

    Raises:
        ConfigError: For numbers out of range.

    Source:
        Madden, Fox, Thrampoulidis (2024), Theorem 13.

    Example:
        >>> import netassay
        >>> netassay.empirical_capacity_upper(1000, 11)
        212.0
    """
    return _theorem_13(parameters, vocabulary) + 2


def empirical_capacity_upper_tight(parameters: int, vocabulary: int) -> float:
    """Theorem 13 with + 1 instead of + 2, as Table 1 of the paper prints it.

    It holds too: the corpus by which the proof refutes a larger capacity has at most as many contexts as the theorem's
    bound, + 2, so one fewer is already out of reach.

    Args:
        parameters: k (0 or more).
        vocabulary: zeta (1 or more).

    Returns:
        The bound; infinite for a vocabulary of one token.

    Raises:
        ConfigError: For numbers out of range.

    Source:
        Madden, Fox, Thrampoulidis (2024), Theorem 13 and Table 1.

    Example:
        >>> import netassay
        >>> netassay.empirical_capacity_upper_tight(1000, 11)
        211.0
    """
    return _theorem_13(parameters, vocabulary) + 1


def empirical_capacity_lower(capacity: float) -> float:
    """Lemma 12: the empirical capacity is at least the capacity, for any model.

    Args:
        capacity: The capacity, or a lower bound of it.

    Returns:
        The bound.

    Source:
        Madden, Fox, Thrampoulidis (2024), Lemma 12.

    Example:
        >>> import netassay
        >>> netassay.empirical_capacity_lower(100.0)
        100.0
    """
    return capacity


def decoder_capacity_lower(width: int) -> int:
    """Theorem 21: a one-layer multi-head decoder with m neurons can memorise any m contexts.

    The activation is real analytic at some point and not a polynomial there (GELU, tanh; not ReLU).

    Args:
        width: m (1 or more).

    Returns:
        The bound.

    Raises:
        ConfigError: For a width out of range.

    Source:
        Madden, Fox, Thrampoulidis (2024), Theorem 21.

    Example:
        >>> import netassay
        >>> netassay.decoder_capacity_lower(32)
        32
    """
    _require(width=(width, 0))
    return width


def averaging_capacity_lower(width: int) -> int:
    """Theorem 23: a token-averaged feed-forward network with m neurons can memorise any m contexts.

    The activation is as in Theorem 21.

    Args:
        width: m (1 or more).

    Returns:
        The bound.

    Raises:
        ConfigError: For a width out of range.

    Source:
        Madden, Fox, Thrampoulidis (2024), Theorem 23.

    Example:
        >>> import netassay
        >>> netassay.averaging_capacity_lower(32)
        32
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

    1 + (d+2)/(zeta-1) + 2 m0 (d0+d1) d / ((zeta-1) m) + (zeta+T) d / ((zeta-1) m).

    Args:
        vocabulary: zeta (1 or more).
        width: m (1 or more).
        embedding: d (1 or more).
        longest: T, tokens of the longest document (1 or more).
        heads: m0 (1 or more).
        key: d0, width of the keys of a head; by default d.
        value: d1, width of the values of a head; by default d.

    Returns:
        The ratio; infinite for a vocabulary of one token.

    Raises:
        ConfigError: For sizes out of range.

    Source:
        Madden, Fox, Thrampoulidis (2024), equation 5.

    Example:
        >>> import netassay
        >>> netassay.upper_to_lower(1001, 100, embedding=16, longest=10) > 1
        True
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

    Free positions, no output bias, no skip connection. The logits of the empty context would be zeta - 1 more.

    Args:
        vocabulary: zeta (1 or more).
        width: m (1 or more).
        embedding: d (1 or more).
        longest: T, tokens of the longest document (1 or more).
        heads: m0 (1 or more).
        key: d0, width of the keys of a head; by default d.
        value: d1, width of the values of a head; by default d.

    Returns:
        The number of parameters.

    Raises:
        ConfigError: For sizes out of range.

    Source:
        Madden, Fox, Thrampoulidis (2024), equation 4.

    Example:
        >>> import netassay
        >>> netassay.decoder_parameters(5, 3, embedding=2, longest=4)
        58
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

    T weights of the positions, an embedding (d, zeta), no output bias.

    Args:
        vocabulary: zeta (1 or more).
        width: m (1 or more).
        embedding: d (1 or more).
        longest: T, tokens of the longest document (1 or more).

    Returns:
        The number of parameters.

    Raises:
        ConfigError: For sizes out of range.

    Source:
        Madden, Fox, Thrampoulidis (2024), Theorem 23.

    Example:
        >>> import netassay
        >>> netassay.averaging_parameters(5, 3, embedding=2, longest=4)
        38
    """
    _require(vocabulary=(vocabulary, 1), width=(width, 0), embedding=(embedding, 1), longest=(longest, 1))
    return vocabulary * width + width * (embedding + 1) + vocabulary * embedding + longest


def experiment_parameters(vocabulary: int, width: int, *, embedding: int = 16) -> int:
    """Parameters of the decoder of the paper's experiment: zeta m + 17 (zeta + m) + 1088 for d = 16.

    Sinusoidal positions; query, key, value and output layers and both layers of the feed-forward part with bias.

    Args:
        vocabulary: zeta (1 or more).
        width: m (1 or more).
        embedding: d (1 or more).

    Returns:
        The number of parameters.

    Raises:
        ConfigError: For sizes out of range.

    Source:
        Madden, Fox, Thrampoulidis (2024), section 7.

    Example:
        >>> import netassay
        >>> netassay.experiment_parameters(690, 32)
        35442
    """
    _require(vocabulary=(vocabulary, 1), width=(width, 0), embedding=(embedding, 1))
    attention = 4 * embedding * (embedding + 1)
    return vocabulary * embedding + attention + experiment_output_parameters(vocabulary, width, embedding=embedding)


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
    """The number of trainable real numbers of a module: shared ones count once, complex ones twice.

    Args:
        module: Any module.

    Returns:
        k.

    Raises:
        ModelError: For a module whose parameters have no shape yet.

    Example:
        >>> import torch, netassay
        >>> netassay.trainable_count(torch.nn.Linear(3, 2))
        8
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
    """The smallest k for which Theorem 13 allows `contexts` contexts: with fewer, every architecture has a corpus of
    that many contexts that it cannot fit.

    Inverse of `empirical_capacity_upper`, ceil((n - 2) (zeta - 1)^2 / (2 zeta - 1)), in exact arithmetic.
    """
    _require(contexts=(contexts, 0), vocabulary=(vocabulary, 1))
    return max(0, -(-(contexts - 2) * (vocabulary - 1) ** 2 // (2 * vocabulary - 1)))


def fewest_parameters_any_distribution(contexts: int, vocabulary: int) -> int:
    """The smallest k for which Lemma 9 allows any distributions on `contexts` contexts: n (zeta - 1)."""
    _require(contexts=(contexts, 0), vocabulary=(vocabulary, 1))
    return contexts * (vocabulary - 1)


def _theorem_13(parameters: int, vocabulary: int) -> float:
    _require(parameters=(parameters, 0), vocabulary=(vocabulary, 1))
    if vocabulary == 1:
        return math.inf
    return (2 + 1 / (vocabulary - 1)) * parameters / (vocabulary - 1)


def _require(**sizes: tuple[int, int]) -> None:
    for name, (value, minimum) in sizes.items():
        if value < minimum:
            raise ConfigError(f"{name} is {value}; it is a whole number, at least {minimum}")
