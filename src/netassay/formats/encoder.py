"""What makes token ids of texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from netassay.formats.documents import Vocabulary

Encode = Callable[[list[str], int | None], Iterable[Sequence[int]]]
"""Token ids of each of some texts, at most a given number of each."""


@dataclass(frozen=True, eq=False)
class Encoder:
    """Texts to token ids, what the ids stand for, and the id that may close a document."""

    encode: Encode
    vocabulary: Vocabulary
    end: Callable[[], int]
