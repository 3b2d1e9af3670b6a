"""What each base of a sequence contributes to an output of a network.

contributions: by gradients and by DeepLIFT/SHAP, and whether they depend on what was learned. saturation: every
single-base change, exactly. variants: the alleles of a VCF file. modisco: motifs that recur among contributions. files:
tensors and tracks.
"""

from netassay.contents import contents

__getattr__, __dir__, __all__ = contents(
    __name__,
    {
        "attribute": "netassay.dna.attributions.contributions",
        "Attributions": "netassay.dna.attributions.contributions",
        "mutagenesis": "netassay.dna.attributions.saturation",
        "Mutagenesis": "netassay.dna.attributions.saturation",
        "save_attributions": "netassay.dna.attributions.files",
        "load_attributions": "netassay.dna.attributions.files",
        "write_tracks": "netassay.dna.attributions.files",
        "find_patterns": "netassay.dna.attributions.modisco",
        "variant_effects": "netassay.dna.attributions.variants",
        "VariantEffects": "netassay.dna.attributions.variants",
        "site_auroc": "netassay.dna.attributions.contributions",
        "shuffled_weights": "netassay.dna.attributions.contributions",
    },
)
