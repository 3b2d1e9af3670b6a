"""Names for what motifs resemble: families of factors, since motifs within a family cannot be told apart."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

import polars as pl
from torch import Tensor

from netassay.dna.motifs.match import NAMED, Matches, likeness
from netassay.dna.motifs.matrices import UNSURE
from netassay.dna.motifs.reproducibility import link
from netassay.formats.motifs import Motifs

FAMILY_P = 1e-3
"""Known motifs are of one family while the geometric mean of Tomtom's p-values between them is below this."""

_ROOTS, _MEMBERS = 3, 4  # of a family, shown in its name


def factor_names(matches: Matches, q: float = NAMED) -> dict[str, str]:
    """What each query resembles in the database: its family, or `UNSURE`; queries without a match are left out.

    A query has a match where its best has a q below `q`; it gets a name where the false discovery rate measured on
    permuted queries (`Matches.fdr`) is below `q` too. Matches of one family (average linkage of the database's own
    motifs) share a name that lists the members that were matched: "GATA (GATA2, GATA5)".

    Args:
        matches: The matches.
        q: q-value and false discovery rate (0 to 1).

    Returns:
        Query -> name.

    Example:
        >>> import netassay
        >>> from netassay.dna.motifs import factor_names
        >>> known = netassay.read_database("jaspar-vertebrates").select(range(30))
        >>> len(factor_names(netassay.match_motifs(known.select([0]), known)))
        1
    """
    best = {row["query"]: row["target"] for row in matches.best().filter(pl.col("q") < q).iter_rows(named=True)}
    sure = dict(zip(matches.queries, (matches.fdr < q).tolist(), strict=True))
    targets = {query: target for query, target in best.items() if sure[query]}
    families = _families(matches.known, set(targets.values()))
    titles = dict(zip(matches.known.names, matches.known.titles, strict=True))
    members: dict[int, list[str]] = {}
    for target in targets.values():
        titles_of_family = members.setdefault(families[target], [])
        title = titles[target] or target
        if title not in titles_of_family:
            titles_of_family.append(title)
    return {query: _label(members[families[targets[query]]]) if query in targets else UNSURE for query in best}


def _families(database: Motifs, targets: set[str]) -> dict[str, int]:
    """Number of the family of each target."""
    if len(targets) < 2:
        return dict.fromkeys(targets, 0)
    numbers = _cluster(_Database(database))
    return {name: number for name, number in zip(database.names, numbers.tolist(), strict=True) if name in targets}


class _Database:
    """Motifs that are equal where their matrices are, so that a database is clustered once."""

    def __init__(self, motifs: Motifs) -> None:
        self.motifs = motifs
        self.key = hashlib.sha256(motifs.counts.numpy().tobytes()).digest()

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Database) and self.key == other.key


@lru_cache(maxsize=4)
def _cluster(motifs: _Database) -> Tensor:
    return link(likeness(motifs.motifs, motifs.motifs), FAMILY_P)


def _label(members: list[str]) -> str:
    """The name of a single member; for several the initial letters of their names, and the names."""
    if len(members) == 1:
        return members[0]
    order = sorted(members, key=str.upper)
    roots = list(dict.fromkeys(_root(name) for name in order))
    more = "/…" if len(roots) > _ROOTS else ""
    names = [*order[:_MEMBERS], "…"] if len(order) > _MEMBERS else order
    return f"{'/'.join(roots[:_ROOTS])}{more} ({', '.join(names)})"


def _root(name: str) -> str:
    letters = re.match(r"[A-Za-z]+", name)
    return letters[0].upper() if letters else name
