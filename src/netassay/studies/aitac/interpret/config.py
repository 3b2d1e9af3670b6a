"""What one interpretation is: a trained run, its repetitions, the peaks that are looked at, and how."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from netassay.config import Config
from netassay.dna.network.choices import Layout
from netassay.namelist import Each, NameList

Peaks = Literal["test", "validation", "train", "all"]


class InterpretConfig(Config):
    """What a trained network learned: motifs, their influence, pairs, binding, attributions."""

    study: ClassVar[str] = "aitac-interpret"
    example: ClassVar[str] = "netassay interpret aitac-1a2b3c --only motifs,influence --store runs"

    later: ClassVar[tuple[str, ...]] = (
        "module", "weights", "atlas", "readout", "layout", "strands", "loss", "test_chromosomes", "layer", "next_layer",
    )  # fmt: skip

    run: str = Field("", pattern=r"^(aitac-[0-9a-f]{12})?$", examples=["aitac-0123456789ab"])
    """Id of the run that is interpreted, in the same store."""

    peers: Annotated[NameList, Each("aitac-[0-9a-f]{12}")] = Field(
        NameList.read(""), examples=["aitac-0123456789ab,aitac-ba9876543210"]
    )
    """Ids of its repetitions (other seeds), with commas between them; the chapters on reproducibility need some."""

    only: Annotated[NameList, Each("[a-z_ ]+")] = Field(NameList.read(""), examples=["motifs,influence"])
    """Chapters to make, with commas between them, and those they need; none given: all."""

    peaks: Peaks = "test"
    """Which of the peaks are looked at."""

    most_peaks: int = Field(0, ge=0)
    """Look at no more peaks than this, drawn at random; 0: all of them."""

    well_predicted: float = Field(0.75, gt=-1, lt=1)
    """A peak counts as well predicted above this r; in one-of-k data, where its own cell type is predicted highest."""

    # a network of one's own in place of a run
    module: str = Field("", pattern=r"^[^\x00-\x1f]*$", examples=["basset.py:make"])
    """In place of a run: FILE.py:NAME, a function without arguments that gives a module (or netassay.Network). The file
    is imported when the run is made, never when it is read. Empty, with weights: AI-TAC as its authors saved it."""

    weights: str = Field("", pattern=r"^[^\x00-\x1f]*$", examples=["basset.safetensors", "aitac.pth"])
    """Its weights: safetensors, or a state dict that PyTorch saved; empty: those that the module is made with."""

    atlas: str = Field("", pattern=r"^[^\x00-\x1f]*$", examples=["my-atlas"])
    """The atlas it is looked at on, a cell type for each output, in their order: a folder, dhs4 or simulated."""

    readout: str = Field("", pattern=r"^[^\x00-\x1f]*$", examples=["1", "counts"])
    """Which of several things that the module gives are its outputs: a number from 0, or a name."""

    layout: Layout = "channels_first"
    """Whether the module takes (n, 4, length) or (n, length, 4)."""

    strands: Literal["one", "both"] = "one"
    """both: outputs are the mean over each sequence and its reverse complement."""

    loss: Literal["", "pearson", "mse", "poisson", "cross_entropy"] = ""
    """What it was trained by: under pearson and cross_entropy a row of outputs is free by an offset, which is taken
    off. Empty: pearson for AI-TAC as published, else mse."""

    test_chromosomes: Annotated[NameList, Each(r"[^\x00-\x1f]+", required=True)] = Field(
        NameList.read("chr1"), examples=["chr1", "chr1,chr8"]
    )
    """Chromosomes of the test set, with commas between them, which it was not trained on (with `peaks` test)."""

    layer: str = Field("", pattern=r"^[^\x00-\x1f]*$", examples=["blocks.0.conv"])
    """Its convolution whose filters are looked at; empty: the first one that it calls."""

    next_layer: str = Field("", pattern=r"^[^\x00-\x1f]*$", examples=["blocks.1.conv"])
    """The convolution of chapter second_layer; empty: the one that it calls after `layer`."""

    # motifs, second_layer
    motif_best: int = Field(0, ge=0)
    """Make motifs from so many peaks of greatest r, well predicted or not; 0: from the well-predicted ones."""

    motif_threshold: float = Field(0.5, ge=0, lt=1)
    """A filter is active above this share of its greatest activation."""

    motif_quantile: float = Field(1.0, gt=0, le=1)
    """Instead of the greatest activation this quantile of the greatest activations of the peaks."""

    motif_pseudocount: float = Field(0.0, ge=0)
    """Sites with equal shares of the bases that are added to every motif."""

    motif_database: str = Field(
        "jaspar-vertebrates", min_length=1, examples=["jaspar-vertebrates", "jaspar-plants", "motifs.meme"]
    )
    """Known motifs: a group of JASPAR CORE, or a file in MEME format."""

    motif_q: float = Field(0.05, gt=0, le=1)
    """A filter is named after the known motif that it is like where q and the false discovery rate are below this."""

    motif_permutations: int = Field(5, ge=1, le=1000)
    """So often, or more where motifs are few, the columns of all are permuted to see what chance matches."""

    motif_logos: int = Field(16, ge=1, le=200)
    """At most so many filters are drawn beside their matches."""

    second_layer_threshold: float = Field(0.7, ge=0, lt=1)
    """`motif_threshold` of the second layer, whose 51 bases are lost in noise at lower shares."""

    # attributions
    attribution_cell_types: int = Field(8, ge=1)
    """Contributions are shown for so many cell types, those with most well-predicted peaks."""

    attribution_peaks: int = Field(10, ge=1)
    """Best predicted peaks of each of them on which methods are compared."""

    attribution_logos: int = Field(1, ge=1)
    """Of these so many are drawn."""

    attribution_references: int = Field(5, ge=1)
    """Shuffled forms of each sequence that DeepLIFT/SHAP and integrated gradients compare it with."""

    seed: int = Field(0, ge=0, le=2**63 - 1)
    """Seed of all draws and permutations."""

    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?)$", examples=["cpu", "cuda", "cuda:1"])
    """Where it runs: cpu, cuda or cuda:N."""

    # reproducible, recovery
    reproducible_q: float = Field(0.05, gt=0, lt=1)
    """A filter is reproduced in another run if that has one with a q-value (Tomtom) below this."""

    reproducible_share: float = Field(0.88, gt=0, le=1)
    """A filter is reproducible if it is reproduced in this share of the other runs or more (8 of 9)."""

    cluster_p: float = Field(1e-4, gt=0, lt=1)
    """Clusters of filters are joined while the geometric mean of the p-values between them is below this."""

    recovery_q: float = Field(0.01, gt=0, lt=1)
    """A finding matches a planted motif of a simulated atlas below this q-value."""

    least_bits: float = Field(8.0, ge=0, le=100)
    """Information, in bits between its flanks, from which on a motif counts as a finding."""

    least_sites: int = Field(20, ge=1)
    """Sites from which on a motif counts as a finding."""

    pair_q: float = Field(0.05, gt=0, lt=1)
    """A pair of planted factors counts as found below this q-value."""

    # binding
    chip: str = Field("", pattern=r"^[^\x00-\x1f]*$", examples=["peaks.narrowPeak", "peaks.fa.gz"])
    """ChIP-seq to compare with: regions (BED or narrowPeak, of the atlas's assembly) or sequences (FASTA); none: left
    out."""

    chip_factor: str = Field("", pattern=r"^[^\x00-\x1f]*$", examples=["SPI1", "MA0080.7"])
    """Its factor, by the name or id of a motif of the database; filters like that motif are compared with it."""

    chip_word: int = Field(24, ge=8, le=32)
    """Bases of the words that a peak shares with sequences."""

    chip_words: int = Field(14, ge=1, le=10_000)
    """Places of a peak that must begin a shared word for it to be marked; 1 also marks relatives of repeats."""

    chip_share: float = Field(0.05, gt=0, lt=1)
    """Influence is large in this share of the peaks."""

    # influence
    fill: Literal["mean", "zero", "published"] = "mean"
    """What takes an ablated filter's place: its mean over the peaks at the same place, nought, or what the published
    analysis put there (a mean before pooling and batch norm)."""

    screening: bool = False
    """Influence in 16 bits: faster, ranks nearly the same."""

    # pairs
    pair_factors: int = Field(12, ge=2, le=100)
    """So many of the most influential factors are tested in all pairs."""

    site_share: float = Field(0.2, gt=0, lt=1)
    """A peak has a site of a factor if it is among this share of peaks in which the factor's filters answer most."""

    pair_reach: int = Field(50, ge=3)
    """A peak has both sites of a pair only where they are so many bases apart or less; the second layer sees 51."""

    permutations: int = Field(5000, ge=1, le=1_000_000)
    """Permutations of the test of a pair."""

    scanned_pairs: int = Field(6, ge=0, le=100)
    """Pairs with the strongest interactions that are planted at every distance."""

    backgrounds: int = Field(32, ge=2, le=10_000)
    """Shuffled peaks that pairs are planted into."""


CONFIG = InterpretConfig
