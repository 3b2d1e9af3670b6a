"""Arithmetic other than curvature.

seeds, draws, devices: sources of randomness and arithmetic. memory: size of main memory. fits: lines through data, with
intervals. ranking: areas under the curves of a ranking.
"""
