# made by `make docs` from the contents in __init__.py; change them there
from netassay.dna import agreement as agreement
from netassay.dna import atlas as atlas
from netassay.dna import attributions as attributions
from netassay.dna import ceiling as ceiling
from netassay.dna import influence as influence
from netassay.dna import motifs as motifs
from netassay.dna import network as network
from netassay.dna import reads as reads

__all__ = [
    "agreement",
    "atlas",
    "attributions",
    "ceiling",
    "influence",
    "motifs",
    "network",
    "reads",
]
