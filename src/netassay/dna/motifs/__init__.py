"""What the filters of a network look for.

filters: motifs of a layer. match: known motifs that they resemble, with tomtom's p-values, and q-values.
reproducibility: filters that other networks learned too, their clusters, and names of families of factors. truth: how
much of the grammar of a simulated atlas they recover. Motifs themselves, and tables of them: `netassay.formats.motifs`.
"""

from netassay.contents import contents

__getattr__, __dir__, __all__ = contents(
    __name__,
    {
        "filter_motifs": "netassay.dna.motifs.filters",
        "FilterMotifs": "netassay.dna.motifs.filters",
        "match_motifs": "netassay.dna.motifs.match",
        "Matches": "netassay.dna.motifs.match",
        "factor_names": "netassay.dna.motifs.reproducibility",
        "reproducible_filters": "netassay.dna.motifs.reproducibility",
        "cluster_motifs": "netassay.dna.motifs.reproducibility",
        "Clusters": "netassay.dna.motifs.reproducibility",
        "recovery": "netassay.dna.motifs.truth",
        "pair_recovery": "netassay.dna.motifs.truth",
        "q_values": "netassay.dna.motifs.match",
    },
)
