"""How much of a corpus a trained model holds: its loss against the entropy bound on exactly the contexts it is fed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64
from torch import nn

from netassay.capacity.code_length import Bits, bits_saved, uniform_nats, unigram_nats
from netassay.capacity.extraction import Extraction
from netassay.capacity.likelihood import Evaluation, likelihoods
from netassay.corpus.feed import Feed
from netassay.corpus.occurrence import Occurrences, occurrences
from netassay.corpus.target import require_above_bound
from netassay.errors import ConfigError
from netassay.formats.documents import Documents

LISTED = 20
RESAMPLES = 1_000
TEXT = 64


@dataclass(frozen=True)
class Group:
    """Predictions of similar contexts: of one length, or with a similar number of occurrences or continuations.

    Attributes:
        low: Smallest length or number in the group.
        high: Largest, included.
        predictions: Predicted tokens.
        contexts: Distinct contexts.
        certain: Contexts with a single continuation.
        right: Contexts whose likeliest token under the model is a most frequent continuation.
        loss_nats: Summed loss.
        bound_nats: Entropy bound on these contexts.

    Example:
        >>> import torch, netassay
        >>> result = netassay.capacity.memorisation(torch.nn.Embedding(3, 3), [[0, 1, 2], [0, 1, 2]])
        >>> [(group.low, group.contexts) for group in result.by_length]
        [(1, 1), (2, 1)]
    """

    low: int
    high: int
    predictions: int
    contexts: int
    certain: int
    right: int
    loss_nats: float
    bound_nats: float

    @property
    def gap_nats(self) -> float:
        """Loss less bound."""
        return self.loss_nats - self.bound_nats

    @property
    def gap_bits(self) -> float:
        """Loss less bound, in bits."""
        return self.gap_nats / math.log(2)


@dataclass(frozen=True)
class Gap:
    """One context, and how far the model is from the distribution of its continuations.

    Attributes:
        context: Tokens of the context.
        occurrences: Predictions made from it.
        continuations: Distinct next tokens.
        next_token: The most frequent next token.
        next_count: How often it follows.
        probability: The model's probability of it.
        loss_nats: Summed loss on the context.
        bound_nats: Entropy bound on it.
        text: The last 64 tokens of the context as text; as numbers if words are not known.
        next_text: The next token as text.

    Example:
        >>> import torch, netassay
        >>> result = netassay.capacity.memorisation(torch.nn.Embedding(3, 3), [[0, 1, 2], [0, 1, 2]])
        >>> result.largest[0].occurrences
        2
    """

    context: tuple[int, ...]
    occurrences: int
    continuations: int
    next_token: int
    next_count: int
    probability: float
    loss_nats: float
    bound_nats: float
    text: str = ""
    next_text: str = ""

    @property
    def gap_nats(self) -> float:
        """Loss less bound."""
        return self.loss_nats - self.bound_nats


@dataclass(frozen=True, eq=False)
class Memorisation:
    """How far a model is from the entropy bound of a corpus, and how much of the corpus it holds.

    Loss and bound are summed over the same predictions, from the same contexts. Beyond about ten tokens nearly every
    context of a text occurs once: there the bound is nearly 0 and the gap nearly the loss, so read it by length.

    Attributes:
        parameters: Real numbers of the model, shared ones once.
        vocabulary: Tokens of the model.
        documents: Documents of the corpus.
        rows: Rows fed to the model.
        predictions: Predicted tokens.
        unpredicted: Tokens of the corpus that were not: cut off, or the first of a row.
        shortened: Documents cut to a length.
        loss_nats: Summed loss of the model.
        bound_nats: Least summed loss of any predictor on these contexts.
        contexts: Distinct contexts.
        certain: Contexts with a single continuation.
        right: Contexts whose likeliest token under the model is a most frequent continuation.
        by_length: A group for each length of context; they add up to the total, like those of the other two.
        by_occurrences: Groups by number of occurrences of the context: 1, 2 to 3, 4 to 7, ...
        by_continuations: Groups by number of distinct next tokens, likewise.
        largest: The contexts with the largest gaps.
        bits: Bits held, against each reference.
        extraction: Sequences that the model gives back.
        feed: What the model was fed.
        skipped: Documents that reading left out, by reason.

    Source:
        Madden, Fox, Thrampoulidis (2024) for the bound; Morris et al. (2025) for the bits.

    Example:
        >>> import torch, netassay
        >>> result = netassay.capacity.memorisation(torch.nn.Embedding(3, 3), [[0, 1, 2], [0, 2, 1]])
        >>> result.predictions, round(result.bound_nats, 3)
        (4, 1.386)
    """

    parameters: int
    vocabulary: int
    documents: int
    rows: int
    predictions: int
    unpredicted: int
    shortened: int
    loss_nats: float
    bound_nats: float
    contexts: int
    certain: int
    right: int
    by_length: tuple[Group, ...] = field(repr=False)
    by_occurrences: tuple[Group, ...] = field(repr=False)
    by_continuations: tuple[Group, ...] = field(repr=False)
    largest: tuple[Gap, ...] = field(repr=False)
    bits: tuple[Bits, ...]
    extraction: Extraction
    feed: Feed = field(repr=False)
    skipped: Mapping[str, int] = field(default_factory=dict)

    def plot(self) -> Any:
        """Loss and bound by length of context, as an Altair chart."""
        return import_module("netassay.plotting").plot(self)

    @property
    def gap_nats(self) -> float:
        """Loss less bound: what the model could still learn about these contexts."""
        return self.loss_nats - self.bound_nats

    @property
    def gap_bits(self) -> float:
        """Loss less bound, in bits."""
        return self.gap_nats / math.log(2)

    @property
    def loss_bits_per_token(self) -> float:
        """Mean loss of a predicted token, in bits."""
        return self.loss_nats / self.predictions / math.log(2)

    @property
    def bound_bits_per_token(self) -> float:
        """Mean bound of a predicted token, in bits."""
        return self.bound_nats / self.predictions / math.log(2)

    @property
    def share_right(self) -> float:
        """Share of the contexts whose likeliest token under the model is a most frequent continuation."""
        return self.right / self.contexts

    @property
    def share_certain(self) -> float:
        """Share of the contexts with a single continuation."""
        return self.certain / self.contexts


def memorisation(
    model: nn.Module,
    corpus: Documents | Iterable[Sequence[int]],
    *,
    reference: nn.Module | None = None,
    length: int | None = None,
    blocks: int | None = None,
    stride: int | None = None,
    first: int | None = None,
    prefix: int = 50,
    suffix: int = 50,
    listed: int = LISTED,
    resamples: int = RESAMPLES,
    seed: int = 0,
    tokens_at_once: int | None = None,
    watch: Callable[[int, int], None] = lambda count, of: None,
) -> Memorisation:
    """How far a causal model is from the entropy bound of a corpus, and how many bits of the corpus it holds.

    `netassay.memorisation` does the same for checkpoints and files. The model is evaluated in evaluation mode on its
    device, and left as it was. A loss is taken in the arithmetic of the logits, float32 at least, and sums are in
    float64. Memory is about 150 bytes a predicted token, besides the model.

    Args:
        model: model(tokens), tokens (B, T) int64, returns logits (B, T, vocabulary), as a tensor, first in a tuple, or
            as `.logits` of an object.
        corpus: Documents as sequences of the model's token ids.
        reference: A second model, of the same vocabulary, to count bits against, preferably trained on other data.
        length: Cut every document to its first tokens (2 or more).
        blocks: Pack documents into rows of this many tokens of context; by default a row is a document.
        stride: Tokens from one block to the next; by default they do not overlap.
        first: Token prepended to every row.
        prefix: Number of tokens that prompt the extraction of a sequence.
        suffix: Number of tokens to be extracted.
        listed: Number of contexts to list.
        resamples: Draws of the bootstrap over documents; 0: no interval.
        seed: Seed of the bootstrap.
        tokens_at_once: Maximum number of tokens of a batch; by default 16,384, or fewer for large vocabularies.
        watch: Called with the number of predictions done and their total.

    Returns:
        The numbers.

    Raises:
        ConfigError: For sizes out of range.
        DataError: For tokens beyond the model's vocabulary, documents longer than its positions, and where there is
            nothing to predict.
        ModelError: For a model that looks ahead, is random, or whose loss is not a number.

    Source:
        Madden, Fox, Thrampoulidis (2024); Morris et al. (2025); Carlini et al. (2023); Hayes et al. (2025).

    Example:
        >>> import torch, netassay
        >>> result = netassay.capacity.memorisation(torch.nn.Embedding(3, 3), [[0, 1, 2], [0, 2, 1]])
        >>> result.gap_nats > 0
        True
    """
    feed = Feed.of(Documents.of(corpus), length=length, blocks=blocks, stride=stride, first=first)
    reference_evaluation = None
    if reference is not None:
        reference_evaluation = likelihoods(reference, feed, tokens_at_once=tokens_at_once)
    evaluation = likelihoods(model, feed, tokens_at_once=tokens_at_once, watch=watch)
    return judge(
        model,
        evaluation,
        feed,
        reference=reference_evaluation,
        prefix=prefix,
        suffix=suffix,
        listed=listed,
        resamples=resamples,
        seed=seed,
    )


def judge(
    model: nn.Module,
    evaluation: Evaluation,
    feed: Feed,
    *,
    reference: Evaluation | None = None,
    prefix: int = 50,
    suffix: int = 50,
    listed: int = LISTED,
    resamples: int = RESAMPLES,
    seed: int = 0,
    skipped: Mapping[str, int] | None = None,
) -> Memorisation:
    """The memorisation shown by complete evaluations of a feed."""
    if listed < 0 or resamples < 0:
        raise ConfigError(f"listed is {listed}, resamples {resamples}; they are 0 or more")
    nats, right = evaluation.nats, evaluation.right
    table = occurrences(feed)
    view = _View(nats, table.nats(), table, right)
    total = view.groups(np.zeros(len(nats), np.int64))[0]
    if evaluation.rounding is not None:
        require_above_bound(total.loss_nats + evaluation.rounding * len(nats), total.bound_nats)
    extraction = Extraction.of(feed, nats, right, prefix=prefix, suffix=suffix)
    lengths = feed.context_lengths()
    parameters = sum(p.numel() * (2 if p.is_complex() else 1) for p in model.parameters())
    targets, documents = feed.targets(), feed.documents_of()
    rows = np.repeat(np.arange(len(feed)), np.diff(feed.edges))
    references = {
        "uniform": uniform_nats(len(nats), evaluation.vocabulary),
        "unigram": unigram_nats(targets),
        **({} if reference is None else {"model": reference.nats}),
    }
    return Memorisation(
        parameters=parameters,
        vocabulary=evaluation.vocabulary,
        documents=feed.documents,
        rows=len(feed),
        predictions=len(nats),
        unpredicted=feed.unpredicted,
        shortened=feed.shortened,
        loss_nats=total.loss_nats,
        bound_nats=total.bound_nats,
        contexts=total.contexts,
        certain=total.certain,
        right=total.right,
        by_length=view.groups(lengths),
        by_occurrences=view.groups(table.totals, doubling=True),
        by_continuations=view.groups(table.supports, doubling=True),
        largest=view.largest(listed, feed),
        bits=tuple(
            bits_saved(name, nats_of, nats, documents, rows, parameters=parameters, resamples=resamples, seed=seed)
            for name, nats_of in references.items()
        ),
        extraction=extraction,
        feed=feed,
        skipped=dict(skipped or {}),
    )


@dataclass(frozen=True, eq=False)
class _View:
    """Losses and bounds of all predictions, summed in groups."""

    nats: Float64[np.ndarray, " P"]
    bounds: Float64[np.ndarray, " P"]
    occurrences: Occurrences
    right: Bool[np.ndarray, " P"]

    def groups(self, values: Int64[np.ndarray, " P"], *, doubling: bool = False) -> tuple[Group, ...]:
        """A group for each value, or for each doubling of it; values are alike for all occurrences of a context."""
        keys = np.frexp(values)[1].astype(np.int64) if doubling else values
        present, where = np.unique(keys, return_inverse=True)
        heads = self._heads()
        correct = np.zeros(len(keys), bool)
        correct[self.occurrences.contexts[self.right & self.occurrences.likeliest]] = True

        def count(of: Bool[np.ndarray, " P"]) -> list[int]:
            return np.bincount(where[of], minlength=len(present)).tolist()

        # terms of a group are of similar size; bincount adds in order, in float64
        loss = np.bincount(where, weights=self.nats).tolist()
        bound = np.bincount(where, weights=self.bounds).tolist()
        rows = zip(
            present.tolist(),
            np.bincount(where).tolist(),
            count(heads),
            count(heads & (self.occurrences.supports == 1)),
            count(heads & correct),
            loss,
            bound,
            strict=True,
        )
        return tuple(
            Group(*((1 << (key - 1), (1 << key) - 1) if doubling else (key, key)), *numbers) for key, *numbers in rows
        )

    def largest(self, count: int, feed: Feed) -> tuple[Gap, ...]:
        """The contexts with the largest gaps."""
        size = len(self.nats)
        contexts = self.occurrences.contexts
        gaps = np.bincount(contexts, weights=self.nats - self.bounds, minlength=size)
        gaps[~self._heads()] = -np.inf
        heads = np.argsort(-gaps, kind="stable")[: min(count, int(self._heads().sum()))]
        order = np.argsort(contexts, kind="stable")
        begin = np.searchsorted(contexts[order], heads)
        targets = feed.targets()
        return tuple(
            self._gap(order[first : first + self.occurrences.totals[head]], feed, targets)
            for head, first in zip(heads.tolist(), begin.tolist(), strict=True)
        )

    def _gap(self, places: Int64[np.ndarray, " p"], feed: Feed, targets: np.ndarray) -> Gap:
        likeliest = places[self.occurrences.likeliest[places]][0]
        token = int(targets[likeliest])
        context = tuple(feed.context(int(places[0])).tolist())
        return Gap(
            context,
            len(places),
            int(self.occurrences.supports[likeliest]),
            token,
            int(self.occurrences.counts[likeliest]),
            math.exp(-self.nats[likeliest]),
            float(self.nats[places].sum()),
            float(self.bounds[places].sum()),
            feed.text(context[-TEXT:]),
            feed.text([token]),
        )

    def _heads(self) -> Bool[np.ndarray, " P"]:
        """Which predictions are the first of their context."""
        return self.occurrences.contexts == np.arange(len(self.occurrences.contexts))
