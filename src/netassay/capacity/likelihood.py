"""A causal model's loss on each prediction of a feed, and whether its most likely token is right."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor, nn

from netassay.capacity.predictor import logits_of
from netassay.corpus.feed import Feed
from netassay.errors import DataError, ModelError, NetassayError

TOKENS_AT_ONCE = 1 << 14
LOGITS_AT_ONCE = 1 << 26
LOGITS_IN_CACHE = 1 << 19

_POSITIONS = ("max_position_embeddings", "n_positions", "block_size")
_ATTENTION = 1e-2
"""Part of the largest logit by which later tokens may move a logit: rounding, even of 16 bits."""
_ROUNDING = {torch.float64: 0.0, torch.float32: 1e-5}


class Evaluation:
    """Losses of a model on a feed, a batch of rows of like length at a time, the longest first.

    Every prediction's loss is taken in the arithmetic of the logits, in float32 at least, and sums are in float64.
    Rows are padded at the end, where a causal model does not look.

    Attributes:
        vocabulary: Number of the model's tokens.
        nats: (P,) -ln q of each predicted token; nan where its batch is not done.
        right: (P,) whether greedy decoding gives the token.
        batch: Number of the next batch.
        batches: Number of batches.
        rounding: How far rounding may move a loss, in nats; None where the logits have fewer than 32 bits.
    """

    def __init__(self, model: nn.Module, feed: Feed, *, tokens_at_once: int | None = None) -> None:
        """Finds out what the model accepts, and refuses a feed that goes beyond it."""
        self._model, self._feed = model, feed
        self._device = next((p.device for p in (*model.parameters(), *model.buffers())), torch.device("cpu"))
        with evaluating(model):
            logits = self._logits(torch.zeros(1, 1, dtype=torch.int64))
            self.vocabulary = logits.shape[-1]
            self.rounding = _ROUNDING.get(logits.dtype)
            self._require_ids()
            self._require_positions()
        if tokens_at_once is None:
            tokens_at_once = max(1, min(TOKENS_AT_ONCE, LOGITS_AT_ONCE // self.vocabulary))
        self._edges = feed.edges
        self._order = np.argsort(-feed.lengths, kind="stable")
        self._cuts = _cuts(feed.lengths[self._order] - 1, tokens_at_once)
        self.nats: Float64[np.ndarray, " P"] = np.full(feed.predictions, np.nan)
        self.right: Bool[np.ndarray, " P"] = np.zeros(feed.predictions, bool)
        self.batch, self.predicted = 0, 0

    @property
    def batches(self) -> int:
        return len(self._cuts) - 1

    @property
    def over(self) -> bool:
        """Whether all batches are done."""
        return self.batch >= self.batches

    def advance(self) -> float:
        """Does one batch; returns its mean loss in nats a token."""
        rows = self._order[self._cuts[self.batch] : self._cuts[self.batch + 1]]
        tokens, scored = self._rows(rows)
        with evaluating(self._model):
            logits = self._logits(tokens[:, :-1])
        losses, right = losses_of(logits, tokens[:, 1:].to(logits.device))
        nats = losses.cpu().numpy()[scored].astype(np.float64)
        if np.isnan(nats).any():
            raise ModelError(
                f"the model's loss is not a number on row {int(rows[0])} of the corpus or one read with it; replace "
                "logits of minus infinity by large negative ones, and check that its weights are finite"
            )
        places = self._places(rows)
        self.nats[places] = nats
        self.right[places] = right.cpu().numpy()[scored]
        self.batch += 1
        self.predicted += len(places)
        return float(nats.mean())

    def state(self) -> dict[str, Tensor]:
        """Tensors from which `load` continues exactly."""
        return {"nats": torch.from_numpy(self.nats), "right": torch.from_numpy(self.right)}

    def load(self, tensors: dict[str, Tensor], batch: int) -> None:
        """Restores what `state` gave before a batch."""
        self.nats, self.right = tensors["nats"].numpy().copy(), tensors["right"].numpy().copy()
        self.batch, self.predicted = batch, int((~np.isnan(self.nats)).sum())

    def _rows(self, rows: Int64[np.ndarray, " n"]) -> tuple[Tensor, Bool[np.ndarray, "n t"]]:
        """Rows padded with 0 at the end, and the positions of their contexts that are scored."""
        lengths = self._feed.lengths[rows]
        t = np.arange(int(lengths.max()))
        places = np.minimum(self._feed.starts[rows, None] + t, len(self._feed.tokens) - 1)
        tokens = np.where(t < lengths[:, None], self._feed.tokens[places].astype(np.int64), 0)
        after = t[1:]
        scored = (after >= self._feed.skips[rows, None]) & (after < lengths[:, None])
        return torch.from_numpy(tokens), scored

    def _places(self, rows: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " p"]:
        """Numbers of the predictions of some rows."""
        sizes = self._edges[rows + 1] - self._edges[rows]
        begin = np.cumsum(sizes) - sizes
        return np.arange(sizes.sum()) + np.repeat(self._edges[rows] - begin, sizes)

    def _logits(self, tokens: Tensor) -> Tensor:
        """Logits at every place of rows."""
        tokens = tokens.to(self._device)
        with torch.no_grad():
            logits = logits_of(self._model(tokens), tokens)
            if logits.shape[1] < tokens.shape[1] and _takes_targets(self._model):
                # nanoGPT gives logits of the last position alone unless it is given targets
                logits = logits_of(self._model(tokens, tokens), tokens)
        if logits.shape[1] < tokens.shape[1]:
            raise ModelError(
                "the model returns logits of the last position alone; give one that returns those of every position"
            )
        return logits

    def _require_ids(self) -> None:
        smallest, largest = int(self._feed.tokens.min()), int(self._feed.tokens.max())
        if smallest < 0:
            raise DataError(f"the corpus holds the token {smallest}; ids are whole numbers from 0 on")
        if largest < self.vocabulary:
            return
        ids, counts = np.unique(self._feed.tokens, return_counts=True)
        beyond = ids >= self.vocabulary
        examples = ", ".join(map(str, ids[beyond][:5].tolist())) + (" ..." if beyond.sum() > 5 else "")
        raise DataError(
            f"the model has {self.vocabulary:,} tokens, 0 to {self.vocabulary - 1:,}, and {int(beyond.sum()):,} of "
            f"the corpus's {len(ids):,} ids are beyond them ({examples}; {int(counts[beyond].sum()):,} tokens); "
            f"{self.vocabulary - int((~beyond).sum()):,} of the model's ids never occur: tokenize the corpus with the "
            "model's own tokenizer"
        )

    def _require_positions(self) -> None:
        """Refuses rows that are longer than the model reads, and a model that looks ahead."""
        longest = self._feed.longest
        config = getattr(self._model, "config", None)
        limit = next((v for name in _POSITIONS if isinstance(v := getattr(config, name, None), int)), None)
        row = self._feed.row(int(self._feed.lengths.argmax()))[:-1].astype(np.int64)
        tokens = torch.from_numpy(row)[None]
        advice = "cut documents with a length, or pack them into blocks"
        if limit is not None and 0 < limit < longest:
            raise DataError(
                f"the longest row has {longest:,} tokens of context and the model {limit:,} positions; {advice} of "
                f"{limit:,}"
            )
        try:
            logits = self._logits(tokens).double()
        except NetassayError:
            raise
        except Exception as cause:  # a model is anybody's code
            first = (str(cause).strip().splitlines() or [""])[0]
            raise DataError(
                f"the model does not read the longest row, of {longest:,} tokens of context ({type(cause).__name__}: "
                f"{first:.200}); {advice} that it takes"
            ) from cause
        if longest < 2:
            return
        part = self._logits(tokens[:, :-1]).double()
        finite = logits[:, :-1].isfinite() & part.isfinite()
        scale = float(logits[:, :-1][finite].abs().max()) if finite.any() else 1.0
        if float((logits[:, :-1] - part)[finite].abs().max()) > _ATTENTION * max(scale, 1e-30):
            raise ModelError(
                "the model's logits change with tokens that come later, or from one pass to the next; give a causal, "
                "deterministic model"
            )


def losses_of(
    logits: Float[Tensor, "n t v"], targets: Int64[Tensor, "n t"]
) -> tuple[Float[Tensor, "n t"], Bool[Tensor, "n t"]]:
    """Cross-entropy of each target in nats, and whether it is the likeliest token, the first of equals.

    A few rows at a time, so that they stay in the cache: twice as fast as the whole at once.
    """
    size = max(1, LOGITS_IN_CACHE // logits.shape[-1])
    losses, right = [], []
    for rows, tokens in zip(logits.flatten(0, 1).split(size), targets.flatten().split(size), strict=True):
        rows = rows if rows.dtype in (torch.float32, torch.float64) else rows.float()
        losses.append(nn.functional.cross_entropy(rows, tokens, reduction="none"))
        likeliest = rows.gather(1, tokens[:, None])[:, 0] == rows.amax(1)
        # argmax is slow, and needed only to tell which of several equals comes first
        candidates = likeliest.nonzero()[:, 0]
        likeliest[candidates] = rows[candidates].argmax(1) == tokens[candidates]
        right.append(likeliest)
    return torch.cat(losses).view(targets.shape), torch.cat(right).view(targets.shape)


def likelihoods(
    model: nn.Module,
    feed: Feed,
    *,
    tokens_at_once: int | None = None,
    watch: Callable[[int, int], None] = lambda count, of: None,
) -> Evaluation:
    """The losses of a model on a feed, all batches done; `watch` is called with predictions done and their total."""
    evaluation = Evaluation(model, feed, tokens_at_once=tokens_at_once)
    while not evaluation.over:
        evaluation.advance()
        watch(evaluation.predicted, feed.predictions)
    return evaluation


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Puts a model into evaluation mode without a cache of keys and values, and restores it afterwards."""
    modes = [(module, module.training) for module in model.modules() if module.training]
    config = getattr(model, "config", None)
    cache = getattr(config, "use_cache", None)
    for module, _ in modes:
        module.training = False
    if cache:
        config.use_cache = False  # type: ignore[union-attr]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        if cache:
            config.use_cache = cache  # type: ignore[union-attr]


def _takes_targets(model: Any) -> bool:
    return "targets" in inspect.signature(model.forward).parameters


def _cuts(lengths: Int64[np.ndarray, " N"], tokens_at_once: int) -> list[int]:
    """Where batches of rows begin; rows are padded to the longest of a batch, and lengths descend."""
    cuts = [0]
    while cuts[-1] < len(lengths):
        cuts.append(min(cuts[-1] + max(1, tokens_at_once // int(lengths[cuts[-1]])), len(lengths)))
    return cuts
