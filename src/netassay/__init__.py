"""Assay a neural network: how much can it memorise, how stably does it train, what has it learned?"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# public name -> module that holds it; imported on first use, so that `import netassay` loads no torch
_HOMES = {
    # curvature of any module
    "sharpness": "netassay.numerics.sharpness",
    "hessian_operator": "netassay.numerics.curvature",
    "Curvature": "netassay.numerics.curvature",
    "Follower": "netassay.numerics.following",
    "Sharpness": "netassay.numerics.sharpness",
    "Eigenpairs": "netassay.numerics.eigen",
    # what a corpus asks of a next-token predictor, and what one can hold
    "contexts": "netassay.studies.capacity.contexts",
    "Contexts": "netassay.studies.capacity.contexts",
    "construct": "netassay.studies.capacity.construct",
    "realise": "netassay.studies.capacity.construct",
    "Construction": "netassay.studies.capacity.construct",
    "local_capacity": "netassay.studies.capacity.local",
    "LocalCapacity": "netassay.studies.capacity.local",
    "separations": "netassay.studies.capacity.injectivity",
    "ranks": "netassay.studies.capacity.rank",
    "load_model": "netassay.runs.models",
    "save_model": "netassay.runs.models",
    "contexts_within": "netassay.studies.capacity.out_of_core",
    "read_corpus": "netassay.formats.corpus",
    "read_in_parts": "netassay.formats.corpus",
    "bounds": "netassay.studies.capacity.corpus_bounds",
    "Bounds": "netassay.studies.capacity.corpus_bounds",
    "Verdict": "netassay.studies.capacity.corpus_bounds",
    "side_by_side": "netassay.studies.capacity.side_by_side",
    "capacity_upper": "netassay.studies.capacity.bounds",
    "empirical_capacity_lower": "netassay.studies.capacity.bounds",
    "empirical_capacity_upper": "netassay.studies.capacity.bounds",
    "empirical_capacity_upper_tight": "netassay.studies.capacity.bounds",
    "decoder_capacity_lower": "netassay.studies.capacity.bounds",
    "averaging_capacity_lower": "netassay.studies.capacity.bounds",
    "upper_to_lower": "netassay.studies.capacity.bounds",
    "decoder_parameters": "netassay.studies.capacity.bounds",
    "averaging_parameters": "netassay.studies.capacity.bounds",
    "experiment_parameters": "netassay.studies.capacity.bounds",
    "trainable_count": "netassay.studies.capacity.bounds",
    # how large a step may be: now, and while a loop of one's own trains
    "step_size": "netassay.studies.edge.largest_step",
    "StepSizes": "netassay.studies.edge.largest_step",
    "LargestStep": "netassay.studies.edge.largest_step",
    "SharpnessTracker": "netassay.studies.edge.tracker.tracker",
    "EdgeWarning": "netassay.studies.edge.tracker.tracker",
    "trace": "netassay.numerics.trace",
    "Trace": "netassay.numerics.trace",
    "spectral_density": "netassay.numerics.density",
    "Density": "netassay.numerics.density",
    "batch_sharpness": "netassay.numerics.directions",
    "gradient_flow": "netassay.studies.edge.flow",
    "CentralFlow": "netassay.studies.edge.central_flow",
    # studies: their configs, one run, many runs, a page of them
    "CapacityConfig": "netassay.studies.capacity.config",
    "EdgeConfig": "netassay.studies.edge.config",
    "AitacConfig": "netassay.studies.aitac.config",
    "predict_sequences": "netassay.studies.aitac.prediction",
    "predict_regions": "netassay.studies.aitac.prediction",
    "attribute": "netassay.studies.aitac.interpret.attribute",
    "Attributions": "netassay.studies.aitac.interpret.attribute",
    "mutagenesis": "netassay.studies.aitac.interpret.mutagenesis",
    "Mutagenesis": "netassay.studies.aitac.interpret.mutagenesis",
    "variant_effects": "netassay.studies.aitac.interpret.variants",
    "VariantEffects": "netassay.studies.aitac.interpret.variants",
    "pearson_rows": "netassay.studies.aitac.losses",
    "pearson_loss": "netassay.studies.aitac.losses",
    "StepSizeConfig": "netassay.studies.edge.stepsize.config",
    "InterpretConfig": "netassay.studies.aitac.interpret.config",
    "perform": "netassay.performing",
    "interpret": "netassay.interpreting",
    "repetitions": "netassay.interpreting",
    "transfer": "netassay.interpreting",
    "TransferConfig": "netassay.studies.aitac.transfer.config",
    "resume": "netassay.performing",
    "summarise": "netassay.performing",
    "Plan": "netassay.sweeps",
    "sweep": "netassay.sweeps",
    "outlook": "netassay.sweeps",
    "report": "netassay.presenting",
    # an atlas of regulatory DNA
    "Atlas": "netassay.studies.aitac.atlas",
    "find_atlas": "netassay.studies.aitac.atlas",
    "build_atlas": "netassay.studies.aitac.building",
    "simulate_atlas": "netassay.studies.aitac.simulate",
    "describe_atlas": "netassay.studies.aitac.describing",
    "export_atlas": "netassay.studies.aitac.annotated",
    # what a network learned: which filters and pairs of them it uses
    "reproducible_filters": "netassay.studies.aitac.interpret.reproduced",
    "cluster_motifs": "netassay.studies.aitac.interpret.reproduced",
    "reduced_network": "netassay.studies.aitac.interpret.reduced",
    "reduced_config": "netassay.studies.aitac.weights",
    "recovery": "netassay.studies.aitac.interpret.recovery",
    "pair_recovery": "netassay.studies.aitac.interpret.recovery",
    "influence": "netassay.studies.aitac.interpret.influence",
    "Influence": "netassay.studies.aitac.interpret.influence",
    "interactions": "netassay.studies.aitac.interpret.interactions",
    "Interactions": "netassay.studies.aitac.interpret.interactions",
    # what the filters of a network look for
    "filter_motifs": "netassay.studies.aitac.interpret.motifs",
    "FilterMotifs": "netassay.studies.aitac.interpret.motifs",
    "Motifs": "netassay.formats.motifs",
    "match_motifs": "netassay.studies.aitac.interpret.match",
    "Matches": "netassay.studies.aitac.interpret.match",
    "read_meme": "netassay.formats.meme",
    "write_meme": "netassay.formats.meme",
    "read_database": "netassay.formats.jaspar",
    # what is on disk
    "Run": "netassay.runs",
    "Store": "netassay.runs",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'netassay' has no attribute {name!r}; public names: {', '.join(_HOMES)}")


def __dir__() -> list[str]:
    return sorted(__all__)
