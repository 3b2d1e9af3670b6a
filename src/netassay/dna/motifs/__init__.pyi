# made by `make docs` from the contents in __init__.py; change them there
from netassay.dna.motifs.filters import FilterMotifs as FilterMotifs
from netassay.dna.motifs.filters import filter_motifs as filter_motifs
from netassay.dna.motifs.match import Matches as Matches
from netassay.dna.motifs.match import match_motifs as match_motifs
from netassay.dna.motifs.match import q_values as q_values
from netassay.dna.motifs.reproducibility import Clusters as Clusters
from netassay.dna.motifs.reproducibility import cluster_motifs as cluster_motifs
from netassay.dna.motifs.reproducibility import factor_names as factor_names
from netassay.dna.motifs.reproducibility import reproducible_filters as reproducible_filters
from netassay.dna.motifs.truth import pair_recovery as pair_recovery
from netassay.dna.motifs.truth import recovery as recovery

__all__ = [
    "Clusters",
    "FilterMotifs",
    "Matches",
    "cluster_motifs",
    "factor_names",
    "filter_motifs",
    "match_motifs",
    "pair_recovery",
    "q_values",
    "recovery",
    "reproducible_filters",
]
