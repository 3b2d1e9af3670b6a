"""What may be chosen about a network; nothing heavy is loaded here."""

from typing import Literal

Layout = Literal["channels_first", "channels_last"]
"""Whether a module takes one-hot sequences as (n, 4, length), as PyTorch has it, or as (n, length, 4)."""
