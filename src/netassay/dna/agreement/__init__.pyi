# made by `make docs` from the contents in __init__.py; change them there
from netassay.dna.agreement.binding import associations as associations
from netassay.dna.agreement.binding import enrichment as enrichment
from netassay.dna.agreement.overlap import by_coordinates as by_coordinates
from netassay.dna.agreement.overlap import by_sequence as by_sequence
from netassay.dna.agreement.ranking import areas as areas
from netassay.dna.agreement.ranking import permuted_areas as permuted_areas
from netassay.dna.agreement.species import cell_type_map as cell_type_map
from netassay.dna.agreement.species import mapped_network as mapped_network
from netassay.dna.agreement.species import rank_agreement as rank_agreement

__all__ = [
    "areas",
    "associations",
    "by_coordinates",
    "by_sequence",
    "cell_type_map",
    "enrichment",
    "mapped_network",
    "permuted_areas",
    "rank_agreement",
]
