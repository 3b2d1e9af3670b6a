"""What a network loses without a factor, and how two factors interact.

ablation: a layer over many sequences, and the outputs without some of its channels, exact and fast in AI-TAC;
any_layer: by full passes of any module. singles: influence of filters and of factors (filters of one motif, joined),
ranked in each lineage. pairs: interactions of two. synergy: two motifs planted at every distance, and the curves on
whose scale effects add up. limits: below which nothing is tested.
"""

from netassay.contents import contents

__getattr__, __dir__, __all__ = contents(
    __name__,
    {
        "influence": "netassay.dna.influence.singles",
        "Influence": "netassay.dna.influence.singles",
        "interactions": "netassay.dna.influence.pairs",
        "Interactions": "netassay.dna.influence.pairs",
        "spacing": "netassay.dna.influence.synergy",
        "Spacing": "netassay.dna.influence.synergy",
        "hierarchy": "netassay.dna.influence.singles",
        "Factors": "netassay.dna.influence.singles",
    },
)
