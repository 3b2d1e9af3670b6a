"""Limits below which nothing is tested; pages name them, so nothing heavy is loaded here."""

FEWEST = 10
"""Peaks with both sites, and with one, below which a pair is not tested."""

SHARE = 0.1
"""Minimum interaction that counts, as a share of the smaller single effect: a fitted curve leaves less than this."""
