# made by `make docs` from the contents in __init__.py; change them there
from netassay.dna.influence.pairs import Interactions as Interactions
from netassay.dna.influence.pairs import interactions as interactions
from netassay.dna.influence.singles import Factors as Factors
from netassay.dna.influence.singles import Influence as Influence
from netassay.dna.influence.singles import hierarchy as hierarchy
from netassay.dna.influence.singles import influence as influence
from netassay.dna.influence.synergy import Spacing as Spacing
from netassay.dna.influence.synergy import spacing as spacing

__all__ = [
    "Factors",
    "Influence",
    "Interactions",
    "Spacing",
    "hierarchy",
    "influence",
    "interactions",
    "spacing",
]
