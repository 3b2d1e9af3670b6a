"""Several processes on one training.

leader: rank 0, which starts the others. rank: one of these. group, shared_fit: what they share.
"""
