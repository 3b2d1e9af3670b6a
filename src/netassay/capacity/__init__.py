"""What a next-token predictor can hold (Madden, Fox, Thrampoulidis 2024, arXiv 2405.13718).

theorems: how many contexts a predictor of a given size can and cannot hold. corpus_bounds: the same for one corpus, and
the verdict. comparison: all bounds side by side. construction, goal, moment_curve, output_layer: models that memorise
without training. injectivity, rank: measurements of what the proofs need. local: in how many directions the logits of a
model can move, and rounding: its noise. recall: how much of a corpus a trained model holds, from likelihood (its
losses, batch by batch), code_length (bits against a reference) and extraction (sequences that it gives back).
"""

from netassay.contents import contents

__getattr__, __dir__, __all__ = contents(
    __name__,
    {
        "capacity_upper": "netassay.capacity.theorems",
        "empirical_capacity_lower": "netassay.capacity.theorems",
        "empirical_capacity_upper": "netassay.capacity.theorems",
        "empirical_capacity_upper_tight": "netassay.capacity.theorems",
        "decoder_capacity_lower": "netassay.capacity.theorems",
        "averaging_capacity_lower": "netassay.capacity.theorems",
        "upper_to_lower": "netassay.capacity.theorems",
        "decoder_parameters": "netassay.capacity.theorems",
        "averaging_parameters": "netassay.capacity.theorems",
        "experiment_parameters": "netassay.capacity.theorems",
        "trainable_count": "netassay.capacity.theorems",
        "bounds": "netassay.capacity.corpus_bounds",
        "Bounds": "netassay.capacity.corpus_bounds",
        "Verdict": "netassay.capacity.corpus_bounds",
        "side_by_side": "netassay.capacity.comparison",
        "construct": "netassay.capacity.construction",
        "realise": "netassay.capacity.construction",
        "Construction": "netassay.capacity.construction",
        "separations": "netassay.capacity.injectivity",
        "ranks": "netassay.capacity.rank",
        "memorisation": "netassay.capacity.recall",
        "Memorisation": "netassay.capacity.recall",
        "Group": "netassay.capacity.recall",
        "Gap": "netassay.capacity.recall",
        "Bits": "netassay.capacity.code_length",
        "Extraction": "netassay.capacity.extraction",
        "local_capacity": "netassay.capacity.local",
        "LocalCapacity": "netassay.capacity.local",
    },
)
