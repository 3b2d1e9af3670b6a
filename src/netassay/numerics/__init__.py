"""Arithmetic that is no curvature.

seeds, devices: where randomness and arithmetic come from. memory: what room there is. fits: lines through data, with
intervals.
"""
