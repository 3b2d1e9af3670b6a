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

    # attributions
    attribution_cell_types: int = Field(8, ge=1)
    """Contributions are shown for so many cell types, those with most well-predicted peaks."""

    attribution_peaks: int = Field(20, ge=1)
    """Best predicted peaks of each of them on which methods are compared."""

    attribution_logos: int = Field(1, ge=1)
    """Of these so many are drawn."""

    attribution_references: int = Field(10, ge=1)
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


CONFIG = InterpretConfig
