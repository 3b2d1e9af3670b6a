"""Limits below which nothing is tested; pages name them, so nothing heavy is loaded here."""

FEWEST = 10
"""Peaks with both sites, and with one, below which a pair is not tested."""
