"""What a network loses without a factor, and how two factors interact.

ablation: a layer over many sequences, and the outputs without some of its channels, exact and fast in AI-TAC;
any_layer: by full passes of any module. singles: influence of filters and factors. pairs: interactions of
two. synthetic: two motifs planted at every distance. factors: filters of one motif joined, ranked in each lineage.
"""

from netassay.contents import contents

__getattr__, __dir__, __all__ = contents(
    __name__,
    {
        "influence": "netassay.dna.influence.singles",
        "Influence": "netassay.dna.influence.singles",
        "interactions": "netassay.dna.influence.pairs",
        "Interactions": "netassay.dna.influence.pairs",
        "spacing": "netassay.dna.influence.synthetic",
        "Spacing": "netassay.dna.influence.synthetic",
        "hierarchy": "netassay.dna.influence.factors",
        "Factors": "netassay.dna.influence.factors",
    },
)
