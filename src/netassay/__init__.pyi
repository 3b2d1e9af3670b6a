# made by `make docs` from the contents in __init__.py; change them there
from netassay import capacity as capacity
from netassay import corpus as corpus
from netassay import curvature as curvature
from netassay import dna as dna
from netassay.capacity.comparison import side_by_side as side_by_side
from netassay.capacity.construction import Construction as Construction
from netassay.capacity.construction import realise as realise
from netassay.capacity.corpus_bounds import Bounds as Bounds
from netassay.capacity.corpus_bounds import Verdict as Verdict
from netassay.capacity.injectivity import separations as separations
from netassay.capacity.local import LocalCapacity as LocalCapacity
from netassay.capacity.local import local_capacity as local_capacity
from netassay.capacity.rank import ranks as ranks
from netassay.capacity.recall import Memorisation as Memorisation
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
from netassay.commands.atlas import build_atlas as build_atlas
from netassay.commands.atlas import describe_atlas as describe_atlas
from netassay.commands.atlas import export_atlas as export_atlas
from netassay.commands.atlas import score_ceiling as score_ceiling
from netassay.commands.atlas import simulate_atlas as simulate_atlas
from netassay.commands.atlas import simulate_reads as simulate_reads
from netassay.commands.bounds import bounds as bounds
from netassay.commands.check import Check as Check
from netassay.commands.check import check as check
from netassay.commands.corpus import Entropy as Entropy
from netassay.commands.corpus import contexts_of as contexts_of
from netassay.commands.corpus import entropy as entropy
from netassay.commands.demo import demo as demo
from netassay.commands.memorisation import memorisation as memorisation
from netassay.commands.regions import background_regions as background_regions
from netassay.commands.regions import consensus_peaks as consensus_peaks
from netassay.commands.runs import explain as explain
from netassay.commands.runs import figure as figure
from netassay.commands.runs import open_run as open_run
from netassay.commands.runs import show as show
from netassay.commands.sequences import attribute_run as attribute_run
from netassay.commands.sequences import predict as predict
from netassay.commands.sequences import variants as variants
from netassay.commands.theory import construct as construct
from netassay.commands.theory import injectivity as injectivity
from netassay.commands.theory import rank as rank
from netassay.corpus.context import Contexts as Contexts
from netassay.corpus.context import contexts as contexts
from netassay.corpus.context import contexts_within as contexts_within
from netassay.curvature.central_flow import CentralFlow as CentralFlow
from netassay.curvature.critical import CriticalFollower as CriticalFollower
from netassay.curvature.critical import CriticalSharpness as CriticalSharpness
from netassay.curvature.critical import critical_sharpness as critical_sharpness
from netassay.curvature.curvature import Curvature as Curvature
from netassay.curvature.density import Density as Density
from netassay.curvature.density import spectral_density as spectral_density
from netassay.curvature.directions import batch_sharpness as batch_sharpness
from netassay.curvature.eigen import Eigenpairs as Eigenpairs
from netassay.curvature.flow import gradient_flow as gradient_flow
from netassay.curvature.following import Follower as Follower
from netassay.curvature.hutchinson import Trace as Trace
from netassay.curvature.hutchinson import trace as trace
from netassay.curvature.largest_curvature import Sharpness as Sharpness
from netassay.curvature.largest_curvature import sharpness as sharpness
from netassay.curvature.largest_step import LargestStep as LargestStep
from netassay.curvature.largest_step import StepSizes as StepSizes
from netassay.curvature.largest_step import step_size as step_size
from netassay.curvature.operator import hessian_operator as hessian_operator
from netassay.curvature.outlook import Forecast as Forecast
from netassay.curvature.outlook import forecast as forecast
from netassay.dna.atlas.atlas import Atlas as Atlas
from netassay.dna.atlas.named import find_atlas as find_atlas
from netassay.dna.attributions.contributions import Attributions as Attributions
from netassay.dna.attributions.contributions import attribute as attribute
from netassay.dna.attributions.saturation import Mutagenesis as Mutagenesis
from netassay.dna.attributions.saturation import mutagenesis as mutagenesis
from netassay.dna.attributions.variants import VariantEffects as VariantEffects
from netassay.dna.influence.pairs import Interactions as Interactions
from netassay.dna.influence.pairs import interactions as interactions
from netassay.dna.influence.singles import Influence as Influence
from netassay.dna.influence.singles import influence as influence
from netassay.dna.motifs.filters import FilterMotifs as FilterMotifs
from netassay.dna.motifs.filters import filter_motifs as filter_motifs
from netassay.dna.motifs.match import Matches as Matches
from netassay.dna.motifs.match import match_motifs as match_motifs
from netassay.dna.motifs.reproducibility import cluster_motifs as cluster_motifs
from netassay.dna.motifs.reproducibility import reproducible_filters as reproducible_filters
from netassay.dna.motifs.truth import pair_recovery as pair_recovery
from netassay.dna.motifs.truth import recovery as recovery
from netassay.dna.network.network import Network as Network
from netassay.dna.network.network import pearson_loss as pearson_loss
from netassay.dna.network.network import pearson_rows as pearson_rows
from netassay.dna.network.reduced import reduced_network as reduced_network
from netassay.formats.corpus import read_corpus as read_corpus
from netassay.formats.corpus import read_in_parts as read_in_parts
from netassay.formats.jaspar import read_database as read_database
from netassay.formats.meme import read_meme as read_meme
from netassay.formats.meme import write_meme as write_meme
from netassay.formats.motifs import Motifs as Motifs
from netassay.interpreting import interpret as interpret
from netassay.interpreting import reduce as reduce
from netassay.interpreting import repetitions as repetitions
from netassay.interpreting import transfer as transfer
from netassay.performing import perform as perform
from netassay.performing import resume as resume
from netassay.performing import summarise as summarise
from netassay.presenting import report as report
from netassay.runs import Run as Run
from netassay.runs import Store as Store
from netassay.runs.models import describe_model as describe_model
from netassay.runs.models import load_model as load_model
from netassay.runs.models import save_model as save_model
from netassay.studies.aitac.answers import predict_regions as predict_regions
from netassay.studies.aitac.answers import predict_sequences as predict_sequences
from netassay.studies.aitac.answers import variant_effects as variant_effects
from netassay.studies.aitac.config import AitacConfig as AitacConfig
from netassay.studies.aitac.interpret.config import InterpretConfig as InterpretConfig
from netassay.studies.aitac.start import reduced_config as reduced_config
from netassay.studies.aitac.transfer.config import TransferConfig as TransferConfig
from netassay.studies.capacity.config import CapacityConfig as CapacityConfig
from netassay.studies.edge.config import EdgeConfig as EdgeConfig
from netassay.studies.edge.stepsize.config import StepSizeConfig as StepSizeConfig
from netassay.studies.edge.tracker.motion import Motion as Motion
from netassay.studies.edge.tracker.tracker import EdgeWarning as EdgeWarning
from netassay.studies.edge.tracker.tracker import SharpnessTracker as SharpnessTracker
from netassay.studies.edge.tracker.tracker import TrackerWarning as TrackerWarning
from netassay.studies.memorisation.config import MemorisationConfig as MemorisationConfig
from netassay.study import findings as findings
from netassay.sweeps import Plan as Plan
from netassay.sweeps import Standing as Standing
from netassay.sweeps import outlook as outlook
from netassay.sweeps import sweep as sweep
from netassay.sweeps import watch as watch

