# made by `make docs` from the contents in __init__.py; change them there
from netassay.dna import agreement as agreement
from netassay.dna import atlas as atlas
from netassay.dna import attributions as attributions
from netassay.dna import influence as influence
from netassay.dna import motifs as motifs
from netassay.dna import network as network

__all__ = [
    "agreement",
    "atlas",
    "attributions",
    "influence",
    "motifs",
    "network",
]
