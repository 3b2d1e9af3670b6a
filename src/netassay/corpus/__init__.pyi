# made by `make docs` from the contents in __init__.py; change them there
from netassay.corpus.conditional import Conditional as Conditional
from netassay.corpus.conditional import conditional_entropies as conditional_entropies
from netassay.corpus.context import Contexts as Contexts
from netassay.corpus.context import contexts as contexts
from netassay.corpus.context import contexts_within as contexts_within
from netassay.corpus.distribution import Distributions as Distributions
from netassay.corpus.distribution import distributions as distributions
from netassay.corpus.feed import Feed as Feed
from netassay.corpus.occurrence import Occurrences as Occurrences
from netassay.corpus.occurrence import occurrences as occurrences
from netassay.corpus.packing import packed as packed
from netassay.corpus.tallies import telescoped_bound as telescoped_bound
from netassay.corpus.target import Targets as Targets
from netassay.corpus.target import exact_loss as exact_loss
from netassay.corpus.target import targets as targets

__all__ = [
    "Conditional",
    "Contexts",
    "Distributions",
    "Feed",
    "Occurrences",
    "Targets",
    "conditional_entropies",
    "contexts",
    "contexts_within",
    "distributions",
    "exact_loss",
    "occurrences",
    "packed",
    "targets",
    "telescoped_bound",
]
