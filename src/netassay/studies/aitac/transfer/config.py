"""Config of one transfer: a trained run, another atlas, and the map between their cell types."""

from __future__ import annotations

import json
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from netassay.config import Config


class TransferConfig(Config):
    """A trained network on another atlas, such as another species': scores, nulls, ranks of factors.

    Example:
        >>> import netassay
        >>> netassay.TransferConfig(cell_types='[["B", "GM12878"]]').pairs
        [('B', 'GM12878')]
    """

    study: ClassVar[str] = "aitac-transfer"
    later: ClassVar[tuple[str, ...]] = ("trained_on",)
    example: ClassVar[str] = "netassay transfer aitac-1a2b3c --atlas human --cell-types map.csv --out transfer.html"

    run: str = Field("", pattern=r"^(aitac-[0-9a-f]{12})?$", examples=["aitac-0123456789ab"])
    """Id of the run whose network is used, in the same store."""

    atlas: str = Field("dhs4", min_length=1, pattern=r"^[^\x00-\x1f]+$", examples=["dhs4", "simulated", "my-atlas"])
    """The other atlas: dhs4, simulated, or an atlas folder."""

    cell_types: str = Field("[]", examples=['[["B", "GM12878"]]'])
    """The map as JSON, a list of pairs: cell type of the network, cell type of the atlas."""

    most_peaks: int = Field(0, ge=0)
    """Maximum number of peaks of the other atlas, drawn at random; 0: all of them."""

    trained_on: Literal["leave-out", "keep"] = "leave-out"
    """What to do with peaks whose sequence, on either strand, the network was trained on or its epoch chosen by:
    leave-out or keep; they are counted either way. Such peaks share at least half of their words of 24 bases with such
    a sequence."""

    influence_peaks: int = Field(1000, ge=0)
    """Number of peaks of each atlas for the influence of the filters, drawn at random; 0: none, and no ranks."""

    permutations: int = Field(20, ge=2, le=1000)
    """Number of draws of each null."""

    seed: int = Field(0, ge=0, le=2**63 - 1)
    """Seed of all draws and permutations."""

    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?|mps)$", examples=["cpu", "cuda", "cuda:1", "mps"])
    """Device: cpu, cuda, cuda:N or mps (Apple; not tested)."""

    @field_validator("cell_types")
    @classmethod
    def _pairs(cls, text: str) -> str:
        try:
            rows = json.loads(text)
        except ValueError:
            rows = None
        if not isinstance(rows, list) or not all(_is_pair(row) for row in rows):
            raise ValueError("cell_types is not a JSON list of pairs of names")
        return text

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The map: cell type of the network, cell type of the atlas."""
        return [(source, target) for source, target in json.loads(self.cell_types)]


def _is_pair(row: object) -> bool:
    return isinstance(row, list) and len(row) == 2 and all(isinstance(name, str) for name in row)


CONFIG = TransferConfig
