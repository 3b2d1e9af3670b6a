"""Config of one run of the aitac study: atlas, split, network, loss, training, and null, if any."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from netassay.config import Config, Each, NameList
from netassay.dna.atlas.choices import SplitKind

Null = Literal["none", "rows", "cells", "mononucleotide", "dinucleotide"]
Strands = Literal["one", "augmented", "averaged"]
CHROMOSOME = r"[^\x00-\x1f]+"
LossName = Literal["pearson", "mse", "poisson", "cross_entropy", "binary_cross_entropy"]


class AitacConfig(Config):
    """A convolutional network trained from DNA to accessibility, and its score on unseen chromosomes.

    Source:
        Maslova et al. (2020).

    Example:
        >>> import netassay
        >>> netassay.AitacConfig(atlas="dhs4", epochs=5).loss
        'pearson'
    """

    study: ClassVar[str] = "aitac"
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "Which peaks are tested on": (
            "split", "test_chromosomes", "validation_chromosomes", "test_share", "validation_share", "folds", "fold",
            "repeat",
        ),
        "Network": ("n_filters", "n_channels", "n_hidden", "first_activation", "dropout", "strands"),
        "Training": (
            "shift", "epochs", "patience", "batch_size", "learning_rate", "schedule", "weight_decay",
            "label_smoothing", "weight_average", "divergence_factor", "start_from", "filters",
        ),
    }  # fmt: skip

    example: ClassVar[str] = "netassay aitac --atlas dhs4 --loss cross_entropy --epochs 5 --seed 0 --store runs"
    later: ClassVar[tuple[str, ...]] = ("start_from", "filters", "devices")

    atlas: str = Field("dhs4", min_length=1, pattern=r"^[^\x00-\x1f]+$", examples=["dhs4", "simulated", "my-atlas"])
    """Atlas of peaks and heights: dhs4 (47,872 human sites, four cell types), simulated, or an atlas folder."""

    peaks: int = Field(0, ge=0)
    """Use only this many peaks, drawn at random, the same for every seed (simulated: make this many); 0: all."""

    split: SplitKind = "chromosome"
    """How test and validation sets are chosen; entire chromosomes keep neighbours on one side."""

    test_chromosomes: Annotated[NameList, Each(CHROMOSOME, required=True)] = Field(
        NameList.read("chr1"), examples=["chr1", "chr1,chr8"]
    )
    """Chromosomes of the test set, with commas between them (split chromosome)."""

    validation_chromosomes: Annotated[NameList, Each(CHROMOSOME, required=True)] = Field(
        NameList.read("chr2"), examples=["chr2", "chr2,chr9"]
    )
    """Chromosomes of the validation set, on which the epoch is chosen (split chromosome)."""

    test_share: float = Field(0.1, ge=0, lt=1)
    """Share of the peaks in the test set (split random)."""

    validation_share: float = Field(0.1, ge=0, lt=1)
    """Share of the other peaks in the validation set (split random)."""

    folds: int = Field(10, ge=3, le=1000)
    """Number of folds of a cross-validation (splits folds and chromosome-folds)."""

    fold: int = Field(0, ge=0, le=999)
    """The fold that is the test set, from 0; the next one is the validation set."""

    repeat: int = Field(0, ge=0)
    """Number of the repetition of a cross-validation: other folds (or another random split) and other initial
    weights."""

    null: Null = "none"
    """Null model: rows (heights of training peaks permuted over peaks), cells (permuted within each peak), or the
    sequences of all peaks shuffled, keeping their mononucleotide or dinucleotide counts."""

    loss: LossName = "pearson"
    """pearson is the mean over peaks of 1 - r across cell types; cross_entropy is for peaks open in one cell type,
    binary_cross_entropy for labels of which a peak may have several."""

    n_filters: int = Field(300, ge=1, le=65536)
    """Number of filters of the first convolution."""

    n_channels: int = Field(200, ge=1, le=65536)
    """Number of channels of the second and third convolution."""

    n_hidden: int = Field(1000, ge=1, le=65536)
    """Number of units in each of the two hidden layers."""

    first_activation: Literal["relu", "exponential"] = "relu"
    """Activation of the first layer."""

    dropout: float = Field(0.03, ge=0, lt=1)
    """Fraction of hidden units left out at random in each step."""

    strands: Strands = "one"
    """one: sequences as given. augmented: a random strand in each step, predictions averaged over both. averaged: both
    in every step and prediction."""

    shift: int = Field(0, ge=0, le=1000)
    """Maximum number of bases by which a sequence is shifted at random in training, either way; unknown bases move
    in."""

    epochs: int = Field(10, ge=1, le=100_000)
    """Maximum number of passes over the training set; the epoch with the smallest validation loss is kept."""

    patience: int = Field(0, ge=0)
    """Stop after this many epochs without a better validation loss; 0: never."""

    batch_size: int = Field(100, ge=1, le=1_000_000)
    """Peaks in each step."""

    learning_rate: float = Field(1e-3, gt=0)
    """Step size of Adam; with a schedule, its maximum."""

    schedule: Literal["constant", "one_cycle"] = "constant"
    """one_cycle rises linearly over the first fifth of all steps and falls to zero as half a cosine."""

    weight_decay: float = Field(0.0, ge=0)
    """Decay of weights, not of biases and norms, in units of the step size (AdamW; Loshchilov and Hutter 2019)."""

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of each target spread evenly over the cell types (loss cross_entropy)."""

    weight_average: float = Field(0.0, ge=0, lt=1)
    """Decay per step of a running mean of the weights, which is then validated and kept; 0: no mean is taken."""

    divergence_factor: float = Field(1e3, gt=1)
    """The run counts as diverged when the loss exceeds this multiple of the initial loss, or is not finite."""

    precision: Literal["float32", "bfloat16"] = "bfloat16"
    """bfloat16: matrix products in 16 bits, weights and sums in 32 (autocast); two to three times as fast here."""

    seed: int = Field(0, ge=0, le=2**63 - 1)
    """Seed of initial weights, order, augmentation and dropout."""

    start_from: str = Field("", pattern=r"^[^\x00-\x1f]*$", examples=["runs/aitac-1a2b3c4d5e6f"])
    """Folder of a run whose trained network this one begins with, the first layer frozen (its sizes must be those of
    that network); empty: random initial weights."""

    filters: str = Field(
        "all",
        pattern=r"^(all|reproducible|random:[1-9][0-9]{0,4}|[0-9]{1,5}(,[0-9]{1,5})*)$",
        examples=["all", "reproducible", "random:20", "1,5,9"],
    )
    """Filters of start_from to keep: all, their numbers from 0, a number of random ones (from the seed), or those that
    `netassay interpret` found reproducible."""

    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?|mps)$", examples=["cpu", "cuda", "cuda:1", "mps"])
    """Device: cpu, cuda, cuda:N or mps (Apple; not tested)."""

    devices: int = Field(1, ge=1, le=1024)
    """Number of devices that share every batch, one process each: GPUs (device cuda), or processes on the cores (device
    cpu)."""


def tiny() -> AitacConfig:
    """A config that runs through every part of the study in seconds, on a small simulated atlas."""
    return AitacConfig(
        atlas="simulated",
        peaks=240,
        n_filters=12,
        n_channels=8,
        n_hidden=16,
        epochs=2,
        batch_size=25,
        dropout=0.1,
        strands="augmented",
        shift=2,
        weight_average=0.9,
        schedule="one_cycle",
        weight_decay=0.01,
    )


CONFIG = AitacConfig
