"""Training at the edge of stability, layer by layer (Fox 2023; Cohen et al., ICLR 2021).

config -> assay (data, descent, phases) -> run folder -> pages.
"""
