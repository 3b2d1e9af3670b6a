"""What there is to learn in a corpus of token sequences, and the loss that no predictor can beat.

prefixes: the trie of all sequences, length by length. distribution: next-token counts of the contexts. context: the
unique contexts of a corpus in memory. keys: several lengths from one sort. piles: documents apart by first token.
counting, tallies, nats: their totals. out_of_core, census, division, parting: those of a corpus on disk.
spine, shuffle, gathering: those of a corpus in shards, over nodes. telescope: the number that all
counts must add up to. target: the contexts and counts on which a decoder is trained.
conditional: the bound at many lengths of context. packing: rows across documents. feed: the rows that a language model
reads of a corpus. occurrence: how often each of their contexts occurs.
"""

from netassay.contents import contents

__getattr__, __dir__, __all__ = contents(
    __name__,
    {
        "contexts": "netassay.corpus.context",
        "Contexts": "netassay.corpus.context",
        "distributions": "netassay.corpus.distribution",
        "Distributions": "netassay.corpus.distribution",
        "contexts_within": "netassay.corpus.out_of_core",
        "telescoped_bound": "netassay.corpus.telescope",
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
