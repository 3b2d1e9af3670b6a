"""The studies, siblings that never import each other. A new one is a folder here and a word below."""

STUDIES = ("capacity", "edge", "edge-stepsize", "aitac", "memorisation")

DERIVED = ("aitac-interpret", "aitac-transfer")
"""Kinds of runs that are made from other runs, by their own commands, and performed, resumed and drawn like studies."""

TRACKED = ("edge-tracker",)
"""Kinds of runs that a user's own loop writes: they have pages and a summary, and nothing here can perform them."""