__version__: str

__all__ = [
    "AitacConfig",
    "Atlas",
    "Attributions",
    "Bounds",
    "CapacityConfig",
    "CentralFlow",
    "Check",
    "Construction",
    "Contexts",
    "CriticalFollower",
    "CriticalSharpness",
    "Curvature",
    "Density",
    "EdgeConfig",
    "EdgeWarning",
    "Eigenpairs",
    "Entropy",
    "FilterMotifs",
    "Follower",
    "Forecast",
    "Influence",
    "Interactions",
    "InterpretConfig",
    "LargestStep",
    "LocalCapacity",
    "Matches",
    "Memorisation",
    "MemorisationConfig",
    "Motifs",
    "Motion",
    "Mutagenesis",
    "Network",
    "Plan",
    "Run",
    "Sharpness",
    "SharpnessTracker",
    "Standing",
    "StepSizeConfig",
    "StepSizes",
    "Store",
    "Trace",
    "TrackerWarning",
    "TransferConfig",
    "VariantEffects",
    "Verdict",
    "__version__",
    "attribute",
    "attribute_run",
    "averaging_capacity_lower",
    "averaging_parameters",
    "background_regions",
    "batch_sharpness",
    "bounds",
    "build_atlas",
    "capacity",
    "capacity_upper",
    "check",
    "cluster_motifs",
    "consensus_peaks",
    "construct",
    "contexts",
    "contexts_of",
    "contexts_within",
    "corpus",
    "critical_sharpness",
    "curvature",
    "decoder_capacity_lower",
    "decoder_parameters",
    "demo",
    "describe_atlas",
    "describe_model",
    "dna",
    "empirical_capacity_lower",
    "empirical_capacity_upper",
    "empirical_capacity_upper_tight",
    "entropy",
    "experiment_parameters",
    "explain",
    "export_atlas",
    "figure",
    "filter_motifs",
    "find_atlas",
    "findings",
    "forecast",
    "gradient_flow",
    "hessian_operator",
    "influence",
    "injectivity",
    "interactions",
    "interpret",
    "load_model",
    "local_capacity",
    "match_motifs",
    "memorisation",
    "mutagenesis",
    "open_run",
    "outlook",
    "pair_recovery",
    "pearson_loss",
    "pearson_rows",
    "perform",
    "predict",
    "predict_regions",
    "predict_sequences",
    "rank",
    "ranks",
    "read_corpus",
    "read_database",
    "read_in_parts",
    "read_meme",
    "realise",
    "recovery",
    "reduce",
    "reduced_config",
    "reduced_network",
    "repetitions",
    "report",
    "reproducible_filters",
    "resume",
    "save_model",
    "score_ceiling",
    "separations",
    "sharpness",
    "show",
    "side_by_side",
    "simulate_atlas",
    "simulate_reads",
    "spectral_density",
    "step_size",
    "summarise",
    "sweep",
    "trace",
    "trainable_count",
    "transfer",
    "upper_to_lower",
    "variant_effects",
    "variants",
    "watch",
    "write_meme",
]
