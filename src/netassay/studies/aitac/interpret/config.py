"""Config of one interpretation: a trained run, its repetitions, the peaks, and the analyses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from netassay.config import Config, Each, NameList
from netassay.dna.network.choices import Layout
from netassay.errors import ConfigError, did_you_mean

CHAPTERS: dict[str, tuple[str, ...]] = {
    "motifs": (),
    "second_layer": (),
    "reproducible": (),
    "recovery": ("reproducible",),
    "influence": ("motifs",),
    "pairs": ("motifs", "influence"),
    "binding": (),
    "attributions": (),
}
"""Chapter -> those that must come before it, in the order of the page."""

TITLES = {
    "motifs": "Motifs of the first layer",
    "second_layer": "Motifs of the second layer",
    "reproducible": "Reproducible filters",
    "recovery": "Recovery of what was planted",
    "influence": "Influence",
    "pairs": "Pairs of factors",
    "binding": "Agreement with ChIP-seq",
    "attributions": "Attributions",
}

EXTRAS = ("reproducible", "recovery", "binding")
"""Chapters that need more than a network and its atlas: repetitions, a truth, ChIP-seq."""


def chapter_names(only: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of the requested chapters and those they need, in order; by default all. ConfigError for an unknown one."""
    for word in only:
        if word not in CHAPTERS:
            raise ConfigError(
                f"only = {','.join(only)!r}: there is no chapter {word!r}; {did_you_mean(word, CHAPTERS)}"
            )
    names = set(only or CHAPTERS)
    for name in reversed(CHAPTERS):
        if name in names:
            names |= set(CHAPTERS[name])
    return tuple(name for name in CHAPTERS if name in names)


Peaks = Literal["test", "validation", "train", "all"]


