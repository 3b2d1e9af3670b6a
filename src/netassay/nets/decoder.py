"""One-layer networks of Madden, Fox, Thrampoulidis (2024): two decoders, and the token-averaged network.

The two decoders differ on purpose and are never mixed: the theory's has free positions, several heads, no skip, no bias
outside the hidden layer and no scaling of the scores; the experiment's has one head, sinusoidal positions,
biases and scores over sqrt(d).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from functools import lru_cache

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from netassay.errors import ConfigError, DataError
from netassay.nets.mlp import ACTIVATIONS, initialise, linear
from netassay.nets.unset import unset


def feed_forward(
    features: int, width: int, vocabulary: int, *, activation: str, output_bias: bool, dtype: torch.dtype
) -> nn.Sequential:
    """`hidden` (linear, with bias), the activation, `output` (linear); its weights are not drawn yet."""
    return nn.Sequential(
        OrderedDict(
            hidden=linear(features, width, bias=True, dtype=dtype),
            activation=ACTIVATIONS[activation](),
            output=linear(width, vocabulary, bias=output_bias, dtype=dtype),
        )
    )


def embedding_layer(tokens: int, size: int, *, dtype: torch.dtype, generator: torch.Generator) -> nn.Embedding:
    """Vectors of tokens or positions, standard normal as PyTorch draws them."""
    layer = unset(nn.Embedding, tokens, size, dtype=dtype)
    nn.init.normal_(layer.weight, generator=generator)
    return layer


class OneLayer(nn.Module):
    """Features of each context, and the feed-forward part that makes logits of them."""

    feed_forward: nn.Sequential
    _sizes: dict[str, int | str]

    def sizes(self) -> dict[str, int | str]:
        """The arguments, generator and dtype aside, that make a model of the same shape."""
        return dict(self._sizes)

    def features(self, tokens: Int64[Tensor, "B T"]) -> Float[Tensor, "B T d"]:
        """Features of the context tokens[:, : t + 1], at every position t."""
        raise NotImplementedError

    def read_out(self, features: Float[Tensor, "*n d"]) -> Float[Tensor, "*n zeta"]:
        """Logits of any features."""
        return self.feed_forward(features)

    def forward(self, tokens: Int64[Tensor, "B T"]) -> Float[Tensor, "B T zeta"]:
        """Logits of the next token at every position; those at t depend only on tokens[:, : t + 1]."""
        return self.read_out(self.features(tokens))


class Decoder(OneLayer):
    """The one-layer multi-head decoder of equation (4), whose capacity is at least its `width` (Theorem 21).

    X = Z[:, alpha] + U[:, 1:|alpha|] (d, |alpha|); x = W0' vec_r(W3_r' X softmax(X' W1_r W2_r' X[:, -1]));
    logits V' psi(W' x + b). Letters: d `embedding`, |alpha| at most `longest` tokens, r = 1..`heads`, W1_r and
    W2_r (d, `key`), W3_r (d, `value`), both d unless given, W (d, `width`). `netassay.decoder_parameters` is its number
    of parameters.

    Weights are drawn only from `generator`: embeddings and positions standard normal, linear maps as in PyTorch.
    """

    def __init__(
        self,
        vocabulary: int,
        width: int,
        *,
        embedding: int,
        longest: int,
        heads: int = 1,
        key: int | None = None,
        value: int | None = None,
        activation: str = "gelu",
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        key, value = embedding if key is None else key, embedding if value is None else value
        sizes = {"vocabulary": vocabulary, "width": width, "embedding": embedding, "longest": longest}
        sizes |= {"heads": heads, "key": key, "value": value}
        require_sizes(**sizes)
        super().__init__()
        self.heads, self.longest = heads, longest
        self._sizes = {**sizes, "activation": activation}
        self.embedding = embedding_layer(vocabulary, embedding, dtype=dtype, generator=generator)
        self.positions = embedding_layer(longest, embedding, dtype=dtype, generator=generator)
        self.key = linear(embedding, heads * key, bias=False, dtype=dtype)  # W1
        self.query = linear(embedding, heads * key, bias=False, dtype=dtype)  # W2
        self.value = linear(embedding, heads * value, bias=False, dtype=dtype)  # W3
        self.attended = linear(heads * value, embedding, bias=False, dtype=dtype)  # W0
        self.feed_forward = feed_forward(
            embedding, width, vocabulary, activation=activation, output_bias=False, dtype=dtype
        )
        initialise(self, "pytorch", generator)

    def features(self, tokens: Int64[Tensor, "B T"]) -> Float[Tensor, "B T d"]:
        """x of equation (4) at every position t, for the context tokens[:, : t + 1]."""
        require_length(tokens, self.longest)
        x = self.embedding(tokens) + self.positions.weight[: tokens.shape[1]]  # (B, T, d)
        mixed = causal_attention(*(_by_head(layer(x), self.heads) for layer in (self.query, self.key, self.value)))
        return self.attended(mixed.transpose(1, 2).flatten(2))


class ExperimentDecoder(OneLayer):
    """The decoder of the paper's experiment (section 7): one head, biases, sinusoidal positions, no skip.

    Query, key, value and output are linear layers (d, d) with bias, scores are divided by sqrt(d), the
    feed-forward part is linear d -> `width`, activation, linear -> `vocabulary`, with biases; no dropout, norm or
    residual. `netassay.experiment_parameters` is its number of parameters. Weights are drawn only from `generator`, as
    PyTorch's layers draw theirs.
    """

    def __init__(
        self,
        vocabulary: int,
        width: int,
        *,
        embedding: int = 16,
        activation: str = "gelu",
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        sizes = {"vocabulary": vocabulary, "width": width, "embedding": embedding}
        require_sizes(**sizes)
        super().__init__()
        self._sizes = {**sizes, "activation": activation}
        self.embedding = embedding_layer(vocabulary, embedding, dtype=dtype, generator=generator)
        self.query = linear(embedding, embedding, bias=True, dtype=dtype)
        self.key = linear(embedding, embedding, bias=True, dtype=dtype)
        self.value = linear(embedding, embedding, bias=True, dtype=dtype)
        self.attended = linear(embedding, embedding, bias=True, dtype=dtype)
        self.feed_forward = feed_forward(
            embedding, width, vocabulary, activation=activation, output_bias=True, dtype=dtype
        )
        initialise(self, "pytorch", generator)

    def features(self, tokens: Int64[Tensor, "B T"]) -> Float[Tensor, "B T d"]:
        """The attention's output for the context tokens[:, : t + 1], at every position t."""
        x = self.embedding(tokens)  # (B, T, d)
        x = x + sinusoids(x.shape[1], x.shape[2], like=x)
        query = self.query(x) / math.sqrt(x.shape[2])
        return self.attended(causal_attention(query, self.key(x), self.value(x)))


