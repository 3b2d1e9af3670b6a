"""The largest step size at which a network trains, by bisection, beside what the curvature predicts.

config -> assay (search, descents, predictors) -> run folder -> pages.
"""
