# made by `make docs` from the contents in __init__.py; change them there
from netassay.dna.attributions.contributions import Attributions as Attributions
from netassay.dna.attributions.contributions import attribute as attribute
from netassay.dna.attributions.contributions import shuffled_weights as shuffled_weights
from netassay.dna.attributions.contributions import site_auroc as site_auroc
from netassay.dna.attributions.files import load_attributions as load_attributions
from netassay.dna.attributions.files import save_attributions as save_attributions
from netassay.dna.attributions.files import write_tracks as write_tracks
from netassay.dna.attributions.modisco import find_patterns as find_patterns
from netassay.dna.attributions.saturation import Mutagenesis as Mutagenesis
from netassay.dna.attributions.saturation import mutagenesis as mutagenesis
from netassay.dna.attributions.variants import VariantEffects as VariantEffects
from netassay.dna.attributions.variants import variant_effects as variant_effects

__all__ = [
    "Attributions",
    "Mutagenesis",
    "VariantEffects",
    "attribute",
    "find_patterns",
    "load_attributions",
    "mutagenesis",
    "save_attributions",
    "shuffled_weights",
    "site_auroc",
    "variant_effects",
    "write_tracks",
]
