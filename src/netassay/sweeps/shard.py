"""A share of a plan's runs, for whatever starts the same command on several machines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, Self, TypeVar

from netassay.errors import ConfigError

Item = TypeVar("Item")


class Shard(NamedTuple):
    """Every `total`-th run from run `number` on (1 to `total`): the shards of a plan are disjoint, and together all."""

    number: int
    total: int

    @classmethod
    def read(cls, word: str) -> Self:
        """The shard that is written as 3/20. ConfigError for any other word, 0/3 and 4/3.

        >>> Shard.read("3/20")
        Shard(number=3, total=20)
        """
        parts = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", str(word))
        if parts is None:
            raise ConfigError(f"shard = {word!r:.80} is not allowed: NUMBER/TOTAL, such as 3/20")
        number, total = int(parts[1]), int(parts[2])
        if not 1 <= number <= total:
            raise ConfigError(f"shard = {number}/{total} is not allowed: the first of {total} is 1/{max(1, total)}")
        return cls(number, total)

    def of(self, items: Sequence[Item]) -> list[Item]:
        """The items of this shard, in their order; neighbours, which often take equally long, go to different shards.

        >>> Shard(2, 3).of("abcdefgh")
        ['b', 'e', 'h']
        """
        return list(items[self.number - 1 :: self.total])
