"""What one interpretation is: a trained run, its repetitions, the peaks that are looked at, and how."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from netassay.config import Config

Peaks = Literal["test", "validation", "train", "all"]


class InterpretConfig(Config):
    """What a trained network learned: motifs, their influence, pairs, binding, attributions."""

    study: ClassVar[str] = "aitac-interpret"
    example: ClassVar[str] = "netassay interpret aitac-1a2b3c --only motifs,influence --store runs"

    run: str = Field("", pattern=r"^(aitac-[0-9a-f]{12})?$", examples=["aitac-0123456789ab"])
    """Id of the run that is interpreted, in the same store."""

    peers: str = Field(
        "",
        pattern=r"^(aitac-[0-9a-f]{12}(,aitac-[0-9a-f]{12})*)?$",
        examples=["aitac-0123456789ab,aitac-ba9876543210"],
    )
    """Ids of its repetitions (other seeds), with commas between them; the chapters on reproducibility need some."""

    only: str = Field("", pattern=r"^[a-z_, ]*$", examples=["motifs,influence"])
    """Chapters to make, with commas between them, and those they need; none given: all."""

    peaks: Peaks = "test"
    """Which of the peaks are looked at."""

    most_peaks: int = Field(0, ge=0)
    """Look at no more peaks than this, drawn at random; 0: all of them."""

    well_predicted: float = Field(0.75, gt=-1, lt=1)
    """A peak counts as well predicted above this r; in one-of-k data, where its own cell type is predicted highest."""

    seed: int = Field(0, ge=0, le=2**63 - 1)
    """Seed of all draws and permutations."""

    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?)$", examples=["cpu", "cuda", "cuda:1"])
    """Where it runs: cpu, cuda or cuda:N."""

    # influence
    fill: Literal["mean", "zero", "published"] = "mean"
    """What takes an ablated filter's place: its mean over the peaks at the same place, nought, or what the published
    analysis put there (a mean before pooling and batch norm)."""

    screening: bool = False
    """Influence in 16 bits: faster, ranks nearly the same."""

    name_q: float = Field(0.05, gt=0, le=1)
    """A filter is called by the motif it matches best below this q-value."""

    # pairs
    pair_factors: int = Field(12, ge=2, le=100)
    """So many of the most influential factors are tested in all pairs."""

    site_share: float = Field(0.2, gt=0, lt=1)
    """A peak has a site of a factor if it is among this share of peaks in which the factor's filters answer most."""

    permutations: int = Field(5000, ge=1, le=1_000_000)
    """Permutations of the test of a pair."""

    scanned_pairs: int = Field(6, ge=0, le=100)
    """Pairs with the strongest interactions that are planted at every distance."""

    backgrounds: int = Field(32, ge=2, le=10_000)
    """Shuffled peaks that pairs are planted into."""


CONFIG = InterpretConfig