def causal_attention(
    query: Float[Tensor, "*B T k"], key: Float[Tensor, "*B T k"], value: Float[Tensor, "*B T v"]
) -> Float[Tensor, "*B T v"]:
    """Values averaged by softmax(key' query), each position over itself and those before it.

    Plain operations, not the fused kernel, so that derivatives of every order and both directions exist.
    """
    steps = query.shape[-2]
    later = torch.ones(steps, steps, dtype=torch.bool, device=query.device).triu(1)
    scores = (query @ key.mT).masked_fill(later, -math.inf)  # (*B, T, T)
    return scores.softmax(-1) @ value


def sinusoids(length: int, size: int, *, like: Tensor) -> Float[Tensor, "length size"]:
    """Positions of Vaswani et al. (2017): sin and cos of t / 10000^(2i/d) in turn, t from 0."""
    return _sinusoids(length, size, like.dtype, like.device)


@lru_cache(maxsize=16)
def _sinusoids(length: int, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    pairs = torch.arange((size + 1) // 2, dtype=torch.float64, device=device)
    angles = torch.outer(torch.arange(length, dtype=torch.float64, device=device), 10_000.0 ** (-2 * pairs / size))
    table = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
    return table[:, :size].to(dtype)


def require_sizes(**sizes: int) -> None:
    """Raises ConfigError for a size below 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ConfigError(f"{name} is {size}; it is a whole number, at least 1")


def require_length(tokens: Tensor, longest: int) -> None:
    """Raises DataError for more tokens than a model with free positions has positions for."""
    if tokens.shape[1] > longest:
        raise DataError(
            f"the documents have {tokens.shape[1]} tokens and the model has positions for {longest}; "
            f"cut the documents, or make the model with longest={tokens.shape[1]}"
        )


def _by_head(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)  # (B, heads, T, width of a head)


class AveragingNetwork(OneLayer):
    """The network of Theorem 23, whose capacity is at least its `width`: V' psi(W' Z[:, alpha] u[1:|alpha|] + b).

    Letters: Z (d, zeta) the `embedding` of size d, u (T,) the `weights` of the positions, T being `longest`, W (d,
    `width`), b, V (`width`, zeta). `netassay.averaging_parameters` is its number of parameters. Weights are
    drawn only from `generator`: Z and u standard normal, linear maps as in PyTorch.
    """

    def __init__(
        self,
        vocabulary: int,
        width: int,
        *,
        embedding: int,
        longest: int,
        activation: str = "gelu",
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        sizes = {"vocabulary": vocabulary, "width": width, "embedding": embedding, "longest": longest}
        require_sizes(**sizes)
        super().__init__()
        self.longest = longest
        self._sizes = {**sizes, "activation": activation}
        self.embedding = embedding_layer(vocabulary, embedding, dtype=dtype, generator=generator)
        self.weights = nn.Parameter(torch.empty(longest, dtype=dtype).normal_(generator=generator))
        self.feed_forward = feed_forward(
            embedding, width, vocabulary, activation=activation, output_bias=False, dtype=dtype
        )
        initialise(self, "pytorch", generator)

    def features(self, tokens: Int64[Tensor, "B T"]) -> Float[Tensor, "B T d"]:
        """Z[:, alpha] u[1:|alpha|] of the context alpha = tokens[:, : t + 1], at every position t."""
        require_length(tokens, self.longest)
        weighted = self.embedding(tokens) * self.weights[: tokens.shape[1], None]
        return weighted.cumsum(1)
