"""A trained network on another atlas, such as another species': scores, nulls, and the ranks of its factors.

config -> assay (interpret/species) -> run folder -> pages.
"""
