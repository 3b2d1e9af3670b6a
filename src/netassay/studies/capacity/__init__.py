"""How much a next-token predictor can memorise (Madden, Fox, Thrampoulidis 2024, arXiv 2405.13718).

The experiment: material (a run's corpus) -> trial (cross_entropy, soap; convex_trial, convex) -> trials (widths) ->
assay -> pages, fewest_pages, theory_pages. What there is to memorise, and the theorems, are in the kits corpus and
capacity.
"""
