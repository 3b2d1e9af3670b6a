"""Training at the edge of stability, layer by layer (Fox 2023; Cohen et al., ICLR 2021).

config -> assay (data, networks, readers, instruments) -> run folder -> findings (phases) -> rules, pages.
"""
