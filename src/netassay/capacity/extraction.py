"""Sequences of a corpus that a model gives back from their first tokens: by greedy decoding, and by sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float64, Int64

from netassay.corpus.feed import Feed
from netassay.errors import ConfigError


@dataclass(frozen=True, eq=False)
class Extraction:
    """Which of a corpus's sequences a model gives back from `prefix` tokens: the `suffix` tokens after them.

    A sequence is the beginning of a row that the model is fed. Sampling is from the model's own distribution
    (temperature 1, no token left out); its probability is exact, the product of those of the suffix's tokens.

    Attributes:
        prefix: Number of tokens given, not counting a first token of the feed.
        suffix: Number of tokens asked for.
        rows: (n,) rows that are long enough.
        greedy: (n,) whether greedy decoding gives all of the suffix.
        log_probabilities: (n,) ln of the probability that one sample gives all of the suffix.

    Source:
        Carlini et al. (2021, 2023) for greedy decoding; Hayes et al. (2025) for sampling.

    Example:
        >>> import torch, netassay
        >>> result = netassay.capacity.memorisation(torch.nn.Embedding(3, 3), [[0, 1, 2]], prefix=1, suffix=2)
        >>> len(result.extraction.rows)
        1
    """

    prefix: int
    suffix: int
    rows: Int64[np.ndarray, " n"] = field(repr=False)
    greedy: Bool[np.ndarray, " n"] = field(repr=False)
    log_probabilities: Float64[np.ndarray, " n"] = field(repr=False)

    @classmethod
    def of(
        cls,
        feed: Feed,
        nats: Float64[np.ndarray, " P"],
        right: Bool[np.ndarray, " P"],
        *,
        prefix: int,
        suffix: int,
    ) -> Extraction:
        """The extraction from losses and greedy answers of every prediction; ConfigError for sizes below 1."""
        if prefix < 1 or suffix < 1:
            raise ConfigError(f"prefix is {prefix}, suffix {suffix}; they count tokens: 1 or more")
        position = prefix + (feed.first is not None)
        rows = np.flatnonzero((feed.skips <= position) & (feed.lengths >= position + suffix))
        first = feed.edges[:-1][rows] + position - feed.skips[rows]
        # a suffix longer than any row is asked of no row, and no table of its length is made
        places = first[:, None] + np.arange(suffix if len(rows) else 0)
        return cls(prefix, suffix, rows, right[places].all(1), -nats[places].sum(1))

    @property
    def sequences(self) -> int:
        """Sequences that are long enough to be asked for."""
        return len(self.rows)

    @property
    def share_greedy(self) -> float:
        """Share of the sequences that greedy decoding gives; nan without any."""
        return float(self.greedy.mean()) if self.sequences else math.nan

    def probabilities(self, tries: int) -> Float64[np.ndarray, " n"]:
        """(n,) probability that at least one of `tries` samples is the suffix, 1 - (1 - q)^tries."""
        if tries < 1:
            raise ConfigError(f"tries is {tries}; it counts samples: 1 or more")
        q = np.minimum(np.exp(self.log_probabilities), 1.0)
        with np.errstate(divide="ignore"):
            return -np.expm1(tries * np.log1p(-q))

    def share_extractable(self, tries: int, probability: float) -> float:
        """Share of the sequences that are (n, p)-discoverable: given by one of n samples with probability p or more.

        nan without any sequence. ConfigError for a probability outside 0 to 1, ends excluded.
        """
        if not 0 < probability < 1:
            raise ConfigError(f"probability is {probability}; it lies between 0 and 1, ends excluded")
        reached = self.probabilities(tries) >= probability
        return float(reached.mean()) if self.sequences else math.nan

    def likeliest(self, count: int) -> list[int]:
        """Indices in `rows` of the sequences most likely to be given, most likely first."""
        return np.argsort(-self.log_probabilities, kind="stable")[:count].tolist()
