"""Arithmetic other than curvature.

devices, draws: sources of arithmetic and of randomness. fits: lines through data, with intervals. ranking: areas under
the curves of a ranking.
"""
