"""What there is to learn in a corpus of token sequences, and the loss that no predictor can beat.

prefixes: the trie of all sequences, length by length. tallies: totals by length, and what they must add up to.
counting: totals of a corpus in memory, in piles by first token, several lengths from one sort. distribution: next-token
counts of the contexts. context: the unique contexts of a corpus, and its census as it is read. parting: a corpus larger
than memory in parts, which are counted one by one. spine, shuffle, gathering: those of a corpus in shards, over nodes.
target: the contexts and counts on which a decoder is trained. conditional: the bound at many lengths of context.
packing: rows across documents. feed: the rows that a language model reads of a corpus. occurrence: how often each of
their contexts occurs.
"""

from netassay.contents import contents

__getattr__, __dir__, __all__ = contents(
    __name__,
    {
        "contexts": "netassay.corpus.context",
        "Contexts": "netassay.corpus.context",
        "distributions": "netassay.corpus.distribution",
        "Distributions": "netassay.corpus.distribution",
        "contexts_within": "netassay.corpus.context",
        "telescoped_bound": "netassay.corpus.tallies",
        "conditional_entropies": "netassay.corpus.conditional",
        "Conditional": "netassay.corpus.conditional",
        "packed": "netassay.corpus.packing",
        "Feed": "netassay.corpus.feed",
        "Occurrences": "netassay.corpus.occurrence",
        "occurrences": "netassay.corpus.occurrence",
        "targets": "netassay.corpus.target",
        "Targets": "netassay.corpus.target",
        "exact_loss": "netassay.corpus.target",
    },
)
