"""A trained network on another atlas, such as another species': scores, nulls, and the ranks of its factors.

config -> assay (ranks) -> run folder -> findings -> rules, pages.
"""
