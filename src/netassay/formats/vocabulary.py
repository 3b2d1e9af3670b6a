"""What token ids stand for: words numbered as they come up, or the fixed codes of a tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from netassay.errors import DataError

END_WORD = "<end of document>"
"""The word of an end token; no tokenizer that splits at white space gives it."""


class Words:
    """Words numbered from 0 in the order they come up, or in a given order that is closed to new words."""

    def __init__(self, words: Iterable[str] = (), *, closed: bool = False) -> None:
        self.closed = closed
        self.numbers: dict[str, int] = {}
        for token, word in enumerate(words):
            if self.numbers.setdefault(word, token) != token:
                raise DataError(
                    f"word {word!r:.60} is given as token {self.numbers[word]} and {token}; give each word once"
                )
        self._spelled: list[str] = []

    def __len__(self) -> int:
        return len(self.numbers)

    def number(self, word: str) -> int | None:
        """The id of a word, a new one if necessary; None for an unknown word of a closed vocabulary."""
        if self.closed:
            return self.numbers.get(word)
        return self.numbers.setdefault(word, len(self.numbers))

    def word(self, token: int) -> str:
        """The word of an id."""
        if len(self._spelled) < len(self.numbers):
            self._spelled = list(self.numbers)
        return self._spelled[token]


@dataclass(frozen=True)
class Codes:
    """Ids that a tokenizer fixes, the same in every file.

    `name` names the tokenizer, `spell` gives the text of an id, and `decode` that of several, where it is more than
    the texts one after another.
    """

    name: str
    spell: Callable[[int], str]
    decode: Callable[[Sequence[int]], str] | None = None

    def word(self, token: int) -> str:
        """The text of an id."""
        return self.spell(token)


Vocabulary = Words | Codes


def spelled(vocabulary: Vocabulary | None, tokens: Sequence[int]) -> tuple[str, ...] | None:
    """The words of token ids; None if only the ids are known."""
    return None if vocabulary is None else tuple(vocabulary.word(token) for token in tokens)


def text_of(vocabulary: Vocabulary | None, tokens: Sequence[int]) -> str | None:
    """The text that token ids stand for, words separated by spaces; None if only the ids are known."""
    if isinstance(vocabulary, Codes) and vocabulary.decode is not None:
        return vocabulary.decode(tokens)
    words = spelled(vocabulary, tokens)
    return None if words is None else ("" if isinstance(vocabulary, Codes) else " ").join(words)
