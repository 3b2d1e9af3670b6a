"""Whether an experiment, or another species, agrees with what a network learned.

overlap: the peaks that an experiment marks. ranking: areas under curves, their errors and nulls. binding: are the
peaks that a factor matters for those that it binds. species: a network on another atlas.
"""

from netassay.contents import contents

__getattr__, __dir__, __all__ = contents(
    __name__,
    {
        "associations": "netassay.dna.agreement.binding",
        "enrichment": "netassay.dna.agreement.binding",
        "by_sequence": "netassay.dna.agreement.overlap",
        "by_coordinates": "netassay.dna.agreement.overlap",
        "areas": "netassay.dna.agreement.ranking",
        "permuted_areas": "netassay.dna.agreement.ranking",
        "cell_type_map": "netassay.dna.agreement.species",
        "mapped_network": "netassay.dna.agreement.species",
        "rank_agreement": "netassay.dna.agreement.species",
    },
)
