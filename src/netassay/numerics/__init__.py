"""Arithmetic that is no curvature.

seeds, devices: where randomness and arithmetic come from. fits: lines through data, with intervals.
"""
