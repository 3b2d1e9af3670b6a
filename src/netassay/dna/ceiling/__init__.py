"""How good a model could be on noisy data, and what a score is worth beside it.

limit: ceilings from two halves of the data, or two replicates. reliability: the law of the peaks' reliabilities.
bootstrap: intervals over blocks of the genome. verdict: a score, its baseline, its nulls and its ceiling. areas:
those under ROC and precision-recall curves, with intervals.
"""

from netassay.contents import contents

__getattr__, __dir__, __all__ = contents(
    __name__,
    {
        "ceiling_of": "netassay.dna.ceiling.limit",
        "Ceiling": "netassay.dna.ceiling.limit",
        "blocks_of": "netassay.dna.ceiling.bootstrap",
        "mean_interval": "netassay.dna.ceiling.bootstrap",
        "verdict_of": "netassay.dna.ceiling.verdict",
        "Verdict": "netassay.dna.ceiling.verdict",
        "area_intervals": "netassay.dna.ceiling.areas",
        "area_floor": "netassay.dna.ceiling.areas",
        "beyond_means": "netassay.dna.ceiling.verdict",
    },
)
