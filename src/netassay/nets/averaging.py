"""The token-averaged feed-forward network of Madden, Fox, Thrampoulidis (2024)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from netassay.nets.decoder import require_length, require_sizes
from netassay.nets.feed_forward import embedding as embedding_layer
from netassay.nets.feed_forward import feed_forward
from netassay.nets.mlp import initialise


class AveragingNetwork(nn.Module):
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
        require_sizes(vocabulary=vocabulary, width=width, embedding=embedding, longest=longest)
        super().__init__()
        self.longest = longest
        self._sizes: dict[str, int | str] = {
            "vocabulary": vocabulary,
            "width": width,
            "embedding": embedding,
            "longest": longest,
            "activation": activation,
        }
        self.embedding = embedding_layer(vocabulary, embedding, dtype=dtype, generator=generator)
        self.weights = nn.Parameter(torch.empty(longest, dtype=dtype).normal_(generator=generator))
        self.feed_forward = feed_forward(
            embedding, width, vocabulary, activation=activation, output_bias=False, dtype=dtype
        )
        initialise(self, "pytorch", generator)

    def sizes(self) -> dict[str, int | str]:
        """The arguments, generator and dtype aside, that make a model of the same shape."""
        return dict(self._sizes)

    def features(self, tokens: Int64[Tensor, "B T"]) -> Float[Tensor, "B T d"]:
        """Z[:, alpha] u[1:|alpha|] of the context alpha = tokens[:, : t + 1], at every position t."""
        require_length(tokens, self.longest)
        weighted = self.embedding(tokens) * self.weights[: tokens.shape[1], None]
        return weighted.cumsum(1)

    def read_out(self, features: Float[Tensor, "*n d"]) -> Float[Tensor, "*n zeta"]:
        """Logits V' psi(W' x + b) of any features."""
        return self.feed_forward(features)

    def forward(self, tokens: Int64[Tensor, "B T"]) -> Float[Tensor, "B T zeta"]:
        """Logits of the next token at every position; those at t depend only on tokens[:, : t + 1]."""
        return self.read_out(self.features(tokens))
