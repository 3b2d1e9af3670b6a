# made by `make docs` from the contents in __init__.py; change them there
from netassay.capacity.code_length import Bits as Bits
from netassay.capacity.comparison import side_by_side as side_by_side
from netassay.capacity.construction import Construction as Construction
from netassay.capacity.construction import construct as construct
from netassay.capacity.construction import realise as realise
from netassay.capacity.corpus_bounds import Bounds as Bounds
from netassay.capacity.corpus_bounds import Verdict as Verdict
from netassay.capacity.corpus_bounds import bounds as bounds
from netassay.capacity.extraction import Extraction as Extraction
from netassay.capacity.injectivity import separations as separations
from netassay.capacity.local import LocalCapacity as LocalCapacity
from netassay.capacity.local import local_capacity as local_capacity
from netassay.capacity.rank import ranks as ranks
from netassay.capacity.recall import Gap as Gap
from netassay.capacity.recall import Group as Group
from netassay.capacity.recall import Memorisation as Memorisation
from netassay.capacity.recall import memorisation as memorisation
from netassay.capacity.theorems import averaging_capacity_lower as averaging_capacity_lower
from netassay.capacity.theorems import averaging_parameters as averaging_parameters
from netassay.capacity.theorems import capacity_upper as capacity_upper
from netassay.capacity.theorems import decoder_capacity_lower as decoder_capacity_lower
from netassay.capacity.theorems import decoder_parameters as decoder_parameters
from netassay.capacity.theorems import empirical_capacity_lower as empirical_capacity_lower
from netassay.capacity.theorems import empirical_capacity_upper as empirical_capacity_upper
from netassay.capacity.theorems import empirical_capacity_upper_tight as empirical_capacity_upper_tight
from netassay.capacity.theorems import experiment_parameters as experiment_parameters
from netassay.capacity.theorems import trainable_count as trainable_count
from netassay.capacity.theorems import upper_to_lower as upper_to_lower

__all__ = [
    "Bits",
    "Bounds",
    "Construction",
    "Extraction",
    "Gap",
    "Group",
    "LocalCapacity",
    "Memorisation",
    "Verdict",
    "averaging_capacity_lower",
    "averaging_parameters",
    "bounds",
    "capacity_upper",
    "construct",
    "decoder_capacity_lower",
    "decoder_parameters",
    "empirical_capacity_lower",
    "empirical_capacity_upper",
    "empirical_capacity_upper_tight",
    "experiment_parameters",
    "local_capacity",
    "memorisation",
    "ranks",
    "realise",
    "separations",
    "side_by_side",
    "trainable_count",
    "upper_to_lower",
]
