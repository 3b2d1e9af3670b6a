"""The corpus of a run as fed to its model, in the model's own tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import nn

from netassay.corpus.feed import Feed
from netassay.errors import ConfigError, DataError
from netassay.formats.corpus import WORDPUNCT, Reading, of_token_ids, read_corpus
from netassay.formats.documents import Documents, Words
from netassay.formats.tokenizers import encoder
from netassay.numerics import devices
from netassay.studies.memorisation.config import MemorisationConfig
from netassay.studies.memorisation.model import Loaded, model_of, untrained


@dataclass(frozen=True, eq=False)
class Material:
    """A model, its input rows, the reference model for bits, and the counts of skipped documents."""

    model: nn.Module
    feed: Feed
    reference: nn.Module | None
    skipped: Mapping[str, int]


def material(
    config: MemorisationConfig,
    *,
    model: nn.Module | None = None,
    reference: nn.Module | None = None,
    documents: Documents | None = None,
) -> Material:
    """Reads model and corpus of a config; modules and documents passed as arguments replace its own.

    Raises ConfigError for text without a tokenizer, and DataError for a corpus with fewer documents than requested.
    """
    device = devices.device(config.device)
    spec = {"module": config.module, "weights": config.weights}
    loaded = model_of(config.model, **spec) if model is None else Loaded(model)
    skipped: Mapping[str, int] = {}
    if documents is None:
        documents, skipped = corpus_of(config, loaded)
    feed = Feed.of(
        _first(documents, config), length=config.length, blocks=config.blocks, stride=config.stride, first=config.first
    )
    if model is None:
        network = untrained(max(int(feed.tokens.max()) + 1, 2), config.seed) if loaded is None else loaded.model
        model = _on_device(network, config, device)
    if reference is None and config.reference:
        second = model_of(config.reference)
        network = untrained(int(feed.tokens.max()) + 1, config.seed) if second is None else second.model
        reference = _on_device(network, config, device)
    return Material(model, feed, reference, skipped)


def corpus_of(config: MemorisationConfig, loaded: Loaded | None) -> tuple[Documents, Mapping[str, int]]:
    """The documents in the tokens of a model, and the number of those left out, by reason."""
    keys: dict[str, Any] = {key.name: getattr(config, key.name) for key in fields(Reading)}
    tokenizer = config.tokenizer or (loaded.tokenizer if loaded is not None else None)
    ids = of_token_ids(config.corpus, Reading(**{**keys, "tokenizer": WORDPUNCT}))
    words = None if loaded is None else loaded.words
    if not ids and words is None and loaded is not None and not tokenizer:
        raise ConfigError(
            f"{config.corpus} is text and the model {config.model} comes without a tokenizer.json; give the tokenizer "
            "that it was trained with"
        )
    keys["tokenizer"] = WORDPUNCT if ids or not tokenizer else str(tokenizer)
    limit = None if config.length is None else config.length + 1
    reading = read_corpus(config.corpus, **keys, words=None if ids else words, limit=limit)
    documents = reading.documents
    if ids and tokenizer:
        vocabulary = encoder(tokenizer).vocabulary
        if isinstance(vocabulary, Words) and not vocabulary.closed:
            raise ConfigError(
                f"tokenizer = {tokenizer!r} numbers words as they come up, and {config.corpus} holds token ids; give "
                "the tokenizer.json that they were made with, or leave it out"
            )
        documents = replace(documents, vocabulary=vocabulary)
    return documents, dict(reading.skipped)


def _first(documents: Documents, config: MemorisationConfig) -> Documents:
    if config.documents is None:
        return documents
    if len(documents) < config.documents:
        raise DataError(
            f"documents = {config.documents}: {config.corpus} holds {len(documents)}; ask for that many or fewer"
        )
    return documents.first(config.documents)


def _on_device(model: nn.Module, config: MemorisationConfig, device: torch.device) -> nn.Module:
    kind = None if config.arithmetic == "saved" else getattr(torch, config.arithmetic)
    return model.to(device=device, dtype=kind).eval()