class InterpretConfig(Config):
    """What a trained network learned: motifs, their influence, pairs, binding, attributions.

    Example:
        >>> import netassay
        >>> netassay.InterpretConfig(run="aitac-0123456789ab", only="motifs").peaks
        'test'
    """

    study: ClassVar[str] = "aitac-interpret"
    example: ClassVar[str] = "netassay interpret aitac-1a2b3c --only motifs,influence --store runs"

    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "A network of your own, instead of a run": (
            "module", "weights", "atlas", "readout", "layout", "strands", "loss", "test_chromosomes", "layer",
            "next_layer",
        ),
        "Motifs": (
            "motif_best", "motif_threshold", "motif_quantile", "motif_pseudocount", "motif_database", "motif_q",
            "motif_permutations", "motif_logos", "second_layer_threshold",
        ),
        "Influence, pairs": (
            "fill", "screening", "pair_factors", "site_share", "pair_reach", "permutations", "scanned_pairs",
            "backgrounds", "pair_q",
        ),
        "Contributions of bases": (
            "attribution_cell_types", "attribution_peaks", "attribution_logos", "attribution_references",
        ),
        "Agreement with ChIP-seq": ("chip", "chip_factor", "chip_word", "chip_words", "chip_share"),
        "Reproducibility, recovery": (
            "reproducible_q", "reproducible_share", "cluster_p", "recovery_q", "least_bits", "least_sites",
        ),
    }  # fmt: skip

    later: ClassVar[tuple[str, ...]] = (
        "module",
        "weights",
        "atlas",
        "readout",
        "layout",
        "strands",
        "loss",
        "test_chromosomes",
        "layer",
        "next_layer",
    )

    run: str = Field("", pattern=r"^(aitac-[0-9a-f]{12})?$", examples=["aitac-0123456789ab"])
    """Id of the run to interpret, in the same store."""

    peers: Annotated[NameList, Each("aitac-[0-9a-f]{12}")] = Field(
        NameList.read(""), examples=["aitac-0123456789ab,aitac-ba9876543210"]
    )
    """Ids of its repetitions (other seeds), separated by commas; the chapters on reproducibility need some."""

    only: Annotated[NameList, Each("[a-z_ ]+")] = Field(NameList.read(""), examples=["motifs,influence"])
    """Chapters to make, separated by commas, with those that they need; all by default."""

    peaks: Peaks = "test"
    """Which peaks to use."""

    most_peaks: int = Field(0, ge=0)
    """Maximum number of peaks, drawn at random; 0: all of them."""

    well_predicted: float = Field(0.75, gt=-1, lt=1)
    """A peak counts as well predicted above this r; in one-of-k data, where its own cell type is predicted highest."""

    # a network of the user's own instead of a run
    module: str = Field("", pattern=r"^[^\x00-\x1f]*$", examples=["basset.py:make"])
    """Instead of a run: FILE.py:NAME, a function without arguments that returns a module (or netassay.Network). The
    file is imported when the run is made, never when it is read. Empty, with weights: AI-TAC as its authors saved
    it."""

    weights: str = Field("", pattern=r"^[^\x00-\x1f]*$", examples=["basset.safetensors", "aitac.pth"])
    """Its weights: safetensors, or a state dict saved by PyTorch; empty: those that the module is made with."""

    atlas: str = Field("", pattern=r"^[^\x00-\x1f]*$", examples=["my-atlas"])
    """The atlas to interpret it on, with a cell type for each output, in their order: a folder, dhs4 or simulated."""

    readout: str = Field("", pattern=r"^[^\x00-\x1f]*$", examples=["1", "counts"])
    """Which of several outputs of the module is used: a number from 0, or a name."""

    layout: Layout = "channels_first"
    """Whether the module takes (n, 4, length) or (n, length, 4)."""

    strands: Literal["one", "both"] = "one"
    """both: outputs are the mean over each sequence and its reverse complement."""

    loss: Literal["", "pearson", "mse", "poisson", "cross_entropy", "binary_cross_entropy"] = ""
    """Loss that it was trained with: pearson and cross_entropy leave a row of outputs free by an offset, which is
    subtracted. Empty: pearson for AI-TAC as published, else mse."""

    test_chromosomes: Annotated[NameList, Each(r"[^\x00-\x1f]+", required=True)] = Field(
        NameList.read("chr1"), examples=["chr1", "chr1,chr8"]
    )
    """Chromosomes of the test set, separated by commas, which it was not trained on (with `peaks` test)."""

    layer: str = Field("", pattern=r"^[^\x00-\x1f]*$", examples=["blocks.0.conv"])
    """Its convolution whose filters are interpreted; empty: the first one that it calls."""

    next_layer: str = Field("", pattern=r"^[^\x00-\x1f]*$", examples=["blocks.1.conv"])
    """The convolution of chapter second_layer; empty: the one that it calls after `layer`."""

    # motifs, second_layer
    motif_best: int = Field(0, ge=0)
    """Make motifs from this many peaks with the largest r, well predicted or not; 0: from the well-predicted ones."""

    motif_threshold: float = Field(0.5, ge=0, lt=1)
    """A filter is active above this fraction of its largest activation."""

    motif_quantile: float = Field(1.0, gt=0, le=1)
    """Instead of the largest activation, this quantile of the largest activations of the peaks."""

    motif_pseudocount: float = Field(0.0, ge=0)
    """Number of sites with equal shares of the bases to add to every motif."""

    motif_database: str = Field(
        "jaspar-vertebrates", min_length=1, examples=["jaspar-vertebrates", "jaspar-plants", "motifs.meme"]
    )
    """Known motifs: a group of JASPAR CORE, or a file in MEME format."""

    motif_q: float = Field(0.05, gt=0, le=1)
    """A filter is named after the known motif that it resembles where q and the false discovery rate are below this."""

    motif_permutations: int = Field(5, ge=1, le=1000)
    """Number of permutations of the columns of all motifs (more for few motifs), to measure chance matches."""

    motif_logos: int = Field(16, ge=1, le=200)
    """Maximum number of filters to draw beside their matches."""

    second_layer_threshold: float = Field(0.7, ge=0, lt=1)
    """`motif_threshold` of the second layer, whose 51 bases give mostly noise at lower values."""

    # attributions
    attribution_cell_types: int = Field(8, ge=1)
    """Number of cell types whose contributions are shown, those with most well-predicted peaks."""

    attribution_peaks: int = Field(10, ge=1)
    """Number of best predicted peaks of each of them on which methods are compared."""

    attribution_logos: int = Field(1, ge=1)
    """Number of these peaks to draw."""

    attribution_references: int = Field(5, ge=1)
    """Number of shuffled versions of each sequence as references of DeepLIFT/SHAP and integrated gradients."""

    seed: int = Field(0, ge=0, le=2**63 - 1)
    """Seed of all draws and permutations."""

    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?|mps)$", examples=["cpu", "cuda", "cuda:1", "mps"])
    """Device: cpu, cuda, cuda:N or mps (Apple; not tested)."""

    # reproducible, recovery
    reproducible_q: float = Field(0.05, gt=0, lt=1)
    """A filter is reproduced in another run if that has one with a q-value (Tomtom) below this."""

    reproducible_share: float = Field(0.88, gt=0, le=1)
    """A filter is reproducible if it is reproduced in at least this share of the other runs (8 of 9)."""

    cluster_p: float = Field(1e-4, gt=0, lt=1)
    """Clusters of filters are joined while the geometric mean of the p-values between them is below this."""

    recovery_q: float = Field(0.01, gt=0, lt=1)
    """A finding matches a planted motif of a simulated atlas below this q-value."""

    least_bits: float = Field(8.0, ge=0, le=100)
    """Smallest information, in bits between its flanks, with which a motif counts as a finding."""

    least_sites: int = Field(20, ge=1)
    """Smallest number of sites with which a motif counts as a finding."""

    pair_q: float = Field(0.05, gt=0, lt=1)
    """A pair of planted factors counts as found below this q-value."""

    # binding
    chip: str = Field("", pattern=r"^[^\x00-\x1f]*$", examples=["peaks.narrowPeak", "peaks.fa.gz"])
    """ChIP-seq to compare with: regions (BED or narrowPeak, in the atlas's assembly) or sequences (FASTA); empty: no
    comparison."""

    chip_factor: str = Field("", pattern=r"^[^\x00-\x1f]*$", examples=["SPI1", "MA0080.7"])
    """Its factor, by the name or id of a motif of the database; filters that resemble that motif are compared with
    it."""

    chip_word: int = Field(24, ge=8, le=32)
    """Length in bases of the words that a peak shares with sequences."""

    chip_words: int = Field(14, ge=1, le=10_000)
    """Number of positions of a peak that must begin a shared word for it to be marked; 1 also marks relatives of
    repeats."""

    chip_share: float = Field(0.05, gt=0, lt=1)
    """Share of the peaks in which influence counts as large."""

    # influence
    fill: Literal["mean", "zero", "published"] = "mean"
    """Replacement of an ablated filter's output: its mean over the peaks at the same position, zero, or that of the
    published analysis (a mean before pooling and batch norm)."""

    screening: bool = False
    """Compute influence in 16 bits: faster, with nearly the same ranks."""

    # pairs
    pair_factors: int = Field(12, ge=2, le=100)
    """Number of most influential factors that are tested in all pairs."""

    site_share: float = Field(0.2, gt=0, lt=1)
    """A peak has a site of a factor if it is among this share of peaks in which the factor's filters respond most."""

    pair_reach: int = Field(50, ge=3)
    """Maximum distance in bases of both sites of a pair in a peak; the second layer sees 51."""

    permutations: int = Field(5000, ge=1, le=1_000_000)
    """Number of permutations in the test of a pair."""

    scanned_pairs: int = Field(6, ge=0, le=100)
    """Number of pairs with the strongest interactions that are planted at every distance."""

    backgrounds: int = Field(32, ge=2, le=10_000)
    """Number of shuffled peaks into which pairs are planted."""


CONFIG = InterpretConfig
