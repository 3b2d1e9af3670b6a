"""What the filters of a convolution look for, as motifs."""

from __future__ import annotations

from netassay.formats.motifs import Motifs

__all__ = ["Motifs"]
