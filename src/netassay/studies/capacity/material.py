"""The corpus of a run, read once: its contexts, the decoder's targets, and a digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from netassay.corpus.context import Contexts, contexts
from netassay.corpus.target import Targets, targets
from netassay.errors import DataError
from netassay.formats.corpus import Reading, read_corpus
from netassay.studies.capacity.config import CapacityConfig
from netassay.studies.capacity.trial import IGNORED


@dataclass(frozen=True, eq=False)
class Material:
    """`digest` is the SHA-256 of the documents as used: number, lengths, tokens."""

    contexts: Contexts
    to: Targets
    digest: str

    @property
    def words(self) -> tuple[str, ...] | None:
        """Words of the tokens of `to`; None for a corpus of token ids."""
        return self.contexts.corpus.words(np.unique(self.contexts.corpus.tokens).tolist())

    @property
    def documents(self) -> Int64[Tensor, "N T"]:
        """The documents, tokens numbered as in `to`, padded with IGNORED at the end."""
        corpus = self.contexts.corpus
        names = np.unique(corpus.tokens, return_inverse=True)[1]
        rows = np.full((len(corpus), int(corpus.lengths.max())), IGNORED)
        rows[np.arange(rows.shape[1]) < corpus.lengths[:, None]] = names
        return torch.from_numpy(rows)


def material(config: CapacityConfig) -> Material:
    """Reads the corpus of a config.

    Raises DataError if it has fewer documents than requested, and if its bound is zero: then no fraction of the bound
    can be a criterion.
    """
    keys = {key.name: getattr(config, key.name) for key in fields(Reading)}
    corpus = read_corpus(config.corpus, **keys, limit=config.length).documents
    if config.exact_length:
        corpus = corpus.select(corpus.lengths >= config.length).renumbered()
        if not len(corpus):
            raise DataError(f"{config.corpus}: all documents are shorter than {config.length} tokens")
    if config.documents is not None:
        if len(corpus) < config.documents:
            raise DataError(
                f"documents = {config.documents}: {config.corpus} holds {len(corpus)}; ask for that many or fewer"
            )
        corpus = corpus.select(np.arange(len(corpus)) < config.documents)
    unique = contexts(corpus, length=config.length)
    if not unique.bound_nats > 0:
        raise DataError(
            f"{config.corpus}: the entropy bound of the first {config.length} tokens of its documents "
            f"({unique.documents}) is 0, as no context has two continuations, so no gap can be measured against it; "
            "take more documents, and of token ids state the end that closes each"
        )
    return Material(unique, targets(unique), _digest(unique))


def _digest(unique: Contexts) -> str:
    digest = hashlib.sha256()
    for numbers in (unique.corpus.lengths, unique.corpus.tokens):
        digest.update(np.ascontiguousarray(numbers, "<i8").tobytes())
    return digest.hexdigest()
